"""The figures of scripts/latency.sh: look-ups in a view beside programs that wait for its disk."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from run import drop_caches

PACE = 0.0005
LOOKUPS = 4000


def fsyncs(at, stop):
    """One file, written and synced again and again."""
    with open(at / f"synced{threading.get_ident()}", "wb", buffering=0) as file:
        while not stop.is_set():
            file.write(b"x" * 4096)
            os.fsync(file.fileno())


def replaced(at, stop):
    """Files of the lower, each replaced as an editor or a package manager does it."""
    for n in range(2000):
        if stop.is_set():
            return
        with open(at / "lower" / "new", "wb", buffering=0) as file:
            file.write(b"x" * 20000)
            if n % 2:
                os.fsync(file.fileno())
        os.rename(at / "lower" / "new", at / "lower" / f"f{n}")


def rewritten(at, stop):
    """Files of the lower, each deleted and made again, as git does it."""
    for n in range(2000):
        if stop.is_set():
            return
        os.unlink(at / "lower" / f"f{n}")
        (at / "lower" / f"f{n}").write_bytes(b"x" * 2000)


def copied(at, stop):
    """The first write to a long file."""
    with open(at / "long", "r+b", buffering=0) as file:
        file.write(b"x")


def cold(at, stop):
    """Small files that are on the disk alone."""
    for d in range(20):
        for n in range(1000):
            if stop.is_set():
                return
            (at / "cold" / str(d) / f"f{n}").read_bytes()


LOADS = [("idle", None, 0), ("4 programs that fsync", fsyncs, 4), ("files replaced, half with fsync", replaced, 1),
         ("files deleted and made again", rewritten, 1), ("a long file copied up", copied, 1),
         ("8,000-byte files read cold", cold, 1)]


def look_up(at, is_done):
    """The milliseconds of each look-up, until enough or until the others are done."""
    took = []
    names = [at / "names" / str(d) / f"f{n}" for d in range(20) for n in range(1000)]
    os.stat(at / "names")
    for name in names[:LOOKUPS]:
        start = time.perf_counter_ns()
        os.lstat(name)
        took.append((time.perf_counter_ns() - start) / 1e6)
        if is_done():
            break
        time.sleep(PACE)
    return took


def beside(at, load, count):
    if load is None:
        return look_up(at, lambda: False)
    # By another process: it shares no interpreter with the clock.
    begun, end = os.pipe()
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            os.close(end)
            stop = threading.Event()
            threading.Thread(target=lambda: (os.read(begun, 1), stop.set()), daemon=True).start()
            try:
                load(at, stop)
                os._exit(0)
            except OSError as e:
                print(f"latency: {load.__name__}: {e}", file=sys.stderr)
                os._exit(1)
        pids.append(pid)
    left, failed = set(pids), []

    def is_done():
        for pid in list(left):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                left.discard(pid)
                failed.append(status)
        return not left

    took = look_up(at, is_done)
    os.close(end)
    failed += [os.waitpid(pid, 0)[1] for pid in left]
    os.close(begun)
    if any(failed):
        sys.exit("latency: a program beside the look-ups failed")
    return took


def fresh_view(work, depsfs):
    """A view of the store alone, of which the kernel knows nothing yet."""
    at = work / "at"
    call = lambda *args: subprocess.run([depsfs, *args], check=True, stdout=subprocess.DEVNULL, cwd=work)
    if os.path.ismount(at):
        call("unmount", "--at", "at")
    for name in ("up", "workdir"):
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir()
    call("mount", "deps", "--at", "at", "--upper", "up", "--workdir", "workdir")
    return at


def fresh_copy(work, _):
    shutil.rmtree(work / "plain", ignore_errors=True)
    subprocess.run(["cp", "-a", work / "given", work / "plain"], check=True)
    return work / "plain"


def main():
    work, depsfs, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    took = {}
    for _ in range(rounds):
        for title, load, count in LOADS:
            for where, fresh in (("view", fresh_view), ("plain", fresh_copy)):
                at = fresh(work, depsfs)
                drop_caches()
                # The names are looked up from memory: the store's index, and the directory's blocks.
                if where == "plain":
                    subprocess.run(["find", at / "names", "-size", "+99"], stdout=subprocess.DEVNULL, check=True)
                took.setdefault((title, where), []).extend(beside(at, load, count))
    at = lambda all, part: sorted(all)[min(len(all) - 1, int(len(all) * part))]
    print(f"{'milliseconds of a look-up beside':34} {'':6} {'look-ups':>8} {'p50':>8} {'p99':>8} {'max':>8} {'above':>8}")
    for (title, where), all in took.items():
        above = at(all, 0.99) - at(took["idle", where], 0.99)
        print(f"{title:34} {where:6} {len(all):8} {at(all, 0.5):8.3f} {at(all, 0.99):8.3f} {max(all):8.3f} {above:8.3f}")


main()
