#!/usr/bin/env bash
# What comparing small files with their hashes costs: two programs (of a commit before and after a change of it, say) read
# 20,000 files of a view that was just mounted, in turn. What was read is compared with the source.
#
# usage: scripts/cold-reads.sh [--drop] PROGRAM OTHER [ROUNDS]
#
# With --drop, as root, the page cache is empty before each reading; else it has the store's files, which shows the cost
# of the processor alone.
set -euo pipefail

drop=
if [ "${1:-}" = --drop ]; then drop=1 && shift; fi
if [ $# -lt 2 ]; then sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 2; fi
export DEPSFS_PROGRAM=$1
programs=("$1" "$2") rounds=${3:-7}
# shellcheck source=scripts/measuring.sh
. "$(dirname "$0")/measuring.sh"

files=${FILES:-20000}
mkdir "$work/repo" && cd "$work/repo"
git init -q -b main
printf 'node_modules/\n' >.gitignore
git add .gitignore
git -c user.name=a -c user.email=a@example.org commit -qm one
mkdir node_modules
# The sizes of a big node_modules: most are below 4 KiB, a few are long.
awk -v n="$files" 'BEGIN { srand(1); for (i = 0; i < n; i++) {
    size = int(200 * exp(rand() * 4.2)); dir = "node_modules/d" int(i / 100)
    if (i % 100 == 0) system("mkdir " dir)
    line = sprintf("%d %d\n", i, size); text = ""; while (length(text) < size) text = text line
    printf "%s", text > (dir "/f" i ".js"); close(dir "/f" i ".js") } }'
(cd node_modules && find . -type f -print0 | sort -z) >"$work/list"
sum() { (cd "$1/node_modules" && xargs -0 cat <"$work/list" | cksum); }
read_all() { (cd "$1/node_modules" && xargs -0 cat <"$work/list" >/dev/null); }
want=$(sum "$work/repo")
server_us() { # server_us <worktree>: the processor time of its server so far, of all threads that there are
    local pid
    pid=$(sed -n 's/.*"server_pid": \([0-9]*\).*/\1/p' "$(git -C "$1" rev-parse --git-dir)/depsfs/daemon.json")
    cat /proc/"$pid"/task/*/schedstat | awk '{ sum += $1 } END { print int(sum / 1000) }'
}

for n in 0 1; do
    # Each has a store of its own.
    DEPSFS_STORE=$work/store$n "${programs[n]}" create "w$n" >/dev/null
done
declare -a all0 all1 cpu0 cpu1
for ((round = 0; round < rounds; round++)); do
    for n in $((round % 2)) $(((round + 1) % 2)); do
        export DEPSFS_STORE=$work/store$n
        "${programs[n]}" unmount "$work/w$n" >/dev/null
        [ -z "$drop" ] || { sync && echo 3 >/proc/sys/vm/drop_caches; }
        "${programs[n]}" mount "$work/w$n" >/dev/null
        find "$work/w$n/node_modules" >/dev/null
        before=$(server_us "$work/w$n")
        took read_all "$work/w$n"
        used=$((($(server_us "$work/w$n") - before) / 1000))
        if [ "$n" = 0 ]; then all0+=("$ms") cpu0+=("$used"); else all1+=("$ms") cpu1+=("$used"); fi
        [ "$(sum "$work/w$n")" = "$want" ] || { echo "$script: w$n has other bytes than its source" >&2; exit 1; }
    done
done
one=$(median "${all0[@]}") other=$(median "${all1[@]}")
printf '%s\n' "milliseconds of $rounds rounds, $files files, each read first after a mount${drop:+ and an empty page cache}" \
    "  ${programs[0]}: ${all0[*]}; median $one" \
    "  ${programs[1]}: ${all1[*]}; median $other" \
    "  ratio: $(awk -v a="$one" -v b="$other" 'BEGIN { printf "%.3f", a / b }')"
one=$(median "${cpu0[@]}") other=$(median "${cpu1[@]}")
printf '%s\n' "milliseconds of processor that the servers used meanwhile" \
    "  ${programs[0]}: ${cpu0[*]}; median $one" \
    "  ${programs[1]}: ${cpu1[*]}; median $other" \
    "  ratio: $(awk -v a="$one" -v b="$other" 'BEGIN { printf "%.3f", a / b }')"
