"""One store per team, over a line with latency: a first worktree on a new machine, and what comes after it.

The server is bucket.py, behind a proxy with the given round trip and 200 Mbit/s. Each machine has a home, a store and a
clone of its own. Every content that is read is compared with the source. The figures are of one run: a line that is
simulated varies little.
"""

import hashlib
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import artifact
from lag import Proxy

BITS = 200e6
READ = 5700
HERE = Path(__file__).resolve().parent

# Of each row its limit at a round trip of 20 and 100 ms; a limit of None: the figure alone.
LIMITS = {
    "create until the prompt, s beyond git": (1.0, 1.8),
    "create until the prompt, requests": (28, 28),
    "create until the prompt, MB": (5, 5),
    "find -ls while the remote is away, requests": (0, 0),
    "5,700 files, one after the other, s": (8, 16),
    "5,700 files, requests": (140, 140),
    "complete, s": (11, 12),
    "complete, requests": (60, 60),
    "first push, s": (15, 15),
    "first push, requests that write": (20, 20),
    "push, 2 % changed, s": (2, 2),
    "push, 2 % changed, requests that write": (5, 5),
    "push, 2 % changed, MB": (9, 9),
    "second create, requests": (0, 0),
    "memory of the idle fetcher, MB": (60, 60),
}


class Wrong(Exception):
    pass


class Machine:
    def __init__(self, top, name, program, lazy):
        self.top, self.program = top / name, program
        (self.top / "home").mkdir(parents=True)
        config = self.top / "config/depsfs"
        config.mkdir(parents=True)
        (config / "config.toml").write_text("[remote.team]\n" + lazy)
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("DEPSFS", "GIT_", "AWS_"))},
            "HOME": str(self.top / "home"),
            "DEPSFS_STORE": str(self.top / "store"),
            "XDG_STATE_HOME": str(self.top / "state"),
            "XDG_CONFIG_HOME": str(self.top / "config"),
            "AWS_ACCESS_KEY_ID": "team",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "GIT_CONFIG_NOSYSTEM": "1",
            "LC_ALL": "C",
        }
        self.git("config", "--global", "user.name", "Ada", at=self.top)
        self.git("config", "--global", "user.email", "ada@example.org", at=self.top)

    def run(self, *command, at, **more):
        done = subprocess.run(
            [str(word) for word in command], cwd=at, env={**self.env, **more}, text=True, capture_output=True, timeout=600
        )
        if done.returncode != 0:
            raise Wrong(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def git(self, *words, at):
        return self.run("git", *words, at=at)

    def depsfs(self, *words, at, **more):
        return self.run(self.program, *words, at=at, **more)

    def clone(self, source):
        self.repo = self.top / "clone"
        self.git("clone", "-q", source, self.repo, at=self.top)
        self.depsfs("approve", at=self.repo)

    def git_alone(self):
        """How long git takes to make a worktree, in seconds."""
        took = []
        for n in range(3):
            began = time.monotonic()
            self.git("worktree", "add", "-q", "--detach", self.top / f"plain{n}", at=self.repo)
            took.append(time.monotonic() - began)
        return statistics.median(took)


def server():
    """A bucket, and its port."""
    child = subprocess.Popen([sys.executable, "-B", HERE / "bucket.py"], stdout=subprocess.PIPE, text=True)
    return child, int(child.stdout.readline())


class Counted:
    """What goes over the line meanwhile, and how long it takes."""

    def __init__(self, proxy):
        self.proxy = proxy

    def __enter__(self):
        self.before, self.began = self.proxy.counters(), time.monotonic()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.began
        after = self.proxy.counters()
        self.requests, self.puts = (after[key] - self.before[key] for key in ("requests", "puts"))
        self.received = (after["received"] - self.before["received"]) / 1e6
        self.sent = (after["sent"] - self.before["sent"]) / 1e6


def listing(top):
    """Names, types, modes, sizes, times and links; the size of a directory is its file system's own affair."""
    shown = ["-type", "d", "-printf", "%P %y %m %T@\n", "-o", "-printf", "%P %y %m %s %T@ %l\n"]
    found = subprocess.run(["find", ".", *shown], cwd=top, text=True, capture_output=True, check=True, timeout=600)
    return sorted(found.stdout.splitlines())


def digest(path):
    return hashlib.blake2b(path.read_bytes()).digest()


def set_up(top, program, files, port):
    a = Machine(top, "a", program, "")
    a.repo = a.top / "repo"
    (a.repo / "src").mkdir(parents=True)
    (a.repo / ".gitignore").write_text("node_modules/\n")
    (a.repo / "package-lock.json").write_text("1\n")
    (a.repo / "depsfs.toml").write_text(
        '[[component]]\nname = "web"\npaths = ["node_modules"]\nkey = { files = ["package-lock.json"] }\n\n'
        f'[[remote]]\nname = "team"\nurl = "s3://team/cache"\nregion = "us-east-1"\nendpoint = "http://127.0.0.1:{port}"\n'
    )
    artifact.make(a.repo / "node_modules", 1, files)
    a.git("init", "-q", "-b", "main", at=a.repo)
    a.git("add", "-A", at=a.repo)
    a.git("commit", "-qm", "one", at=a.repo)
    a.depsfs("approve", at=a.repo)
    a.depsfs("remote", "init", at=a.repo)
    return a


def complete(machine, worktree):
    for _ in range(6000):
        if "[incomplete]" not in machine.depsfs("status", at=worktree):
            return
        time.sleep(0.02)
    raise Wrong("the views do not complete themselves")


def fetcher_memory(store):
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"fetcher" in (process / "cmdline").read_bytes() and str(store).encode() in (process / "environ").read_bytes():
                return int(re.search(r"VmRSS:\s+(\d+)", (process / "status").read_text())[1]) / 1e3
        except (OSError, TypeError):
            pass
    return None


def one_line(top, program, files, round_trip, say):
    """All rows over a line with this round trip, in seconds."""
    rows = []

    def row(name, value):
        rows.append((name, value))
        say(f"  {name}: {value if value is None else round(value, 2)}")

    child, port = server()
    machines = []
    try:
        proxy = Proxy(port, round_trip, BITS)
        a = set_up(top, program, files, proxy.port)
        with Counted(proxy) as line:
            a.depsfs("push", at=a.repo)
        row("first push, s", line.seconds)
        row("first push, requests that write", line.puts)
        row("first push, MB", line.sent)
        source = a.repo / "node_modules"
        expected = listing(source)

        # Contents come by themselves, and those that are read first.
        b = Machine(top, "b", program, "lazy = true\n")
        machines.append(b)
        b.clone(a.repo)
        plain = b.git_alone()
        with Counted(proxy) as line:
            b.depsfs("create", "fix", at=b.repo)
        row("create until the prompt, s beyond git", line.seconds - plain)
        row("create until the prompt, requests", line.requests)
        row("create until the prompt, MB", line.received)
        proxy.is_away = True
        with Counted(proxy) as line:
            shown = listing(b.top / "fix/node_modules")
        proxy.is_away = False
        if shown != expected:
            differs = sorted(set(shown) ^ set(expected))
            raise Wrong(f"the listing differs from the source's in {len(differs)} lines: {differs[:4]}")
        row("find -ls while the remote is away, s", line.seconds)
        row("find -ls while the remote is away, requests", line.requests)
        names = sorted(path.relative_to(source) for path in source.rglob("*.js"))
        random.Random(7).shuffle(names)
        names = sorted(names[:READ], key=lambda path: (path.parent.name, path.name))
        with Counted(proxy) as line:
            seen = [digest(b.top / "fix/node_modules" / name) for name in names]
        if seen != [digest(source / name) for name in names]:
            raise Wrong("contents differ from the source's")
        row("5,700 files, one after the other, s", line.seconds)
        row("5,700 files, requests", line.requests)
        with Counted(proxy) as line:
            b.depsfs("create", "second", at=b.repo)
        row("second create, s beyond git", line.seconds - plain)
        row("second create, requests", line.requests)

        # Nobody reads anything meanwhile.
        c = Machine(top, "c", program, "lazy = true\n")
        machines.append(c)
        c.clone(a.repo)
        with Counted(proxy) as line:
            c.depsfs("create", "fix", at=c.repo)
            complete(c, c.top / "fix")
        row("complete, s", line.seconds)
        row("complete, requests", line.requests)
        row("complete, MB", line.received)
        proxy.is_away = True
        if [digest(c.top / "fix/node_modules" / name) for name in names] != seen:
            raise Wrong("contents differ from the source's")
        proxy.is_away = False

        # Few contents are read, and no others come.
        d = Machine(top, "d", program, 'lazy = true\ncomplete = "on-use"\n')
        machines.append(d)
        d.clone(a.repo)
        d.depsfs("create", "fix", at=d.repo)
        if [digest(d.top / "fix/node_modules" / name) for name in names[:100]] != seen[:100]:
            raise Wrong("contents differ from the source's")
        time.sleep(1)
        row("memory of the idle fetcher, MB", fetcher_memory(d.top / "store"))

        shutil.rmtree(source)
        artifact.make(source, 2, files)
        (a.repo / "package-lock.json").write_text("2\n")
        a.git("commit", "-qam", "two", at=a.repo)
        with Counted(proxy) as line:
            a.depsfs("push", at=a.repo)
        row("push, 2 % changed, s", line.seconds)
        row("push, 2 % changed, requests that write", line.puts)
        row("push, 2 % changed, MB", line.sent)
        return rows
    finally:
        for machine in machines:
            for worktree in ("fix", "second"):
                if (machine.top / worktree).exists():
                    machine.depsfs("unmount", "--lazy", worktree, at=machine.repo)
        child.kill()
        child.wait()


def all_of_it(args, work, say):
    """For each row its name, and the figure and the limit at each round trip."""
    files = 6000 if args.quick else 57000
    table = {}
    for which, milliseconds in enumerate((20, 100)):
        say(f"a round trip of {milliseconds} ms, 200 Mbit/s, {files} files")
        top = work / f"team{milliseconds}"
        top.mkdir()
        for name, value in one_line(top, args.depsfs, files, milliseconds / 1000, say):
            limit = LIMITS.get(name)
            table.setdefault(name, []).append((value, limit and limit[which]))
        shutil.rmtree(top)
    return table


def words(table):
    lines = [f"{'':<50} {'20 ms':>9} {'limit':>7} {'100 ms':>9} {'limit':>7}"]
    for name, cells in table.items():
        line = f"{name:<50}"
        for value, limit in cells:
            shown = "-" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")
            over = "!" if value is not None and limit is not None and value > limit else " "
            line += f" {shown + over:>9} {'' if limit is None else limit:>7}"
        lines.append(line)
    return "\n".join(lines) + "\n"
