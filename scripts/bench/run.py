"""Starting programs and counting what they cost: wall, and CPU of the program and of the daemons that serve it."""

import os
import resource
import subprocess
import time

ENV = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") and k not in ("CDPATH", "CARGO_TARGET_DIR")}
ENV["LC_ALL"] = "C"
ORDINARY = int(os.environ.get("DEPSFS_TEST_UID", "65534"))
IS_ROOT = os.geteuid() == 0


class Failed(Exception):
    """A program ended with an error; its words."""

    def __init__(self, args, code, words):
        super().__init__(f"{' '.join(map(str, args))}: exit code {code}: {words.strip()[-600:]}")
        self.code = code


def as_user(args, user, cwd):
    """The command that runs as `user` (a uid; None: who runs this), who alone may enter its views."""
    args = [str(a) for a in args]
    if user is None or not IS_ROOT:
        return args, cwd
    there = ["env", "-C", str(cwd)] if cwd else []
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *there, *args], None


def run(*args, cwd=None, user=None, env=None, seconds=1800):
    """Runs a program to its end and answers what it printed."""
    command, cwd = as_user(args, user, cwd)
    done = subprocess.run(command, cwd=cwd, env={**ENV, **(env or {})}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=seconds)
    if done.returncode != 0:
        raise Failed(args, done.returncode, done.stdout)
    return done.stdout


def cpu_of(pids):
    """The CPU seconds that processes have used so far, all their threads together, to the nanosecond."""
    total = 0.0
    for pid in pids:
        try:
            total += time.clock_gettime((~pid << 3) | 2)  # the kernel's MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)
        except OSError:
            pass
    return total


def timed(args, pids=(), **how):
    """(wall, cpu) in seconds of a program that this starts: CPU of it and its children, and of the daemons `pids`."""
    daemons, usage = cpu_of(pids), children()
    start = time.monotonic()
    run(*args, **how)
    wall = time.monotonic() - start
    return wall, children() - usage + cpu_of(pids) - daemons


def children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed_ops(ops, args, pids=(), **how):
    """(wall, cpu, count): as the load program counts itself, and the CPU of the daemons meanwhile."""
    daemons = cpu_of(pids)
    wall, cpu, count = run(ops, *args, **how).split()
    return int(wall) / 1e9, int(cpu) / 1e9 + cpu_of(pids) - daemons, int(count)


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3\n")


def mounted(path):
    with open("/proc/self/mountinfo") as f:
        return any(line.split()[4] == str(path) for line in f)


def rss_mb(pids):
    """Resident megabytes of all of them."""
    return in_file("status", "VmRSS:", pids)


def pss_mb(pids):
    """The same, what is shared with other processes counted in shares."""
    return in_file("smaps_rollup", "Pss:", pids)


def in_file(name, field, pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/{name}") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith(field))
    return total / 1000
