#!/usr/bin/env bash
# What a worktree that is one view costs, with 400 packages (801 artifact directories) and with 10,000 tracked files:
# against git's own commands, and a plain worktree. Contents are compared with the source before anything is measured.
#
# usage: scripts/whole.sh [ROUNDS]
#
# Times of processors are those of the command alone, or of the command and the server, both on one processor; wall times
# depend on what else the machine does.
set -euo pipefail

rounds=${1:-5}
# shellcheck source=scripts/measuring.sh
. "$(dirname "$0")/measuring.sh"
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
git config --file "$work/config" user.name a
export GIT_CONFIG_GLOBAL=$work/config

server_ms() { # server_ms <worktree>: the processor time of its server so far
    local pid
    pid=$(sed -n 's/.*"server_pid": \([0-9]*\).*/\1/p' "$(git -C "$1" rev-parse --git-dir)/depsfs/daemon.json")
    cat /proc/"$pid"/task/*/schedstat | awk '{ sum += $1 } END { print int(sum / 1000000) }'
}
row() { printf '%-44s %8s %8s  %s\n' "$@"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", b ? a / b : 0 }'; }

echo "load: $(cut -d' ' -f1-3 /proc/loadavg), processors: $(nproc)"
row what one-view plain note

# 400 packages.
mkdir "$work/many" && cd "$work/many"
git init -q -b main
printf 'dist/\nnode_modules/\n' >.gitignore
for n in $(seq 400); do
    mkdir -p "packages/p$n/src" "packages/p$n/dist" "packages/p$n/node_modules/.bin"
    echo "export const n = $n" >"packages/p$n/src/index.ts"
    echo "exports.n = $n" >"packages/p$n/dist/index.js"
    echo x >"packages/p$n/node_modules/.bin/x"
done
mkdir -p node_modules/a && echo a >node_modules/a/index.js
git add -A && git commit -qm one
"$depsfs" create wfirst >"$work/out"
grep -q 'one mount' "$work/out" || { cat "$work/out"; exit 1; }
[ "$(grep -cF " $work/wfirst" /proc/self/mountinfo)" = 1 ] || { echo "it is not one mount"; exit 1; }
diff -r --exclude=.git "$work/many" "$work/wfirst" || { echo "the worktree is not as its source"; exit 1; }
[ -z "$(git -C "$work/wfirst" status --porcelain)" ] || { echo "git sees a difference"; exit 1; }
"$depsfs" remove wfirst >/dev/null
create=() creates=() remove=() removes=() diffs=() cpus=()
for _ in $(seq "$rounds"); do
    took "$depsfs" create w && create+=("$ms")
    took "$depsfs" diff "$work/w" && diffs+=("$ms") cpus+=("$cpu")
    took "$depsfs" remove w && remove+=("$ms")
    took git worktree add -q -b g "$work/g" && creates+=("$ms")
    took git worktree remove "$work/g" && removes+=("$ms")
    git branch -qD g a/w 2>/dev/null || true
done
c=$(median "${create[@]}") g=$(median "${creates[@]}")
row "create, 801 artifact directories (ms, wall)" "$c" "$g" "$((c - g)) more; bar: 150"
c=$(median "${remove[@]}") g=$(median "${removes[@]}")
row "remove (ms, wall)" "$c" "$g" "$((c - g)) more; bar: 300"
row "diff (ms, wall; processor)" "$(median "${diffs[@]}")" - "$(median "${cpus[@]}") of a processor; bar: 300"

# 10,000 tracked files, 5,000 of which differ between two commits.
mkdir "$work/files" && cd "$work/files"
git init -q -b main
echo node_modules/ >.gitignore
mkdir -p node_modules/a && echo a >node_modules/a/index.js
for d in $(seq 100); do
    mkdir "d$d"
    for f in $(seq 100); do echo "$d $f" >"d$d/f$f.ts"; done
done
git add -A && git commit -qm one
for d in $(seq 50); do for f in $(seq 100); do echo changed >>"d$d/f$f.ts"; done; done
git commit -qam two
"$depsfs" create wone --view worktree >/dev/null
"$depsfs" create wdir --view directories >/dev/null
measure() { # measure <words> <bar> <command…>: in both worktrees, in turn; the median of processor times with the server's
    local words=$1 bar=$2 one=() plain=() before
    shift 2
    for _ in $(seq "$rounds"); do
        cd "$work/wone" && before=$(server_ms "$work/wone") && took "$@"
        one+=("$((cpu + $(server_ms "$work/wone") - before))")
        cd "$work/wdir" && took "$@"
        plain+=("$cpu")
    done
    c=$(median "${one[@]}") g=$(median "${plain[@]}")
    row "$words (ms, processor)" "$c" "$g" "$(ratio "$c" "$g"); bar: $bar"
}
cd "$work/wone" && took git status --porcelain && c=$ms
cd "$work/wdir" && took git status --porcelain && g=$ms
row "git status, the first (ms, wall)" "$c" "$g" "$(ratio "$c" "$g"); bar: 6"
# From here on one processor, the server too: where two sleep, waking them costs several times what answering does.
"$depsfs" unmount "$work/wone" >/dev/null
taskset -cp "$(taskset -cp $$ | grep -o '[0-9]*$')" $$ >/dev/null
"$depsfs" mount "$work/wone" >/dev/null
git -C "$work/wone" status --porcelain
measure "git status, warm" 1.2 git status --porcelain
measure "git checkout, 5,000 files there and back" 2.5 sh -c 'git checkout -q --detach HEAD~1 && git checkout -q -'
# shellcheck disable=SC2016 # the inner shell's
measure "git stash of 100 files and back" 2 sh -c 'for f in $(seq 100); do echo x >>d60/f$f.ts; done; git stash -q; git stash pop -q; git checkout -q .'
[ -z "$(git -C "$work/wone" status --porcelain)" ] || { echo "git sees a difference"; exit 1; }
diff -r --exclude=.git "$work/wdir" "$work/wone" || { echo "the worktrees differ"; exit 1; }
