"""A server that speaks as much of S3 as depsfs uses, and keeps its objects in memory: PUT (If-None-Match: *), GET and HEAD
with one range, on connections that stay. It asks for no signature. Prints its port.

moto, with which the tests run, ends each connection after one answer: with latency, that is what would be measured.
"""

import asyncio
import hashlib
import re

OBJECTS = {}
WORDS = {200: "OK", 206: "Partial Content", 404: "Not Found", 412: "Precondition Failed", 416: "Range Not Satisfiable"}


def head(status, size, etag=None, ranged=None):
    lines = [f"HTTP/1.1 {status} {WORDS[status]}", f"Content-Length: {size}", "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT"]
    lines += [f'ETag: "{etag}"'] if etag else []
    lines += [f"Content-Range: {ranged}"] if ranged else []
    return "\r\n".join([*lines, "", ""]).encode()


def unchunked(data):
    """The bytes of a body in S3's signed chunks."""
    out = []
    while data:
        line, _, data = data.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size == 0:
            break
        out.append(data[:size])
        data = data[size + 2 :]
    return b"".join(out)


def get(key, headers, has_body):
    if key not in OBJECTS:
        return head(404, 0)
    data, etag = OBJECTS[key]
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("range", ""))
    if not found:
        return head(200, len(data), etag) + (data if has_body else b"")
    first, last = found.groups()
    if first:
        start, end = int(first), min(int(last or len(data)), len(data) - 1)
    else:
        start, end = max(0, len(data) - int(last)), len(data) - 1
    if start > end:
        return head(416, 0)
    piece = data[start : end + 1]
    return head(206, len(piece), etag, f"bytes {start}-{end}/{len(data)}") + (piece if has_body else b"")


def put(key, headers, body):
    if headers.get("if-none-match") == "*" and key in OBJECTS:
        return head(412, 0)
    if "aws-chunked" in headers.get("content-encoding", ""):
        body = unchunked(body)
    OBJECTS[key] = (body, hashlib.md5(body).hexdigest())
    return head(200, 0, OBJECTS[key][1])


async def connection(reader, writer):
    try:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, key, _ = lines[0].split(" ")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:]) if k}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            key = key.partition("?")[0]
            writer.write(put(key, headers, body) if method == "PUT" else get(key, headers, method == "GET"))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    server = await asyncio.start_server(connection, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
