"""How the cost grows: with worktrees, with files, with grafts, and with everything mounted at once."""

import statistics
import time

from engines import ORDINARY, daemon_pids
from run import IS_ROOT, pss_mb, run
from whole import wall

ROUNDS = 5
COUNTS = {"worktrees": (1, 10, 100), "files": (1_000, 57_000, 1_000_000), "grafts": (1, 20, 200)}
SMALL = {"worktrees": (1, 10), "files": (1_000, 57_000), "grafts": (1, 20)}


class Place:
    """A repository with one tracked file, its store and its home, of one user."""

    def __init__(self, at, args, user=None):
        self.at, self.program, self.ops, self.user = at, args.depsfs, args.ops, user if IS_ROOT else None
        self.source = at / "source"
        self.source.mkdir(parents=True)
        (self.source / ".gitignore").write_text("*/node_modules/\nnode_modules/\n")
        if self.user is not None:
            run("chown", "-R", f"{user}:{user}", at)
        self.env = {"HOME": str(at), "DEPSFS_STORE": str(at / "store"), "XDG_STATE_HOME": str(at / "state")}
        for words in (("init", "-q", "-b", "main"), ("config", "user.name", "Bench"),
                      ("config", "user.email", "bench@example.invalid"), ("add", "."), ("commit", "-qm", "all")):
            run("git", *words, cwd=self.source, user=self.user, env=self.env)

    def depsfs(self, *words, cwd=None):
        return wall(self.program, *words, cwd=cwd or self.source, user=self.user, env=self.env)

    def do(self, *words, cwd=None):
        return run(*words, cwd=cwd or self.source, user=self.user, env=self.env)

    def fill(self, directory, files):
        """`files` files of 20 bytes and 50,000 contents, a thousand in a directory, made by the user."""
        self.do("python3", "-c", "import os,sys\n"
                "for n in range(int(sys.argv[2])):\n"
                "    d = f'{sys.argv[1]}/d{n // 1000}'\n"
                "    if n % 1000 == 0: os.makedirs(d)\n"
                "    with open(f'{d}/f{n}', 'w') as f: f.write(f'the {n % 50000}th\\n'.ljust(20))\n", directory, str(files))

    def unmount_all(self):
        for view in sorted(self.at.glob("*/.git")):
            if view.parent != self.source:
                try:
                    self.depsfs("unmount", "--lazy", view.parent)
                except Exception as e:  # the others are to be unmounted, too
                    print(e)

    def memory(self):
        """MB of all daemons, what they share counted once; how many there are."""
        states = list((self.source / ".git/worktrees").glob("*/depsfs"))
        return sum(pss_mb(daemon_pids(s)) for s in states), len(states)


def create_ms(place, name, source=None):
    """The median of several creates from a checkout, each removed again."""
    runs = []
    for number in range(ROUNDS):
        runs.append(place.depsfs("create", f"{name}-{number}", cwd=source))
        place.depsfs("remove", f"{name}-{number}", "--delete-branch")
    return statistics.median(runs) * 1000


def with_worktrees(work, args, counts, say):
    """create and status of one more worktree while N are there, mounted; gc of all."""
    place = Place(work / "worktrees", args)
    place.fill("node_modules", 1000)
    try:
        there = 0
        for count in counts:
            while there < count:
                there += 1
                place.depsfs("create", f"w{there}")
            memory, _ = place.memory()
            yield {"of": "worktrees", "n": count, "create_ms": create_ms(place, "one"),
                   "list_ms": place.depsfs("list") * 1000, "gc_ms": place.depsfs("gc") * 1000, "memory_mb": memory}
    finally:
        place.unmount_all()


def with_files(work, args, counts, say):
    """create from a source of N files that the store knows, from a worktree that shows them, and from one where a file was
    written; lone lookups; gc."""
    for count in counts:
        say(f"files: {count:,}")
        place = Place(work / f"files{count}", args)
        place.fill("node_modules", count)
        try:
            first = place.depsfs("create", "w0")
            create = create_ms(place, "one")
            view = place.at / "w0/node_modules"
            some = place.at / "some"
            some.write_text("".join(f"d{n // 1000}/f{n}\n" for n in range(0, count, max(count // 1000, 1))))
            look = place.do(args.ops, "lstat", some, cwd=view).split()
            memory, _ = place.memory()
            unchanged = create_ms(place, "two", view)
            place.do("sh", "-c", "echo more > d0/more", cwd=view)
            changed = create_ms(place, "three", view)
            yield {"of": "files", "n": count, "first_create_ms": first * 1000, "create_ms": create,
                   "create_from_view_ms": unchanged, "create_from_changed_view_ms": changed,
                   "lookup_us": int(look[0]) / int(look[2]) / 1000, "gc_ms": place.depsfs("gc") * 1000,
                   "memory_mb": memory}
        finally:
            place.unmount_all()
            run("rm", "-rf", place.at)


def with_grafts(work, args, counts, say):
    """N entries merged in one view: mount, lookups."""
    place = Place(work / "grafts", args)
    most = max(counts)
    for n in range(most):
        directory = place.at / f"graft{n}"
        place.fill(directory, 50)
        place.do("mv", directory / "d0", directory / f"part{n}")
        place.depsfs("store", "add", directory, "--name", f"e{n}")
    for count in counts:
        view, entries = place.at / "view", [f"e{n}" for n in range(count)]
        mount = place.depsfs("mount", *entries, "--at", view)
        try:
            some = place.at / "some"
            some.write_text("".join(f"part{n % count}/f{n % 50}\n" for n in range(0, 50 * count, 7)))
            look = place.do(args.ops, "lstat", some, cwd=view).split()
            yield {"of": "grafts", "n": count, "mount_ms": mount * 1000,
                   "lookup_us": int(look[0]) / int(look[2]) / 1000}
        finally:
            place.depsfs("unmount", "--at", view)


def at_once(work, args, user, worktrees, views, say):
    """Many worktrees of many views, all mounted: whether each is there, what they need, and mount_max."""
    name = "root" if user is None else "an ordinary user"
    place = Place(work / f"at-once-{user}", args, user)
    for n in range(views):
        place.fill(f"part{n}/node_modules", 100)
    made, why, start = 0, "", time.monotonic()
    try:
        for n in range(worktrees):
            place.depsfs("create", f"w{n}")
            made += 1
            if made % 10 == 0:
                say(f"  {made} worktrees of {views} views, {time.monotonic() - start:.0f} s")
    except Exception as e:
        why = str(e)
    try:
        with open("/proc/self/mountinfo") as f:
            there = sum(f" {place.at}/" in line for line in f)
        for n in range(made):
            place.do("ls", place.at / f"w{n}/part0/node_modules/d0/f99", place.at / f"w{n}/part{views - 1}/node_modules/d0")
        memory, daemons = place.memory()
        yield {"of": f"at once, {name}", "n": made, "views_each": views, "mounts": there, "refused": why,
               "memory_mb": memory, "mb_per_worktree": memory / max(daemons, 1),
               "create_ms": (time.monotonic() - start) / max(made, 1) * 1000}
    finally:
        place.unmount_all()


def all_of_it(args, work, say):
    counts = SMALL if args.quick else COUNTS
    many = (20, 20) if args.quick else (100, 20)
    parts = [
        ("worktrees", lambda: with_worktrees(work, args, counts["worktrees"], say)),
        ("files", lambda: with_files(work, args, counts["files"], say)),
        ("grafts", lambda: with_grafts(work, args, counts["grafts"], say)),
        ("at-once", lambda: at_once(work, args, None, *many, say) if IS_ROOT else ()),
        ("at-once-user", lambda: at_once(work, args, ORDINARY, *many, say)),
    ]
    for key, part in parts:
        if args.only and key not in args.only.split(","):
            continue
        say(key)
        for row in part():
            say("  " + words(row))
            yield row


def words(row):
    rest = (f"{k}={v:.1f}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items() if k not in ("of", "n") and v != "")
    return f"{row['of']} {row['n']:,}: " + ", ".join(rest)
