#!/usr/bin/env bash
# Makes packaging/terminal.svg, the picture in the README: a terminal in which depsfs runs for real.
#
# In a temporary directory it makes a repository with 8,000 files in node_modules, runs the commands below in a terminal,
# and draws their output, each command at the time at which it is typed. The name of the temporary directory is replaced
# by /home/ada. Needs python3 and script(1). Nothing is left mounted.
#
#   scripts/picture.sh [FILE]
#
#   DEPSFS=target/release/depsfs       the program
set -euo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "${BASH_SOURCE[0]}")/.."
file=$(realpath -m "${1:-packaging/terminal.svg}")
depsfs=$(realpath "${DEPSFS:-target/release/depsfs}")
[ -x "$depsfs" ] || { echo "picture.sh: there is no program $depsfs (DEPSFS names one)" >&2; exit 1; }
home=$(mktemp -d)
clean_up() {
    if [ -d "$home/src/fix-login" ]; then (cd "$home/src/shop" && "$depsfs" remove --lazy --discard-changes fix-login) >/dev/null 2>&1 || true; fi
    rm -rf --one-file-system "$home"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

mkdir -p "$home/bin" "$home/src/shop"
ln -s "$depsfs" "$home/bin/depsfs"
export HOME="$home" PATH="$home/bin:$PATH" XDG_STATE_HOME="$home/.local/state" TERM=xterm-256color COLUMNS=96
unset DEPSFS_STORE XDG_DATA_HOME XDG_CONFIG_HOME NO_COLOR
git config --global user.name "Ada Lovelace"
git config --global user.email ada@example.org
git config --global init.defaultBranch main
cd "$home/src/shop"
git init -q
printf 'node_modules/\nbuild/\n.env\n' >.gitignore
echo '{"name": "shop"}' >package.json
git add -A
git commit -qm shop
for package in $(seq 1 400); do
    mkdir -p "node_modules/package-$package/lib"
    for part in $(seq 1 20); do echo "module.exports = $package * $part" >"node_modules/package-$package/lib/$part.js"; done
done
mkdir build
head -c 40000000 /dev/urandom >build/shop
echo PORT=8080 >.env

# run <command>: what is typed, then what a terminal shows, between marks for the drawing.
run() {
    printf '\001%s\n' "$1"
    script -qec "stty cols 96; $1" /dev/null </dev/null
}
{
    run 'depsfs create fix-login'
    cd ../fix-login
    printf '\001cd ../fix-login\n'
    run 'depsfs status'
    run 'node -p "require(\"./node_modules/package-7/lib/6\")" 2>/dev/null || tail -n 1 node_modules/package-7/lib/6.js'
    run 'echo "// mine" >> node_modules/package-7/lib/6.js; depsfs diff'
    run 'tail -n 1 ../shop/node_modules/package-7/lib/6.js; git status --short'
    cd ../shop
    printf '\001cd ../shop\n'
    run 'depsfs remove fix-login'
} >"$home/log"
python3 - "$home/log" "$home" "$file" <<'PY'
import html, re, sys

log, home, file = sys.argv[1:]
text = open(log, encoding="utf-8").read().replace("\r\n", "\n").replace(home, "/home/ada")
text = text.replace(' 2>/dev/null || tail -n 1 node_modules/package-7/lib/6.js', '')
COLORS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "34": "#79c0ff", "35": "#d2a8ff", "36": "#76e3ea", "90": "#8b949e"}
WIDTH, LINE, LEFT, TOP, FONT = 860, 19, 18, 58, 13


def spans(line):
    """A line as tspans: SGR sequences are colors, all other escape sequences are dropped."""
    out, style = [], {}
    for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z])", line):
        code = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if code:
            for number in code.group(1).split(";"):
                if number in ("", "0"): style = {}
                elif number == "1": style["font-weight"] = "bold"
                elif number == "2": style["fill"] = "#8b949e"
                elif number in COLORS: style["fill"] = COLORS[number]
                elif number in ("39", "22"): style.pop("fill" if number == "39" else "font-weight", None)
        elif part and not part.startswith("\x1b"):
            attributes = "".join(f' {name}="{value}"' for name, value in style.items())
            out.append(f"<tspan{attributes}>{html.escape(part)}</tspan>")
    return "".join(out)


rows, at = [], 0.5
for block in text.split("\x01")[1:]:
    command, _, output = block.partition("\n")
    rows.append((at, f'<tspan fill="#7ee787">$ </tspan><tspan fill="#ffffff">{html.escape(command)}</tspan>'))
    at += 0.5
    # A progress bar is overwritten by what comes after it; only colors are kept of the escape sequences.
    output = re.sub(r"(?m)^[^\n]*[\u2588\u2591][^\n]*\n", "", output)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-ln-z]", "", output)
    plain = re.sub(r"(\x1b\[[0-9;]*m)*[\u2800-\u28ff][^\n]*? {3,}\r?", "\r", plain)
    lines = [line.split("\r")[-1] for line in plain.split("\n") if line.split("\r")[-1].strip() or "\r" not in line]
    while lines and not lines[-1].strip():
        lines.pop()
    rows += [(at, spans(line)) for line in lines]
    at += 1.2 if output.strip() else 0.3

height = TOP + LINE * len(rows) + 14
out = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
    "<title>depsfs in a terminal: a worktree is created, looked at, written to and removed</title>",
    "<style>text{font:%dpx ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#c9d1d9;white-space:pre}" % FONT,
    ".r{opacity:0;animation:a .01s forwards}@keyframes a{to{opacity:1}}",
    "@media (prefers-reduced-motion:reduce){.r{animation:none;opacity:1}}</style>",
    f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#0d1117"/>',
]
out += [f'<circle cx="{20 + 18 * n}" cy="20" r="6" fill="{color}"/>' for n, color in enumerate(["#ff5f56", "#ffbd2e", "#27c93f"])]
for n, (when, row) in enumerate(rows):
    y = TOP + LINE * n
    out.append(f'<text class="r" style="animation-delay:{when:.1f}s" x="{LEFT}" y="{y}" xml:space="preserve">{row}</text>')
out.append("</svg>")
open(file, "w", encoding="utf-8").write("\n".join(out) + "\n")
print(f"{file}: {len(rows)} lines, {at:.0f} s")
PY
