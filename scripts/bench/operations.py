"""The operations on the engines' views: what runs, in which state, and what the figure should be.

`state` is how a view is before each run:

    warm    it was run once before, nothing was dropped
    first   the view was just mounted; the plain directory is warm
    cold    all caches of the kernel were dropped
    spoilt  `reset` names what is put back before, because the operation changes it
    new     as it is: each run makes something of its own, `{n}` in its name, that stays. Nothing is deleted before:
            ext4 without a journal is slow for a minute to make files where some were deleted
"""

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from run import Failed, timed, timed_ops

READERS = ("plain", "hard links", "xfs reflink", "btrfs reflink", "overlayfs", "fuse-overlayfs", "fuse-overlayfs 2.0",
           "depsfs", "depsfs as user")
MOUNTED = ("plain", "overlayfs", "fuse-overlayfs", "fuse-overlayfs 2.0", "depsfs", "depsfs as user")
# rustup looks for them below HOME, which the programs that are measured have elsewhere.
TOOLCHAIN = {name: os.environ.get(name, str(Path.home() / below))
             for name, below in (("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo"))}

# open() asks TCGETS of each file, which is a message to a FUSE server.
PYTHON = "import sys\nfor p in open(sys.argv[1]).read().splitlines():\n    with open(p, 'rb') as f: f.read()"

# Another program's writes, each waited for, until it is ended.
BUSY = "import os, sys\nf = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)\nwhile True:\n" \
       "    os.pwrite(f, bytes(4 << 20), 0)\n    os.fsync(f)\n"


@contextmanager
def busy_disk(file):
    """The disk of `file` is kept busy by another process meanwhile."""
    writer = subprocess.Popen([sys.executable, "-c", BUSY, str(file)])
    try:
        yield
        if writer.poll() is not None:
            raise Failed(["busy disk"], writer.returncode, "the writer ended")
    finally:
        writer.kill()
        writer.wait()


@dataclass
class Operation:
    key: str
    title: str
    part: str
    state: str
    ops: list | None = None
    program: list | None = None
    below: str = "."
    limits: dict = field(default_factory=dict)
    engines: tuple = READERS
    reset: tuple = ()
    expect: int | None = None
    quick: bool = True
    passes: int = 1
    busy: bool = False

    def run(self, engine, tools):
        """(wall, cpu) of one run, which is so many passes; the state has been made."""
        if self.busy:
            with busy_disk(Path(tools["home"]).parent / "busy"):
                return self.once(engine, tools)
        runs = [self.once(engine, tools) for _ in range(self.passes)]
        return tuple(sum(column) for column in zip(*runs))

    def once(self, engine, tools):
        how = {"pids": engine.pids(self.part), "user": engine.user, "cwd": engine.view(self.part) / self.below}
        fill = lambda words: [w.format(view=engine.view(self.part), **tools) for w in words]
        if self.program:
            env = {"HOME": tools["home"], "CARGO_TARGET_DIR": str(engine.view(self.part) / "target"), **TOOLCHAIN}
            return timed(fill(self.program), env=env, **how)
        try:
            wall, cpu, count = timed_ops(tools["ops"], fill(self.ops), **how)
        except Failed as e:
            if self.key == "rename" and e.code == 18:  # EXDEV: as mv does it, then
                return timed(["mv", *fill(self.ops[1:])], **how)
            raise
        if self.expect is not None and count != self.expect:
            raise Failed(self.ops, 0, f"{engine.name}: {count} instead of {self.expect}")
        return wall, cpu


def table(lists):
    """Every operation; `lists` are the paths' counts and the subtree that is renamed."""
    every, subtree, files = lists["every"], lists["subtree"], lists["subtree_files"]
    lone = lists["lone"]
    return [
        Operation("walk", f"walk + lstat of {every:,} names, warm", "deps", "warm", ["walk"], below="npm",
                  limits={"cpu": 1.1}, expect=every),
        Operation("walk-first", "the same, first touch after mounting", "deps", "first", ["walk"], below="npm",
                  limits={"cpu": 1.6}, expect=every),
        Operation("walk-first-8", "8 such walks at once, first touch", "deps", "first", ["walkers", "8"], below="npm",
                  limits={"wall": 1.6, "cpu": 1.6}, expect=8 * every),
        Operation("lookup-first", f"{lone:,} lone lookups, first touch", "deps", "first", ["lstat", "{lists}/every"],
                  below="npm", limits={"cpu": 7}, expect=lone),
        Operation("walk-cold", "walk + lstat, after drop_caches", "deps", "cold", ["walk"], below="npm",
                  limits={"wall": 1.0}, engines=MOUNTED, expect=every),
        Operation("enoent", "20,000 ENOENT lookups, 5 times, warm", "deps", "warm", ["missing", "{lists}/missing"], below="npm",
                  limits={"cpu": 1.15}, expect=20000, passes=5),
        Operation("open", "open + read + close of 20,000 small files, 5 times, warm", "deps", "warm", ["read", "{lists}/small"],
                  below="small", limits={"cpu": 1.3}, expect=20000, passes=5),
        Operation("open-cold", "the same after drop_caches", "deps", "cold", ["read", "{lists}/small"], below="small",
                  limits={"wall": 0.8}, engines=MOUNTED, expect=20000),
        Operation("open-cold-8", "the same by 8 readers, after drop_caches", "deps", "cold",
                  ["readers", "8", "{lists}/small"], below="small", limits={"wall": 0.9}, engines=MOUNTED, expect=20000),
        Operation("open-cold-8-busy", "the same while another process keeps the disk busy", "deps", "cold",
                  ["readers", "8", "{lists}/small"], below="small", limits={"wall": 1.0}, engines=MOUNTED, expect=20000,
                  busy=True, quick=False),
        Operation("python", "Python open().read() of 20,000 small files, warm", "deps", "warm", below="small",
                  program=["python3", "-c", PYTHON, "{lists}/small"], limits={"wall": 2.2, "cpu": 1.6}),
        Operation("rg", "ripgrep over them, warm", "deps", "warm", program=["rg", "-c", "--no-ignore", "needle return"],
                  below="small", limits={"cpu": 1.3}),
        Operation("node", "node: require of 5,700 modules", "deps", "warm", program=["node", "all.js"], below="web",
                  limits={"cpu": 1.05}, engines=MOUNTED),
        Operation("tsc", "tsc --noEmit", "deps", "warm", program=["node", "node_modules/typescript/bin/tsc", "-p", "."],
                  below="web", limits={"cpu": 1.05}, engines=MOUNTED, quick=False),
        Operation("webpack", "webpack of 800 modules", "deps", "warm", engines=MOUNTED, below="web", quick=False,
                  program=["node", "node_modules/webpack/bin/webpack.js", "--mode", "development", "--entry",
                           "./some.js", "-o", "{view}/packed"], limits={"cpu": 1.05}),
        Operation("cargo", "cargo build after a touch", "deps", "warm", engines=MOUNTED, quick=False,
                  program=["sh", "-c", "cd {crate} && touch src/main.rs && cargo build -q --offline"], limits={"cpu": 1.05}),
        Operation("cargo-new", "cargo build from nothing", "deps", "new", engines=MOUNTED, quick=False,
                  program=["sh", "-c", "cd {crate} && CARGO_TARGET_DIR={view}/fresh-{n} cargo build -q --offline"],
                  limits={"wall": 1.1}),
        Operation("npm-ci", f"npm ci of {lists['locked']:,} packages, from npm's cache", "deps", "new", engines=MOUNTED,
                  quick=False, limits={"wall": 1.1},
                  program=["sh", "-c", "mkdir ci-{n} && cp {ci}/package.json {ci}/package-lock.json ci-{n} && cd ci-{n} && "
                           "npm ci --prefer-offline --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error "
                           "--cache {ci}/cache"]),
        Operation("exec", "bb --version (38 MB), 20 times, warm", "big", "warm", limits={"cpu": 1.05},
                  program=["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do ./bb --version; done"]),
        Operation("seq", "1 GiB read in order, warm", "big", "warm", ["seq", "1G"], limits={"cpu": 1.05},
                  expect=1 << 30),
        Operation("rand", "200,000 random reads of 4 KiB, warm", "big", "warm", ["rand", "1G", "200000"],
                  limits={"cpu": 1.05}, expect=200000),
        Operation("rand-cold-8", "1 GiB in random pieces of 64 KiB by 8 readers, after drop_caches", "big", "cold",
                  ["pieces", "1G", "8"], limits={"wall": 1.1}, engines=MOUNTED, expect=1 << 14),
        Operation("make", "10,000 files made", "deps", "new", ["make", "made-{n}", "10000"], limits={"cpu": 2.0},
                  engines=MOUNTED),
        Operation("extract", "tar x of 20,000 files", "deps", "new", limits={"cpu": 1.5}, engines=MOUNTED,
                  program=["sh", "-c", "mkdir tar-{n} && tar -C tar-{n} -xf {small_tar}"]),
        Operation("delete", "10,000 lower files deleted", "deps", "spoilt", ["unlink", "{lists}/half"], below="small",
                  limits={"cpu": 3}, engines=MOUNTED, reset=("small",), expect=10000),
        Operation("rm-rf", f"rm -rf of {every:,} lower names", "deps", "spoilt", program=["rm", "-rf", "npm"],
                  limits={"wall": 0.2, "cpu": 1.5}, engines=MOUNTED, reset=("npm",)),
        Operation("rename", f"rename of a lower directory of {files:,} files", "deps", "spoilt", below="npm",
                  ops=["rename", subtree, subtree + "-renamed"], limits={"ms": 5}, engines=MOUNTED,
                  reset=(f"npm/{subtree}", f"npm/{subtree}-renamed")),
        Operation("chmod", "chmod of a lower file of 256 MiB", "big", "spoilt", ["chmod", "256M"], limits={"ms": 5},
                  engines=MOUNTED, reset=("256M",)),
    ]
