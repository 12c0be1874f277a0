"""A proxy that is as far away as it is told: latency, bandwidth shared by all connections, and counters.

A new connection costs two round trips, as one with TLS does. Requests are counted by their first bytes, which arrive
together; all bytes are counted, those of headers too.
"""

import asyncio
import socket
import threading
import time

METHODS = (b"GET ", b"PUT ", b"HEAD ", b"POST ", b"DELETE ")
PIECE = 16 << 10


class Lane:
    """One direction of the line, which all connections share."""

    def __init__(self, bits):
        self.bytes_per_second = bits / 8
        self.free_at = 0.0
        self.bytes = 0

    def sent_at(self, size):
        """When the last of so many bytes has left."""
        self.bytes += size
        self.free_at = max(self.free_at, time.monotonic()) + size / self.bytes_per_second
        return self.free_at


class Proxy:
    """Listens on a port of its own, in a thread, and passes everything on to another port of this machine."""

    def __init__(self, target, round_trip, bits):
        self.target, self.half = target, round_trip / 2
        self.up, self.down = Lane(bits), Lane(bits)
        self.requests = self.puts = 0
        self.is_away = False
        self.port = 0
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve(ready)), daemon=True).start()
        ready.wait(10)

    def counters(self):
        return {"requests": self.requests, "puts": self.puts, "sent": self.up.bytes, "received": self.down.bytes}

    async def serve(self, ready):
        server = await asyncio.start_server(self.connection, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await server.serve_forever()

    async def connection(self, reader, writer):
        await asyncio.sleep(4 * self.half)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=1 << 20)
        except OSError:
            return writer.close()
        for end in (writer, far_writer):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(
            self.one_way(reader, far_writer, self.up, True),
            self.one_way(far_reader, writer, self.down, False),
            return_exceptions=True,
        )

    async def one_way(self, reader, writer, lane, counts):
        """What was read goes out when the line was free for it, and half a round trip has gone by."""
        queue = asyncio.Queue(256)

        async def deliver():
            while (piece := await queue.get()) is not None:
                due, data = piece
                while self.is_away:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                writer.write(data)
                await writer.drain()
            writer.close()

        out = asyncio.ensure_future(deliver())
        try:
            while data := await reader.read(PIECE):
                if counts and data.startswith(METHODS):
                    self.requests += 1
                    self.puts += data.startswith(b"PUT ")
                await queue.put((lane.sent_at(len(data)) + self.half, data))
        finally:
            await queue.put(None)
            await out
