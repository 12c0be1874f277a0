"""The chart: one line for each figure, a dot for each engine, left of the limit is good. SVG without anything else."""

import math
from html import escape

COLOURS = {"hard links": "#b8b8b8", "xfs reflink": "#9c8ade", "btrfs reflink": "#d48cc4", "overlayfs": "#e0862a",
           "fuse-overlayfs": "#c04a3a", "fuse-overlayfs 2.0": "#8a2f2f", "depsfs": "#1f7a4d",
           "depsfs as user": "#4fb286"}
LINE, LEFT, WIDE, TOP = 22, 380, 520, 74
LEAST, MOST = 0.05, 64


def x(ratio):
    ratio = min(max(ratio, LEAST), MOST)
    return LEFT + WIDE * math.log(ratio / LEAST) / math.log(MOST / LEAST)


def chart(path, rows, about):
    rows = [r for r in rows if r["of"] in ("cpu", "wall", "size")]
    engines = [e for e in COLOURS if any(e in r["values"] for r in rows)]
    high = TOP + LINE * len(rows) + 34
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDE + 30} {high}" '
           'font-family="system-ui, sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="#ffffff"/>',
           f'<text x="14" y="22" font-size="15" font-weight="600" fill="#222">Cost against a plain directory '
           f'(less is better)</text>']
    for n, engine in enumerate(engines):
        at = 14 + n * (LEFT + WIDE) / max(len(engines), 1)
        out.append(f'<circle cx="{at + 5:.0f}" cy="42" r="5" fill="{COLOURS[engine]}"/>'
                   f'<text x="{at + 14:.0f}" y="46" fill="#444">{escape(engine)}</text>')
    for tick in (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32):
        dark = "#555" if tick == 1 else "#e4e4e4"
        out.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP - 10}" y2="{high - 30}" stroke="{dark}"/>'
                   f'<text x="{x(tick):.1f}" y="{high - 14}" text-anchor="middle" fill="#666">{tick:g} ×</text>')
    for n, row in enumerate(rows):
        y = TOP + LINE * n
        out.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end" fill="#222">{escape(row["what"])} '
                   f'<tspan fill="#888">{row["of"]}</tspan></text>')
        out.append(f'<line x1="{x(row["limit"]):.1f}" x2="{x(row["limit"]):.1f}" y1="{y - 8}" y2="{y + 8}" '
                   'stroke="#1f7a4d" stroke-width="2"/>')
        for engine in engines:
            value = row["values"].get(engine)
            if value is not None:
                out.append(f'<circle cx="{x(value):.1f}" cy="{y}" r="5" fill="{COLOURS[engine]}" fill-opacity="0.85">'
                           f'<title>{escape(engine)}: {value:.2f}</title></circle>')
    words = f'{about["kernel"]}, {about["cpus"]} cores, {about["date"]}; a green bar is where depsfs is meant to be'
    out.append(f'<text x="14" y="60" fill="#888">{escape(words)}</text></svg>')
    path.write_text("\n".join(out) + "\n")
