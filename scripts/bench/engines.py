"""The engines: each shows the fixtures' two parts, `deps` and `big`, at `engine.view(part)`, and can start over.

A part is given as a directory that is never written. `reset` puts a part back as it was given, `remount` makes the
kernel forget it and keeps what was written.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from run import IS_ROOT, ORDINARY, Failed, mounted, run

PARTS = ("deps", "big")


class Engine:
    """`base` is a directory of its own, on the file system that this engine works on."""

    user = None
    mounts = False

    def __init__(self, name, base, given):
        self.name, self.base, self.given = name, Path(base) / name.replace(" ", "-"), Path(given)

    def view(self, part):
        return self.base / part

    def pids(self, part):
        return []

    def env(self):
        return {}

    def remount(self, part):
        pass

    def setup(self, parts=PARTS):
        self.base.mkdir(parents=True, exist_ok=True)
        self.parts = parts
        for part in parts:
            self.first(part)

    def teardown(self):
        shutil.rmtree(self.base, ignore_errors=True)


class Copy(Engine):
    """A directory that is a copy, made with the given options of cp."""

    def __init__(self, name, base, given, *options):
        super().__init__(name, base, given)
        self.options = options

    def first(self, part):
        run("cp", "-a", *self.options, self.given / part, self.view(part))

    def reset(self, part, paths):
        for below in paths:
            run("rm", "-rf", self.view(part) / below)
            if (self.given / part / below).exists():
                run("cp", "-a", *self.options, self.given / part / below, self.view(part) / below)
                # What was just written is on its way to the disk: not while the next one is timed.
                os.sync()


class Mounted(Engine):
    """A view over the given directory, with an upper and a work directory."""

    mounts = True

    def upper(self, part):
        return self.base / f"{part}.upper"

    def work(self, part):
        return self.base / f"{part}.work"

    def make_dirs(self, part):
        for d in (self.view(part), self.upper(part), self.work(part)):
            d.mkdir(exist_ok=True)
            if self.user is not None:
                os.chown(d, self.user, self.user)

    def first(self, part):
        self.make_dirs(part)
        self.mount(part)

    def remount(self, part):
        self.unmount(part)
        self.mount(part)

    def reset(self, part, _paths):
        self.unmount(part)
        run("rm", "-rf", self.upper(part), self.work(part))
        self.make_dirs(part)
        self.mount(part)

    def teardown(self):
        for part in getattr(self, "parts", ()):
            if mounted(self.view(part)):
                self.unmount(part)
        super().teardown()


class Overlayfs(Mounted):
    def mount(self, part):
        options = f"lowerdir={self.given / part},upperdir={self.upper(part)},workdir={self.work(part)}"
        run("mount", "-t", "overlay", "overlay", "-o", options, self.view(part))

    def unmount(self, part):
        run("umount", self.view(part))


class FuseOverlayfs(Mounted):
    def __init__(self, name, base, given, program):
        super().__init__(name, base, given)
        self.program, self.daemons = program, {}

    def mount(self, part):
        options = f"lowerdir={self.given / part},upperdir={self.upper(part)},workdir={self.work(part)}"
        daemon = subprocess.Popen([self.program, "-f", "-o", options, str(self.view(part))],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.daemons[part] = daemon
        until = time.monotonic() + 20
        while not mounted(self.view(part)):
            if daemon.poll() is not None or time.monotonic() > until:
                raise Failed([self.program], daemon.poll(), "did not mount")
            time.sleep(0.005)

    def unmount(self, part):
        run("umount", self.view(part))
        self.daemons.pop(part).wait(timeout=60)

    def pids(self, part):
        return [self.daemons[part].pid]


class Depsfs(Mounted):
    """Entries of a store, mounted with an upper."""

    def __init__(self, name, base, given, program, user=None):
        super().__init__(name, base, given)
        self.program = program
        if user is not None and IS_ROOT:
            self.user = user

    def env(self):
        home = str(self.base / "home")
        return {"HOME": home, "DEPSFS_STORE": str(self.base / "store"), "XDG_STATE_HOME": home + "/state"}

    def depsfs(self, *args, **how):
        return run(self.program, *args, user=self.user, env=self.env(), **how)

    def setup(self, parts=PARTS):
        self.base.mkdir(parents=True, exist_ok=True)
        for d in (self.base, self.base / "home"):
            d.mkdir(exist_ok=True)
            if self.user is not None:
                os.chown(d, self.user, self.user)
        super().setup(parts)

    def first(self, part):
        self.depsfs("store", "add", self.given / part, "--name", part)
        super().first(part)

    def mount(self, part):
        self.depsfs("mount", part, "--at", self.view(part), "--upper", self.upper(part), "--workdir", self.work(part),
                    cwd=self.base)

    def unmount(self, part):
        self.depsfs("unmount", "--at", self.view(part), cwd=self.base)

    def pids(self, part):
        return daemon_pids(self.work(part) / "depsfs")

    def facts(self, part):
        """What the view says of itself: which fast paths it found."""
        try:
            return json.loads(os.getxattr(self.view(part), "user.depsfs.view"))
        except OSError:
            return {}


def daemon_pids(state_dir):
    """Keeper and server, as their state says."""
    state = json.loads((Path(state_dir) / "daemon.json").read_text())
    pids = []
    for key in ("pid", "server_pid"):
        found = state.get(key)
        pids.append(found["pid"] if isinstance(found, dict) else found)
    return [p for p in pids if p]


class Image:
    """A file system of another kind, in a file that is mounted by loop."""

    def __init__(self, kind, work, gigabytes):
        self.kind, self.file, self.at = kind, Path(work) / f"{kind}.img", Path(work) / f"on-{kind}"
        self.gigabytes = gigabytes

    def setup(self):
        self.at.mkdir(exist_ok=True)
        run("truncate", "-s", f"{self.gigabytes}G", self.file)
        run(f"mkfs.{self.kind}", "-q", "-f", self.file)
        run("mount", "-o", "loop", self.file, self.at)
        self.at.chmod(0o755)

    def teardown(self):
        if mounted(self.at):
            run("umount", self.at)
        self.file.unlink(missing_ok=True)


def missing_tool(*tools):
    """Why something can't be done here, or None."""
    for tool in tools:
        if not shutil.which(tool):
            return f"{tool} is not installed"
    return None if IS_ROOT else "takes root"


__all__ = ["Copy", "Depsfs", "FuseOverlayfs", "Image", "Overlayfs", "ORDINARY", "daemon_pids", "missing_tool"]
