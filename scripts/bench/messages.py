"""The table of scripts/messages.sh: messages and system calls of a view's server, per file, for what programs do."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

# The places in the kernel's source (fs/, Linux 6.12) that send a message, and the reason why they do.
PLACES = {
    "lookup": "fuse/dir.c fuse_lookup: the kernel has no entry for the name; fuse_dentry_revalidate: or one that unlink, "
              "rmdir or rename made (fuse_entry_unlinked, fuse_rename_common: fuse_invalidate_entry_cache)",
    "getattr": "fuse/dir.c fuse_update_get_attr, fuse_permission: attributes are unknown after a change, as only replies "
               "to mknod, mkdir, symlink, link and setattr carry them (fuse_dir_changed of a directory, "
               "fuse/file.c fuse_write_update_attr of a file)",
    "getxattr": "security/commoncap.c cap_inode_need_killpriv: security.capability, before the first write to an inode "
                "since its attributes came (inode.c file_remove_privs sets S_NOSEC, fuse/inode.c "
                "fuse_change_attributes_common clears it), and at each chown (attr.c notify_change)",
    "setattr": "fuse/dir.c fuse_do_setattr: the program's own chmod, chown, utimensat or ftruncate; namei.c "
               "handle_truncate: O_TRUNC (with FUSE_ATOMIC_O_TRUNC it would be an open)",
    "mknod": "fuse/dir.c fuse_atomic_open: after ENOSYS to FUSE_CREATE, which saves the release at close",
    "mkdir": "fuse/dir.c fuse_mkdir", "unlink": "fuse/dir.c fuse_unlink", "rmdir": "fuse/dir.c fuse_rmdir",
    "rename": "fuse/dir.c fuse_rename_common", "symlink": "fuse/dir.c fuse_symlink", "link": "fuse/dir.c fuse_link",
    "read": "fuse/file.c fuse_send_readpages: pages that are not in memory; none after it",
    "write": "fuse/file.c fuse_send_write_pages: without FUSE_WRITEBACK_CACHE each write is one, up to 1 MiB",
    "ioctl": "fuse/ioctl.c fuse_do_ioctl: ENOTTY and ENOSYS are not remembered (fuse_send_ioctl), and no flag refuses them",
    "fsync": "fuse/file.c fuse_fsync", "readdirplus": "fuse/readdir.c fuse_readdir_uncached: 32 KiB each, then it is cached",
    "forget": "fuse/inode.c fuse_evict_inode: no reply, many in one message (FUSE_BATCH_FORGET)",
    "lseek": "fuse/file.c fuse_lseek: SEEK_DATA and SEEK_HOLE", "fallocate": "fuse/file.c fuse_file_fallocate",
    "listxattr": "fuse/xattr.c fuse_listxattr", "copy_file_range": "fuse/file.c __fuse_copy_file_range",
    "readlink": "fuse/dir.c fuse_readlink_page: once", "statfs": "fuse/inode.c fuse_statfs",
}
# What carries messages, and is counted as such; and what happens between them.
CARRIERS = {"read", "writev", "write", "poll", "ppoll", "restart_syscall", "futex", "epoll_wait", "clock_nanosleep"}
PYTHON = "import sys\nfor p in sys.argv[1:]:\n    with open(p, 'rb') as f: f.read()"


def stats(at):
    return Counter(json.loads(os.getxattr(at, "user.depsfs.stats"))["requests"])


class Table:
    def __init__(self, work, files):
        self.at, self.files, self.work = work / "at", files, work
        state = json.loads((work / "workdir/depsfs/daemon.json").read_text())
        self.server = state["server_pid"]["pid"] if isinstance(state["server_pid"], dict) else state["server_pid"]
        # A look at the counters is messages itself.
        stats(self.at)
        first = stats(self.at)
        self.looks = stats(self.at) - first
        self.rows, self.seen, self.traces = [], set(), bool(shutil.which("strace"))

    def row(self, title, do):
        """Adds one row: `do` is an operation to each of the files."""
        calls = Strace(self.server, self.work / "calls")
        before = stats(self.at)
        calls.start()
        do()
        calls.end()
        requests = stats(self.at) - before - self.looks
        self.seen |= set(requests)
        each = {name: count / self.files for name, count in requests.items() if count >= self.files / 10}
        messages = sum(count for name, count in each.items() if name != "forget")
        self.rows.append((title, messages, each, calls.each(self.files)))

    def text(self):
        lines = [f"{'per file':40} {'messages':>8}  {'of these':62} the server's system calls"]
        for title, messages, each, calls in self.rows:
            of = ", ".join(f"{name} {round(n, 1):g}" for name, n in sorted(each.items(), key=lambda x: (-x[1], x[0])))
            of_calls = ", ".join(f"{name} {round(n, 1):g}" for name, n in sorted(calls.items(), key=lambda x: (-x[1], x[0])))
            of_calls = f"{sum(calls.values()):.1f}: {of_calls}" if calls else "0"
            lines.append(f"{title:40} {messages:8.1f}  {of or 'none':62} {of_calls if self.traces else '-'}")
        lines += ["", "which the kernel sends, and where"]
        lines += [f"{name:16} {PLACES[name]}" for name in sorted(self.seen & set(PLACES))]
        return "\n".join(lines)


class Strace:
    """The system calls of a process, all its threads, from `start` to `end`; none are seen without strace(1)."""

    def __init__(self, pid, out):
        self.pid, self.out, self.tracer = pid, out, None

    def start(self):
        if not shutil.which("strace"):
            return
        self.tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", self.out, "-p", str(self.pid)],
                                       stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while not self.traced() and self.tracer.poll() is None and time.monotonic() < until:
            time.sleep(0.01)

    def traced(self):
        status = [Path(t, "status").read_text() for t in Path(f"/proc/{self.pid}/task").iterdir()]
        return all(f"TracerPid:\t{self.tracer.pid}\n" in s for s in status)

    def end(self):
        if self.tracer:
            self.tracer.send_signal(signal.SIGINT)
            self.tracer.wait(timeout=60)

    def each(self, files):
        """By name, of one file."""
        if not self.tracer or not self.out.exists():
            return {}
        calls = Counter(m[1] for line in self.out.read_text(errors="replace").splitlines()
                        if (m := re.match(r"\d+ +(?:<\.\.\. )?(\w+)\(", line)))
        self.out.unlink()
        return {name: n / files for name, n in calls.items() if name not in CARRIERS and n >= files / 10}


def run(*args, cwd=None):
    done = subprocess.run([str(a) for a in args], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"messages: {' '.join(map(str, args))}: {done.stdout}{done.stderr}")


def make(path, data=b"x" * 100, flags=os.O_EXCL):
    file = os.open(path, os.O_CREAT | os.O_WRONLY | flags, 0o644)
    os.write(file, data)
    os.close(file)


def read(path):
    # No TCGETS, as Python's own open() has it.
    file = os.open(path, os.O_RDONLY)
    while os.read(file, 65536):
        pass
    os.close(file)


def programs(table, files):
    at = table.at
    lib = [at / "lib" / f"f{i}" for i in range(files)]
    each = lambda paths, do: lambda: [do(path) for path in paths]
    table.row("stat, first", each(lib, os.stat))
    table.row("stat, later", each(lib, os.stat))
    table.row("stat of no file, first", each([p.with_suffix(".no") for p in lib], os.path.exists))
    table.row("stat of no file, later", each([p.with_suffix(".no") for p in lib], os.path.exists))
    table.row("open, read, close, first", each(lib, read))
    table.row("open, read, close, later", each(lib, read))
    for path in lib:
        os.stat(path)  # Their access times are unknown after the reads (fuse_invalidate_atime).
    table.row("Python open().read(), later", lambda: run("python3", "-c", PYTHON, *lib))
    table.row("list a directory (of all its names)", lambda: list(os.scandir(at / "gone")))
    os.mkdir(at / "new")
    new = [at / "new" / f"f{i}" for i in range(files)]
    table.row("create, write, close", each(new, make))
    table.row("fstat of it, chmod", each(new, lambda p: (os.stat(p), os.chmod(p, 0o600))))
    table.row("truncate of it", each(new, lambda p: os.truncate(p, 3)))
    table.row("rename of it", each(new, lambda p: os.rename(p, p.with_suffix(".r"))))
    table.row("unlink of it", each(new, lambda p: os.unlink(p.with_suffix(".r"))))
    table.row("mkdir", each(new, os.mkdir))
    table.row("rmdir", each(new, os.rmdir))
    table.row("symlink", each(new, lambda p: os.symlink("x", p)))
    table.row("unlink of the store's", each([at / "gone" / p.name for p in lib], os.unlink))
    table.row("rename of the store's", each([at / "moved" / p.name for p in lib], lambda p: os.rename(p, f"{p}.r")))

    def over(path):
        make(f"{path}.tmp")
        os.rename(f"{path}.tmp", path)

    table.row("create beside, rename over the store's", each([at / "over" / p.name for p in lib], over))
    table.row("open with O_TRUNC, write to the store's", each([at / "written" / p.name for p in lib], lambda p: make(p, b"y", os.O_TRUNC)))
    table.row("the same again", each([at / "written" / p.name for p in lib], lambda p: make(p, b"z", os.O_TRUNC)))


def tools(table, files):
    at, work = table.at, table.work
    run("tar", "-cf", work / "some.tar", "-C", work / "given", "lib")
    os.mkdir(at / "unpacked")
    table.row("tar x", lambda: run("tar", "-xf", work / "some.tar", "-C", at / "unpacked"))
    repo = at / "git"
    git = ("git", "-C", repo, "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "gc.auto=0")
    # Its database is outside: only files are counted.
    run("git", "init", "-q", "--separate-git-dir", work / "db", repo)
    run(*git, "add", ".")
    run(*git, "commit", "-qm", "one")
    for i in range(files):
        (repo / f"f{i}").write_text(f"other {i}\n")
    run(*git, "commit", "-qam", "two")
    table.row("git checkout that rewrites it", lambda: run(*git, "checkout", "-q", "HEAD~1"))
    table.row("git status", lambda: run(*git, "status", "--porcelain"))
    if not shutil.which("npm"):
        return
    package = work / "package"
    shutil.copytree(work / "given" / "lib", package / "lib")
    (package / "package.json").write_text('{"name": "some", "version": "1.0.0"}')
    run("npm", "pack", "--silent", "--pack-destination", work, cwd=package)
    os.mkdir(at / "project")
    (at / "project/package.json").write_text("{}")
    table.row("npm install", lambda: run("npm", "install", "--offline", "--silent", "--no-audit", "--no-fund",
                                         work / "some-1.0.0.tgz", cwd=at / "project"))


def compare(table, text):
    """Ends with an error where a row has more messages than in an earlier table."""
    earlier = {line[:40].strip(): float(line[41:49]) for line in text.splitlines()[1:] if re.match(r" *[\d.]+$", line[40:49])}
    more = [f"{title}: {messages:.1f} messages, {earlier[title]:.1f} earlier"
            for title, messages, *_ in table.rows if messages > earlier.get(title, messages) + 0.25]
    if more:
        sys.exit("messages: " + "\n".join(more))


def main():
    work, files = Path(sys.argv[1]), int(sys.argv[2])
    table = Table(work, files)
    programs(table, files)
    tools(table, files)
    print(table.text())
    if len(sys.argv) > 3:
        compare(table, Path(sys.argv[3]).read_text())


main()
