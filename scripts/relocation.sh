#!/usr/bin/env bash
# What files that hold the source's path cost: `depsfs create` of an artifact with 500 of them, beside one where they are
# left as they are, and the start of `depsfs exec` in both. Each result is checked.
#
# usage: scripts/relocation.sh [ROUNDS] [FILES]      default: 9 rounds, 500 files
#
# Medians of interleaved runs, in milliseconds. The goals: 50 more for a create, 30 for an exec.
set -euo pipefail

case "${1:-}" in -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 0 ;; esac
rounds=${1:-9} files=${2:-500}
# shellcheck source=scripts/measuring.sh
. "$(dirname "$0")/measuring.sh"

mkdir -p "$work/home"
export HOME=$work/home XDG_STATE_HOME=$work/home/state GIT_CONFIG_NOSYSTEM=1
git config --global user.name Ada
git config --global user.email ada@example.org
git init -q -b main "$work/repo"
cd "$work/repo"
echo build/ >.gitignore
git add -A
git commit -qm one
python3 - "$files" <<'PY'
import os, sys
root = os.getcwd()
for n in range(int(sys.argv[1])):
    os.makedirs(f"build/d{n % 20}", exist_ok=True)
    with open(f"build/d{n % 20}/f{n}.txt", "w") as f:
        f.write(f"root={root}/build\n" + "x" * 600 + f"\n-I{root}/src\n")
PY

check() { # check <worktree> <path>: each file holds it, and keeps its time
    python3 - "$1" "$2" "$work/repo" <<'PY'
import os, sys
at, path, repo = sys.argv[1:]
for dir, _, names in os.walk(f"{at}/build"):
    for name in names:
        here, there = f"{dir}/{name}", f"{repo}{dir[len(at):]}/{name}"
        if open(here).read() != open(there).read().replace(repo, path):
            sys.exit(f"{here} is wrong")
        if os.stat(here).st_mtime_ns != os.stat(there).st_mtime_ns or os.stat(here).st_size != len(open(here).read()):
            sys.exit(f"{here} has another time or size")
PY
}

create() { # create <policy> <name>
    git config depsfs.absolutePaths "$1"
    took "$depsfs" create "$2" --path "$work/w-$2"
}

create leave first
declare -A all=()
for ((n = 1; n <= rounds; n++)); do
    for policy in leave relocate; do
        create "$policy" "$policy-$n"
        all[$policy]+="$ms "
        cd "$work/w-$policy-$n"
        [ "$policy" = leave ] || check "$PWD" "$PWD"
        took "$depsfs" exec -- true
        all[$policy-exec]+="$ms "
        [ "$policy" = leave ] || check "$PWD" "$PWD"
        [ "$policy" = leave ] || [ "$("$depsfs" exec -- cat build/d0/f0.txt)" = "$(cat "$work/repo/build/d0/f0.txt")" ]
        cd "$work/repo"
        "$depsfs" unmount --lazy "$work/w-$policy-$n" >/dev/null
    done
done
of() { # shellcheck disable=SC2086
    median ${all[$1]}
}
echo "create, $files files left as they are:  $(of leave) ms"
echo "create, $files files relocated:         $(of relocate) ms"
echo "exec, nothing relocated:             $(of leave-exec) ms"
echo "exec, $files files relocated:           $(of relocate-exec) ms"
