#!/usr/bin/env bash
# First walks and first reads by one and by eight processes at once, in a view and in a plain directory: time, the server's
# processor time, and the requests by kind. All read the same files in the same order, which is the worst case: they wait
# for the same answers. Each result is compared with that of the plain directory.
#
#   scripts/many-readers.sh [ROUNDS]     [default: 3]
#
# DEPSFS: the program to run [default: target/release/depsfs, else target/debug/depsfs].
set -euo pipefail
export LC_ALL=C
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
depsfs=${DEPSFS:-$here/target/release/depsfs}
[ -x "$depsfs" ] || depsfs=$here/target/debug/depsfs
[ -x "$depsfs" ] || { echo "many-readers.sh: build depsfs first: cargo build --release" >&2; exit 1; }
exec python3 -B - "$depsfs" "${1:-3}" <<'PY'
import json, os, shutil, statistics, subprocess, sys, tempfile, time
from pathlib import Path

depsfs, rounds = sys.argv[1], int(sys.argv[2])
top = Path(tempfile.mkdtemp(prefix="depsfs-many.", dir=os.environ.get("TMPDIR", "/var/tmp")))
source, worktree = top / "repo", top / "fix"
env = {
    **os.environ, "HOME": str(top), "GIT_CONFIG_NOSYSTEM": "1", "XDG_STATE_HOME": str(top / "state"),
    "XDG_CONFIG_HOME": str(top / "config"), "DEPSFS_STORE": str(top / "store"),
}


def run(*words, at):
    done = subprocess.run([str(word) for word in words], cwd=at, env=env, capture_output=True, text=True, timeout=300)
    if done.returncode:
        sys.exit(f"many-readers.sh: {words}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def make():
    source.mkdir()
    run("git", "init", "-q", "-b", "main", at=source)
    run("git", "config", "--global", "user.name", "Ada", at=source)
    run("git", "config", "--global", "user.email", "ada@example.org", at=source)
    (source / ".gitignore").write_text("node_modules/\n")
    for d in range(1500):
        at = source / f"node_modules/p{d // 40}/q{d}"
        at.mkdir(parents=True)
        for f in range(40):
            (at / f"f{f}.js").write_text(f"{d} {f}\n")
    run("git", "add", "-A", at=source)
    run("git", "commit", "-qm", "one", at=source)
    run(depsfs, "create", "fix", at=source)


def server():
    directory = run("git", "rev-parse", "--absolute-git-dir", at=worktree).strip()
    return json.loads(Path(directory, "depsfs/daemon.json").read_text())["server_pid"]


def requests():
    return json.loads(run(depsfs, "status", "--stats", "--json", at=worktree))["stats"]["total"]["requests"]


def processes(count, command, at):
    """Runs some at once: the seconds, and the sorted lines that each printed."""
    files = [open(top / f"out{n}", "w+") for n in range(count)]
    began = time.monotonic()
    for one in [subprocess.Popen(command, cwd=at, stdout=file, text=True) for file in files]:
        if one.wait(timeout=300) != 0:
            sys.exit(f"many-readers.sh: {command}: {one.returncode}")
    seconds = time.monotonic() - began
    return seconds, [sorted(Path(file.name).read_text().splitlines()) for file in files]


def in_view(count, command):
    run(depsfs, "unmount", at=worktree)
    run(depsfs, "mount", at=worktree)
    clock, before = (~server() << 3) | 2, requests()
    used = time.clock_gettime(clock)
    seconds, texts = processes(count, command, worktree / "node_modules")
    used, after = time.clock_gettime(clock) - used, requests()
    kinds = {kind: n - before.get(kind, 0) for kind, n in after.items() if n - before.get(kind, 0) > 100}
    return seconds, used, kinds, texts


try:
    make()
    commands = {
        "walk": ["find", ".", "-mindepth", "1", "-printf", "%P %y %m %T@ %l\n"],
        "read": ["grep", "-r", "9", "."],
    }
    for name, command in commands.items():
        for count in (1, 8):
            plain, (_, expected) = [], processes(count, command, source / "node_modules")
            view = []
            for _ in range(rounds):
                plain.append(processes(count, command, source / "node_modules")[0])
                view.append(in_view(count, command))
                if view[-1][3] != expected:
                    sys.exit(f"many-readers.sh: WRONG: {name} by {count}: not what the plain directory shows")
            seconds, used = (statistics.median(one[n] for one in view) for n in (0, 1))
            kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(view[0][2].items()))
            print(f"{name} by {count}: {seconds:.2f} s (plain {statistics.median(plain):.2f}), server {used:.2f} s: {kinds}")
finally:
    if worktree.exists():
        run(depsfs, "unmount", "--lazy", at=worktree)
    time.sleep(0.5)
    if any(f" {top}/" in line for line in open("/proc/self/mountinfo")):
        print(f"many-readers.sh: still mounted below {top}: nothing there was deleted", file=sys.stderr)
    else:
        shutil.rmtree(top)
PY
