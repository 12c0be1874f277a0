"""What isn't an operation on a view: create and remove, import, memory, page cache, the first append, versions; git in
worktrees of both shapes, and a worktree of many packages.

Each function yields rows of the report: their words, a value for each engine, the limit, and the unit.
"""

import os
import random
import shutil
import statistics
import time
from pathlib import Path

from engines import ORDINARY, Depsfs, FuseOverlayfs, Overlayfs, daemon_pids
from run import IS_ROOT, Failed, drop_caches, pss_mb, rss_mb, run, timed, timed_ops

TRACKED = 5000


def row(key, what, unit, values, limit, plain_ms=None, limits=None):
    """`limits`: those of single engines that have another one."""
    return {"key": key, "what": what, "of": unit, "values": values, "limit": limit, "limits": limits or {},
            "plain_ms": plain_ms}


def wall(*args, **how):
    start = time.monotonic()
    run(*args, **how)
    return time.monotonic() - start


def median_of(count, once):
    return statistics.median(once() for _ in range(count))


class Repository:
    """5,000 tracked files and, ignored, the packages; it belongs to `user`, and so do its worktrees and its store.
    `fill` makes other files."""

    def __init__(self, at, given, program, user=None, fill=None):
        self.at, self.program, self.user, self.number = at, program, user if IS_ROOT else None, 0
        self.source = at / "source"
        (at / "home").mkdir(parents=True)
        if fill:
            fill(self.source)
        else:
            tracked(self.source)
            run("cp", "-al", given / "deps/npm/node_modules", self.source / "node_modules")
        if self.user is not None:
            for path in (at, at / "home", self.source):
                os.chown(path, user, user)
            # The packages are hard links to the fixtures.
            others = [path for path in self.source.iterdir() if fill or path.name != "node_modules"]
            run("chown", "-R", f"{user}:{user}", *others)
        self.env = {"HOME": str(at / "home"), "DEPSFS_STORE": str(at / "store"), "XDG_STATE_HOME": str(at / "state"),
                    "GIT_CONFIG_NOSYSTEM": "1"}
        self.git("init", "-q", "-b", "main")
        self.git("config", "gc.auto", "0")
        self.git("config", "user.name", "Bench")
        self.git("config", "user.email", "bench@example.invalid")
        self.git("add", ".")
        self.git("commit", "-qm", "all")
        self.git("gc", "-q")

    def git(self, *args):
        return wall("git", *args, cwd=self.source, user=self.user, env=self.env)

    def depsfs(self, *args):
        return wall(self.program, *args, cwd=self.source, user=self.user, env=self.env)

    def pair(self):
        """One of each, in turn: seconds of git's add and remove, of depsfs's create and remove."""
        self.number += 1
        n = self.number
        add = self.git("worktree", "add", "-q", "-b", f"plain{n}", self.at / "plain")
        gone = self.git("worktree", "remove", self.at / "plain")
        create = self.depsfs("create", "view", "--branch", f"view{n}")
        said = run("git", "status", "--porcelain", cwd=self.at / "view", user=self.user, env=self.env)
        if said:
            raise Failed(["git", "status"], 0, f"the new worktree is not clean: {said}")
        remove = self.depsfs("remove", "view")
        return add, gone, create, remove


def tracked(where, count=TRACKED):
    choose = random.Random(3)
    for d in range(count // 12 + 1):
        (where / f"src/p{d // 20}/d{d}").mkdir(parents=True)
    for n in range(count):
        d, lines = n // 12, int(choose.lognormvariate(5, 1.1))
        text = "".join(f"the quick brown fox jumps over {choose.randint(0, 10**9)}\n" for _ in range(min(lines, 2000)))
        (where / f"src/p{d // 20}/d{d}/f{n}.ts").write_text(text)
    (where / ".gitignore").write_text("node_modules/\n")


def create_and_remove(args, given, work, say):
    beyond, ratios, removes, plain = {}, {}, {}, None
    for name, user in (("depsfs", None), ("depsfs as user", ORDINARY)):
        if name == "depsfs" and not IS_ROOT:
            continue
        at = work / ("repository" if user is None else "repository-of-user")
        repository = Repository(at, given, args.depsfs, user)
        try:
            repository.pair()  # fills the store
            pairs = [repository.pair() for _ in range(max(args.rounds, 5))]
        finally:
            if (at / "view").exists():
                repository.depsfs("unmount", "--lazy", at / "view")
        add, gone, create, remove = (statistics.median(column) for column in zip(*pairs))
        say(f"  {name}: git {add * 1000:.0f} / {gone * 1000:.0f} ms, depsfs {create * 1000:.0f} / {remove * 1000:.0f} ms")
        beyond[name], ratios[name], removes[name] = (create - add) * 1000, create / add, (remove - gone) * 1000
        plain = plain or (add * 1000, gone * 1000)
    beyond.update(peers(args, given, work, say))
    yield row("create", "second create, beyond git worktree add", "ms", beyond, 100, plain[0])
    yield row("create-all", f"create in all, {TRACKED:,} tracked files / git worktree add", "wall", ratios, 1.0, plain[0])
    yield row("remove", "remove in all, beyond git worktree remove", "ms", removes, 300, plain[1])


def peers(args, given, work, say):
    """What others take to put the packages into a new worktree: milliseconds."""
    source, to, found = given / "deps/npm", work / "peer", {}
    ways = {"hard links": (["cp", "-al", source, to], to)}
    if not args.quick:
        ways["plain"] = (["cp", "-a", source, to], to)
        ways["tar.zst"] = (["sh", "-c", f"mkdir '{to}' && tar -C '{to}' -I zstd -xf '{given}/npm.tar.zst'"], to)
    for kind in ("xfs", "btrfs"):
        image = work / f"on-{kind}"
        if (image / "given/deps/npm").exists():
            ways[f"{kind} reflink"] = (["cp", "-a", "--reflink=always", image / "given/deps/npm", image / "peer"], image / "peer")
    for name, (command, made) in ways.items():
        def once():
            os.sync()
            seconds = wall(*command)
            run("rm", "-rf", made)
            return seconds
        found[name] = median_of(3 if name == "hard links" else 1, once) * 1000
        say(f"  {name}: {found[name]:.0f} ms")
    return found


def archives(args, given, work, say):
    """A .tar.zst into an empty store, and into one that knows all of it, against `zstd -d | tar x`."""
    empty, known, plain = [], [], []
    for number in range(1 if args.quick else 3):
        to, store = work / "unpacked", work / f"archive-store{number}"
        to.mkdir()
        os.sync()
        plain.append(wall("sh", "-c", f"zstd -q -d -c '{given}/npm.tar.zst' | tar -C '{to}' -xf -"))
        run("rm", "-rf", to)
        env = {"DEPSFS_STORE": str(store)}
        os.sync()
        empty.append(wall(args.depsfs, "store", "add", given / "npm.tar.zst", "--name", "one", env=env))
        os.sync()
        known.append(wall(args.depsfs, "store", "add", given / "npm.tar.zst", "--name", "two", env=env))
        run("rm", "-rf", store)
    base = statistics.median(plain)
    yield row("import", "import of a .tar.zst / zstd -d | tar x", "wall", {"depsfs": statistics.median(empty) / base},
              1.0, base * 1000)
    yield row("import-known", "the same when all of it is known", "wall", {"depsfs": statistics.median(known) / base},
              0.3, base * 1000)


def another(engine, part, name):
    """One more view of a part, as another worktree has it: its directory, and that of its daemon's state."""
    view, upper, work = at = [engine.base / f"{name}.{kind}" for kind in ("view", "upper", "work")]
    for d in at:
        d.mkdir()
        if engine.user is not None:
            os.chown(d, engine.user, engine.user)
    engine.depsfs("mount", part, "--at", view, "--upper", upper, "--workdir", work, cwd=engine.base)
    return view, work


def memory(args, chosen, tools, say):
    """Resident megabytes after a walk of everything; of one more worktree its share (PSS)."""
    first, more, names = {}, {}, 0
    for engine in chosen:
        if not engine.mounts or engine.name == "overlayfs":
            continue
        engine.remount("deps")
        names = int(run(tools["ops"], "walk", cwd=engine.view("deps"), user=engine.user).split()[2])
        first[engine.name] = rss_mb(engine.pids("deps"))
        if isinstance(engine, Depsfs):
            view, work = another(engine, "deps", "more")
            run(tools["ops"], "walk", cwd=view, user=engine.user)
            more[engine.name] = pss_mb(daemon_pids(work / "depsfs"))
            engine.depsfs("unmount", "--at", view, cwd=engine.base)
    yield row("memory", f"daemon's memory after a walk of {names:,} names", "MB", first, 20)
    yield row("memory-more", "of each further worktree", "MB", more, 10)


def page_cache(args, chosen, tools, say):
    """How often a file that is read in several worktrees is in memory: growth of the page cache over its size."""
    often, size, worktrees = {}, 256 if args.quick else 1024, 3 if args.quick else 10
    for engine in chosen:
        if not isinstance(engine, Depsfs) or not IS_ROOT:
            continue
        views = []
        for n in range(worktrees):
            views.append(another(engine, "big", f"cache{n}")[0])
        drop_caches()
        before = cached_mb()
        for view in views:
            run(tools["ops"], "seq", "256M" if args.quick else "1G", cwd=view, user=engine.user)
        often[engine.name] = (cached_mb() - before) / size
        for view in views:
            engine.depsfs("unmount", "--at", view, cwd=engine.base)
    yield row("page-cache", f"page cache for one {size} MiB file read in {worktrees} worktrees", "times", often, 1,
              limits={"depsfs as user": worktrees})


def cached_mb():
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Cached:")) / 1024


def appends(args, chosen, given, work, tools, say):
    """The first append to a lower file of 1 GiB, against cp where nothing can be cloned."""
    programs = {e.name: e.program for e in chosen if isinstance(e, FuseOverlayfs)}
    names = {e.name for e in chosen}
    for kind in ("ext4", "xfs", "btrfs"):
        at = work if kind == "ext4" else work / f"on-{kind}"
        parts = given if kind == "ext4" else at / "given"
        if not (parts / "big").exists():
            continue
        there = [e for e in (Overlayfs("overlayfs", at, parts), Depsfs("depsfs", at, parts, args.depsfs),
                             *(FuseOverlayfs(n, at, parts, p) for n, p in programs.items())) if e.name in names]
        runs, copies = {e.name: [] for e in there}, []
        there = [rebased(e, at / "append") for e in there]
        try:
            for engine in there:
                engine.setup(("big",))
            for _ in range(2 if args.quick else 3):
                os.sync()
                copies.append(wall("cp", "--reflink=auto", parts / "big/1G", at / "copied"))
                (at / "copied").unlink()
                for engine in there:
                    engine.reset("big", ())
                    os.sync()
                    seconds, _, _ = timed_ops(tools["ops"], ["append", "1G"], cwd=engine.view("big"))
                    runs[engine.name].append(seconds)
        finally:
            for engine in there:
                engine.teardown()
        copy, medians = statistics.median(copies), {n: statistics.median(r) for n, r in runs.items() if r}
        if kind == "ext4":
            values = {n: v / copy for n, v in medians.items()}
            yield row("append-ext4", "first append to a lower file of 1 GiB, ext4 / cp", "wall", values, 1.0, copy * 1000)
        else:
            values = {n: v * 1000 for n, v in medians.items()}
            yield row(f"append-{kind}", f"the same on {kind}", "ms", values, 10, copy * 1000)


def rebased(engine, base):
    engine.base = Path(base) / engine.base.name
    return engine


def versions(args, given, work, say):
    """The store's size for five versions of which 1 % differs, against one copy of each content on a plain disk."""
    env, contents = {"DEPSFS_STORE": str(work / "versions-store")}, {}
    tree, choose = work / "version", random.Random(5)
    run("cp", "-a", given / "deps/small", tree)
    for number in range(5):
        files = sorted(p for p in tree.rglob("*") if p.is_file())
        for path in choose.sample(files, len(files) // 100) if number else ():
            path.write_text(path.read_text() + f"version {number}\n")
        run(args.depsfs, "store", "add", tree, "--name", f"version{number}", env=env)
        for path in files:
            contents[path.read_bytes()] = path.stat().st_blocks * 512
    os.sync()
    du = int(run("du", "-s", "-B1", work / "versions-store").split()[0])
    shutil.rmtree(work / "versions-store")
    shutil.rmtree(tree)
    yield row("versions", "store for 5 versions of 20,000 files / one of each content", "size",
              {"depsfs": du / sum(contents.values())}, 1.0)


def beside(kind, repository, shape):
    """A worktree of git's alone and one of depsfs, with the processes that serve that."""
    at = repository.at
    repository.git("worktree", "add", "-q", "--detach", at / f"plain-{kind}")
    repository.depsfs("create", f"view-{kind}", "--detach", "--view", shape)
    state = Path(run("git", "rev-parse", "--absolute-git-dir", cwd=at / f"view-{kind}", user=repository.user,
                     env=repository.env).strip()) / "depsfs"
    return at / f"plain-{kind}", at / f"view-{kind}", lambda: daemon_pids(state)


GIT = {
    "status": ("git status of 10,000 files, warm", "cpu", 1.2, "git status --porcelain"),
    "checkout": ("git checkout of 5,000 changed files and back", "cpu", 2.5,
                 "git checkout -q --detach HEAD~1 && git checkout -q --detach {head}"),
    "stash": ("git stash of 100 files and back", "cpu", 2,
              "for f in src/p0/*/*.ts; do echo x >>$f; done; git stash -q; git stash pop -q; git checkout -q ."),
}


def git(args, work, say):
    """git in a worktree of depsfs against one of its own: 10,000 tracked files, of which 5,000 differ between two commits."""
    def fill(source):
        tracked(source, 10000)
        (source / "node_modules/a").mkdir(parents=True)
        (source / "node_modules/a/index.js").write_text("a\n")

    figures = {}
    for name, user in (("depsfs", None), ("depsfs as user", ORDINARY)):
        if name == "depsfs" and not IS_ROOT:
            continue
        repository = Repository(work / f"git{'' if user is None else '-of-user'}", None, args.depsfs, user, fill)
        files = sorted((repository.source / "src").rglob("*.ts"))[:5000]
        for path in files:
            path.write_text(path.read_text() + "changed\n")
        repository.git("commit", "-qam", "changed")
        head = run("git", "rev-parse", "HEAD", cwd=repository.source, user=repository.user, env=repository.env).strip()
        how = {"user": repository.user, "env": repository.env}
        for shape in ("worktree", "directories"):
            plain, view, pids = beside(shape, repository, shape)
            try:
                first = {at: timed(["git", "status", "--porcelain"], cwd=at, **how)[0] for at in (plain, view)}
                figures.setdefault(("first", shape), {})[name] = (first[view], first[plain])
                for key, (_, _, _, words) in GIT.items():
                    runs = {plain: [], view: []}
                    for n in range(args.rounds + 1):
                        for at in (plain, view):
                            command = ["sh", "-ec", words.format(head=head)]
                            took = timed(command, pids() if at == view else (), cwd=at, **how)[1]
                            if n:
                                runs[at].append(took)
                    figures.setdefault((key, shape), {})[name] = tuple(statistics.median(runs[at]) for at in (view, plain))
                for at in (plain, view):
                    if said := run("git", "status", "--porcelain", cwd=at, **how):
                        raise Failed(["git", "status"], 0, f"{at} is not clean: {said}")
            finally:
                repository.depsfs("unmount", "--lazy", view)
    for shape, words in (("worktree", "one view"), ("directories", "views of directories")):
        titles = {"first": ("git status of 10,000 files, the first", "wall", 6), **{k: v[:3] for k, v in GIT.items()}}
        for key, (title, unit, limit) in titles.items():
            found = figures[key, shape]
            values = {name: view / plain for name, (view, plain) in found.items()}
            plain = next(iter(found.values()))[1] * 1000
            yield row(f"git-{key}-{shape}", f"{title}, in {words}", unit, values, limit, plain)


def many(args, work, say):
    """A worktree with 400 packages, 801 artifact directories: one view."""
    def fill(source):
        for n in range(400):
            package = source / f"packages/p{n}"
            for name, text in (("src/index.ts", f"export const n = {n}"), ("dist/index.js", f"exports.n = {n}"),
                               ("node_modules/.bin/x", "x"), ("../../node_modules/a/index.js", "a")):
                file = package / name
                package.mkdir(parents=True, exist_ok=True)
                Path(os.path.normpath(file)).parent.mkdir(parents=True, exist_ok=True)
                Path(os.path.normpath(file)).write_text(text + "\n")
        (source / ".gitignore").write_text("node_modules/\ndist/\n")

    create, remove, memory, threads, plain = {}, {}, {}, {}, None
    for name, user in (("depsfs", None), ("depsfs as user", ORDINARY)):
        if name == "depsfs" and not IS_ROOT:
            continue
        repository = Repository(work / f"many{'' if user is None else '-of-user'}", None, args.depsfs, user, fill)
        repository.pair()
        pairs = [repository.pair() for _ in range(args.rounds)]
        add, gone, create[name], remove[name] = (statistics.median(column) for column in zip(*pairs))
        plain = plain or (add * 1000, gone * 1000)
        create[name], remove[name] = (create[name] - add) * 1000, (remove[name] - gone) * 1000
        _, view, pids = beside("many", repository, "worktree")
        try:
            run("find", ".", "-ls", cwd=view, user=repository.user)
            memory[name] = rss_mb(pids())
            threads[name] = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids())
        finally:
            repository.depsfs("unmount", "--lazy", view)
    yield row("create-many", "create of 801 artifact directories, beyond git worktree add", "ms", create, 150, plain[0])
    yield row("remove-many", "remove of it, beyond git worktree remove", "ms", remove, 300, plain[1])
    yield row("memory-many", "its daemon's memory after a walk", "MB", memory, 25)
    yield row("threads-many", "its daemon's threads", "threads", threads, 24)


def every(args, chosen, given, work, tools, say):
    """All of it, each by its key; what fails is said and left out."""
    parts = {
        "create": lambda: create_and_remove(args, given, work, say),
        "import": lambda: archives(args, given, work, say),
        "memory": lambda: memory(args, chosen, tools, say),
        "page-cache": lambda: page_cache(args, chosen, tools, say),
        "append": lambda: appends(args, chosen, given, work, tools, say),
        "versions": lambda: versions(args, given, work, say),
        "git": lambda: git(args, work, say),
        "many": lambda: many(args, work, say),
    }
    for key, part in parts.items():
        if args.only and key not in args.only.split(","):
            continue
        say(key)
        try:
            yield from part()
        except (Failed, OSError) as e:
            say(f"{key}: {e}")
