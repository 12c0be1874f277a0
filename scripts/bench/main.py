"""The program behind scripts/bench.sh, which says how it is called."""

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import chart
import fixtures
import measure
import operations
import report
import scaling
import team
import whole
from engines import ORDINARY, PARTS, Copy, Depsfs, FuseOverlayfs, Image, Overlayfs, missing_tool
from run import IS_ROOT, Failed, run

START = time.monotonic()
TOP = Path(__file__).resolve().parents[2]


def say(words):
    print(f"[{time.monotonic() - START:5.0f} s] {words}", file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench.sh")
    parser.add_argument("--quick", action="store_true", help="three rounds of what takes little time")
    parser.add_argument("--rounds", type=int, help="how many [default: 5; quick: 3]")
    parser.add_argument("--scaling", action="store_true", help="how the cost grows, instead")
    parser.add_argument("--team", action="store_true", help="one store per team, over a line with latency, instead")
    parser.add_argument("--one-cpu", action="store_true", help="what asks daemons most once more, on one processor")
    parser.add_argument("--only", help="keys of operations, with commas between")
    parser.add_argument("--engines", help="names of engines, with commas between; plain is always there")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin nothing more after so many")
    parser.add_argument("--fixtures", type=Path, default=Path(f"/var/tmp/depsfs-bench-{os.getuid()}"),
                        help="where they are kept [default: %(default)s]")
    parser.add_argument("--npm", type=Path, help="a directory with node_modules made before, instead of npm install")
    parser.add_argument("--out", type=Path, help="where bench.txt, bench.json and bench.svg go")
    parser.add_argument("--against", help="an earlier bench.json, or the commit of a run that was kept")
    parser.add_argument("--publish", action="store_true", help="into scripts/bench, the README and the topic performance")
    parser.add_argument("--depsfs", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--ops", type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def fuse_overlayfs(major):
    """The program of that version, and why there is none."""
    for program in filter(None, (os.environ.get("FUSE_OVERLAYFS"), shutil.which("fuse-overlayfs"))):
        found = re.search(r"fuse-overlayfs: version (\d+)", run(program, "--version"))
        if found and int(found[1]) == major:
            return program, missing_tool(program)
    return None, f"fuse-overlayfs {major}.x is not installed"


def choose(work, given, program, wanted):
    """Every engine that is there, why the others are not, and the images they need."""
    images = {kind: Image(kind, work, 8) for kind in ("xfs", "btrfs")}
    one, two = fuse_overlayfs(1), fuse_overlayfs(2)
    every = [(Copy("plain", work, given), None), (Copy("hard links", work, given, "-l"), None)]
    for kind, image in images.items():
        engine = Copy(f"{kind} reflink", image.at, image.at / "given", "--reflink=always")
        every.append((engine, missing_tool(f"mkfs.{kind}")))
    every += [
        (Overlayfs("overlayfs", work, given), missing_tool()),
        (FuseOverlayfs("fuse-overlayfs", work, given, one[0]), one[1]),
        (FuseOverlayfs("fuse-overlayfs 2.0", work, given, two[0]), two[1]),
        (Depsfs("depsfs", work, given, program), missing_tool()),
        (Depsfs("depsfs as user", work, given, program, ORDINARY), missing_tool("fusermount3") if IS_ROOT else None),
    ]
    if wanted:
        every = [(e, why) for e, why in every if e.name in wanted or e.name == "plain"]
    there = [e for e, why in every if not why]
    missing = {e.name: why for e, why in every if why}
    return there, missing, [i for kind, i in images.items() if any(e.name.startswith(kind) for e in there)]


def set_up(chosen, images, given):
    for image in images:
        say(f"a file system: {image.kind}")
        image.setup()
        (image.at / "given").mkdir()
        for part in PARTS:
            run("cp", "-a", given / part, image.at / "given" / part)
    for engine in chosen:
        say(f"engine: {engine.name}")
        engine.setup()


def counts(given):
    subtree, files = (given / "lists/subtree").read_text().split("\n")[:2]
    every = (given / "lists/every").read_text().count("\n")
    packages = json.loads((given / "ci/package-lock.json").read_text())["packages"]
    return {"every": every, "lone": every, "subtree": subtree, "subtree_files": int(files), "locked": len(packages) - 1}


def about(args, missing):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    return {"date": time.strftime("%Y-%m-%d"), "kernel": os.uname().release, "cpus": os.cpu_count(), "cpu": cpu,
            "load": os.getloadavg()[0], "rounds": args.rounds, "depsfs": run(args.depsfs, "--version").strip(),
            "commit": commit(), "missing": missing}


def commit():
    """Of the sources beside this program; with a + if they were changed since."""
    try:
        return run("git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*", cwd=TOP).strip()
    except (Failed, OSError):
        return "unknown"


def kept(name):
    """Where the figures of a commit are kept."""
    return TOP / "target/bench" / f"{name}.json"


def measure_all(args, given, work):
    chosen, missing, images = choose(work, given, args.depsfs, split(args.engines))
    for name, why in missing.items():
        say(f"without {name}: {why}")
    figures, wrong = measure.Figures(), []
    tools = {"ops": args.ops, "lists": given / "lists", "home": work / "home", "crate": given / "crate",
             "ci": given / "ci", "small_tar": given / "small.tar"}
    (work / "home").mkdir(mode=0o777)
    (work / "home").chmod(0o777)
    facts, rows = about(args, missing), []
    table = [op for op in operations.table(counts(given)) if op.key in split(args.only) or not args.only]
    table = [op for op in table if op.quick or not args.quick]
    try:
        set_up(chosen, images, given)
        say("the same bytes everywhere?")
        wrong = measure.same_bytes(chosen, PARTS, given, tools, say)
        for row in whole.every(args, chosen, given, work, tools, say):
            rows.append(row)
            say("  " + words_of(row))
        for op in table:
            if time.monotonic() - START > args.minutes * 60:
                say(f"time is up: without {op.key} and what follows")
                break
            say(op.key)
            measure.rounds(op, chosen, tools, args.rounds, figures, say)
            if args.one_cpu and "cpu" in op.limits and op.state != "warm":
                on_one_processor(op, args, chosen, tools, figures)
            for row in report.rows([op], figures):
                say("  " + words_of(row))
    except (KeyboardInterrupt, SystemExit) as e:
        say(f"interrupted ({e!r}): what was measured until now")
        table = [op for op in table if op.key in figures.runs]
    finally:
        for engine in chosen:
            engine.teardown()
        for image in images:
            image.teardown()
    return facts, [*rows, *report.rows(table, figures)], chosen, figures, wrong


def on_one_processor(op, args, chosen, tools, figures):
    """The same once more, clients and daemons on the first processor: daemons run where they are started."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    try:
        for engine in chosen:
            engine.remount(op.part)
        measure.rounds(op, chosen, tools, args.rounds, figures, say, report.ONE)
    finally:
        os.sched_setaffinity(0, every)
    for engine in chosen:
        engine.remount(op.part)


def words_of(row):
    return f"{row['of']}: " + ", ".join(f"{e} {v:.2f}" for e, v in row["values"].items())


def grown(args, work):
    rows = []
    try:
        for row in scaling.all_of_it(args, work, say):
            rows.append(row)
    finally:
        text = "".join(scaling.words(row) + "\n" for row in rows)
        print(text, end="")
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / "scaling.txt").write_text(text)
            (args.out / "scaling.json").write_text(json.dumps({**about(args, {}), "rows": rows}, indent=1) + "\n")


def far_away(args, work):
    table = team.all_of_it(args, work, say)
    text = team.words(table)
    print(text, end="")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "team.txt").write_text(text)
        (args.out / "team.json").write_text(json.dumps({**about(args, {}), "rows": table}, indent=1) + "\n")


def earlier(name):
    """The figures of an earlier run."""
    for file in (Path(name), kept(name)):
        if file.is_file():
            return json.loads(file.read_text())
    sys.exit(f"bench: there are no figures of {name}: neither a file, nor {kept(name)}")


def split(text):
    return text.split(",") if text else []


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = arguments()
    before = earlier(args.against) if args.against else None
    args.out = args.out or (TOP / "scripts/bench" if args.publish else None)
    args.rounds = args.rounds or (3 if args.quick else 5)
    args.fixtures.mkdir(mode=0o755, parents=True, exist_ok=True)
    if args.fixtures.stat().st_uid != os.getuid():
        sys.exit(f"bench: {args.fixtures} belongs to somebody else: give --fixtures")
    given = args.fixtures if args.scaling or args.team else fixtures.prepare(args.fixtures, args.npm, say)
    work = Path(tempfile.mkdtemp(prefix="work.", dir=given))
    work.chmod(0o755)
    try:
        if args.scaling:
            return grown(args, work)
        if args.team:
            return far_away(args, work)
        facts, rows, chosen, figures, wrong = measure_all(args, given, work)
    finally:
        if any(str(work) in line for line in open("/proc/self/mountinfo")):
            say(f"still mounted below {work}: nothing there was deleted")
        else:
            shutil.rmtree(work, ignore_errors=True)
    text = report.words(rows, [e.name for e in chosen])
    print(text, end="")
    if not args.only:
        kept(facts["commit"]).parent.mkdir(parents=True, exist_ok=True)
        report.as_json(kept(facts["commit"]), facts, rows, figures)
        say(f"kept as {kept(facts['commit'])}")
    worse = list(report.regressions(before, rows)) if before else []
    for words in worse:
        print(f"SLOWER: {words}")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "bench.txt").write_text(text)
        report.as_json(args.out / "bench.json", facts, rows, figures)
        chart.chart(args.out / "bench.svg", rows, facts)
    if args.publish:
        report.publish(TOP / "README.md", TOP / "src/cli/topics/performance.md", rows, facts)
    say("done")
    if wrong:
        sys.exit("bench: WRONG: " + "; ".join(wrong))
    if worse:
        sys.exit(3)


if __name__ == "__main__":
    try:
        main()
    except Failed as e:
        sys.exit(f"bench: {e}")
