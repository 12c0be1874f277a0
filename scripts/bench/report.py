"""What was measured, as a table in words, as JSON, and as a chart."""

import json

DEPSFS = ("depsfs", "depsfs as user")
SHORT = {"hard links": "hardlink", "xfs reflink": "xfs", "btrfs reflink": "btrfs", "fuse-overlayfs": "f-o",
         "fuse-overlayfs 2.0": "f-o 2.0", "depsfs as user": "d. user"}


ONE = "@1"  # ends the key of what was measured on one processor


def rows(operations, figures):
    """One row for each figure that has a limit: its words, its unit, a value for each engine, and the limit; and one for the
    same on one processor, where that was measured."""
    for op in operations:
        for which, limit in op.limits.items():
            for key, what in ((op.key, op.title), (op.key + ONE, "  on one processor")):
                engines = figures.runs.get(key, {})
                if which == "ms":
                    values = {e: figures.median(key, e, "wall") * 1000 for e in engines}
                else:
                    values = {e: figures.ratio(key, e, which) for e in engines}
                if values:
                    spread = {e: figures.spread(key, e, which) for e in engines if e in DEPSFS}
                    yield {"key": key, "what": what, "of": which, "values": values, "limit": limit,
                           "plain_ms": milliseconds(figures, key, which), "spread": spread}


def milliseconds(figures, key, which):
    median = figures.median(key, "plain", "cpu" if which == "cpu" else "wall")
    return None if median is None else median * 1000


def words(all_rows, engines):
    """The table. Ratios to the plain directory of the same run; `!` marks what is above its limit."""
    engines = [e for e in engines if e != "plain"]
    spreads = [e for e in engines if e in DEPSFS]
    head = ["what", "of", "plain ms", *[SHORT.get(e, e) for e in engines], "limit",
            *[f"{SHORT.get(e, e)}, lowest to highest" for e in spreads]]
    lines = [head]
    for row in all_rows:
        cells = [figure(row["values"].get(e), row, e) for e in engines]
        plain = "" if row["plain_ms"] is None else f"{row['plain_ms']:.0f}" if row["plain_ms"] >= 10 else f"{row['plain_ms']:.2f}"
        between = [row.get("spread", {}).get(e) for e in spreads]
        lines.append([row["what"], row["of"], plain, *cells, f"{row['limit']:g}",
                      *[f"{low:.2f} to {high:.2f}" if low is not None else "-" for low, high in
                        (pair or (None, None) for pair in between)]])
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(w) if n < 2 else cell.rjust(w) for n, (cell, w) in enumerate(zip(line, widths))).rstrip()
        for line in lines) + "\n"


def figure(value, row, engine):
    if value is None:
        return "-"
    text = f"{value:.2f}" if value < 100 else f"{value:.0f}"
    limit = row.get("limits", {}).get(engine, row["limit"])
    return text + ("!" if engine in DEPSFS and round(value, 2) > limit else "")


def as_json(path, about, all_rows, figures):
    runs = {key: {e: [[round(w, 6), round(c, 6)] for w, c in list_] for e, list_ in engines.items()}
            for key, engines in figures.runs.items()}
    failed = [{"what": k, "engine": e, "why": why} for (k, e), why in figures.failed.items()]
    path.write_text(json.dumps({**about, "rows": list(all_rows), "failed": failed,
                                "runs_wall_cpu_s": runs}, indent=1) + "\n")


def regressions(before, all_rows):
    """Rows of depsfs that are a tenth above what an earlier run measured, and above all that it saw; in words."""
    known = {(row["key"], row["of"]): row for row in before["rows"]}
    for row in all_rows:
        was = known.get((row["key"], row["of"]))
        for engine in DEPSFS:
            old, new = (r["values"].get(engine) if r else None for r in (was, row))
            if old is None or new is None:
                continue
            highest = ((was.get("spread") or {}).get(engine) or (old, old))[1]
            if new > max(old * 1.1, highest) and new - old > 0.02:
                yield f"{engine}: {row['what']}: {new:.2f} {row['of']}, {old:.2f} before"


PUBLISHED = ["create", "create-all", "remove", "walk", "walk-first", "walk-first@1", "walk-cold", "open", "open-cold", "rg",
             "node", "cargo", "exec", "seq", "make", "make@1", "delete", "rm-rf", "rename", "append-ext4", "memory"]
# Of these the README has the first engines only: what a reader with two minutes compares.
IN_BRIEF = ["create", "walk", "open", "open-cold", "node", "make"]
SHOWN = ["overlayfs", "fuse-overlayfs", "fuse-overlayfs 2.0", "depsfs", "depsfs as user"]
BEGIN, END = "<!-- what scripts/bench.sh --publish measured -->\n", "<!-- until here -->\n"


def publish(readme, topic, all_rows, about):
    """Puts a few rows into the README, and the chart with the whole table into the topic, each between two marks."""
    missing = "".join(f" Without {name}: {why}." for name, why in about["missing"].items())
    how = (f"CPU of client and daemon, or wall time where it says so, against a plain directory (×) in the same run; medians "
           f"of {about['rounds']} rounds, Linux {about['kernel']}, {about['cpus']} cores.")
    between(readme, table(IN_BRIEF, all_rows) + f"\n{how}\n")
    between(topic, f"The chart is `scripts/bench/bench.svg`, all rows are in `scripts/bench/bench.txt`.\n\n{how}{missing}\n\n"
            + table(PUBLISHED, all_rows))


def table(keys, all_rows):
    engines = [e for e in SHOWN if any(e in r["values"] for r in all_rows)]
    lines = [f"| | {' | '.join(engines)} |", "|---|" + "---|" * len(engines)]
    for row in (r for key in keys for r in all_rows if r["key"] == key):
        unit = {"cpu": "×", "wall": "× (wall)", "size": "×"}.get(row["of"], row["of"])
        cells = [f"{row['values'][e]:.3g} {unit}" if row["values"].get(e) is not None else "" for e in engines]
        lines.append(f"| {row['what'].replace('  on', 'the same, on')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def between(path, text):
    """Replaces what stands between the two marks of a file."""
    before, rest = path.read_text().split(BEGIN)
    path.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1])
