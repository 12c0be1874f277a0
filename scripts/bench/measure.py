"""The rounds: every operation on every engine in turn, A B C A B C …, so that what the machine does besides meets all."""

import statistics

from run import IS_ROOT, Failed, drop_caches, run


class Figures:
    """What was measured: key → engine → list of (wall, cpu) in seconds; and why something was not."""

    def __init__(self):
        self.runs, self.failed = {}, {}

    def add(self, key, engine, wall, cpu):
        self.runs.setdefault(key, {}).setdefault(engine, []).append((wall, cpu))

    def median(self, key, engine, which):
        """In seconds; `which` is "wall" or "cpu". None when there is no run."""
        runs = self.runs.get(key, {}).get(engine)
        return statistics.median(r[which == "cpu"] for r in runs) if runs else None

    def spread(self, key, engine, which):
        """The lowest and the highest of all rounds: milliseconds, or ratios to the plain directory's median."""
        runs = self.runs.get(key, {}).get(engine)
        if not runs:
            return None
        seconds = [r[which == "cpu"] for r in runs]
        plain = 1e-3 if which == "ms" else self.median(key, "plain", which)
        return [min(seconds) / plain, max(seconds) / plain] if plain else None

    def ratio(self, key, engine, which, against="plain"):
        one, other = self.median(key, engine, which), self.median(key, against, which)
        return one / other if one is not None and other else None


def rounds(operation, engines, tools, count, figures, say, state=""):
    """`count` rounds of one operation. An engine that fails is named, and left out of what follows of it. `state` is the
    machine's, and part of the key."""
    key = operation.key + state
    if operation.state == "cold" and not IS_ROOT:
        figures.failed[key, "all"] = "dropping caches takes root"
        return
    there = [e for e in engines if e.name in operation.engines or e.name.split(" on ")[0] in operation.engines]
    for number in range(count):
        for engine in list(there):
            try:
                mine = {**tools, "n": f"{number}{state}"}
                prepare(operation, engine, mine, is_first=number == 0)
                figures.add(key, engine.name, *operation.run(engine, mine))
            except (Failed, OSError) as e:
                say(f"{engine.name}: {key}: {e}")
                figures.failed[key, engine.name] = str(e)
                there.remove(engine)
    if operation.reset:
        for engine in there:
            engine.reset(operation.part, operation.reset)


def prepare(operation, engine, tools, is_first):
    match operation.state:
        case "warm":
            if is_first:
                operation.run(engine, tools)
        case "first":
            if engine.mounts:
                engine.remount(operation.part)
            elif is_first:
                operation.run(engine, tools)
        case "cold":
            drop_caches()
        case "spoilt":
            engine.reset(operation.part, operation.reset)
            # Deleting begins with names that are known already, everywhere.
            if (engine.given / operation.part / operation.reset[0]).is_dir():
                run(tools["ops"], "walk", cwd=engine.view(operation.part) / operation.reset[0], user=engine.user)


def same_bytes(engines, parts, given, tools, say):
    """Whether every engine shows what it was given: names, types, modes, times, links and bytes."""
    wrong = []
    for part in parts:
        wanted = run(tools["ops"], "digest", cwd=given / part)
        for engine in engines:
            if part in engine.parts and run(tools["ops"], "digest", cwd=engine.view(part), user=engine.user) != wanted:
                wrong.append(f"{engine.name}: {part} is not what it was given")
                say("WRONG: " + wrong[-1])
    return wrong
