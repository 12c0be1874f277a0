#!/usr/bin/env bash
# The figures that depsfs promises, measured on a tree of 57,048 files: an error when one does not hold.
#
#   | what                                                     | at most                                       |
#   |----------------------------------------------------------|-----------------------------------------------|
#   | `depsfs create` of one more worktree                     | 150 ms more than `git worktree add` alone      |
#   | 20 worktrees at once, each walked: names, types, modes,  | every one the same as the source, and 25 MB    |
#   | sizes, times to the ns, link targets; some also by bytes | resident for each daemon (both processes)      |
#   | disk of a worktree beside git's own checkout             | 1 MB                                           |
#
#   scripts/acceptance.sh [DIR]     DIR: holds a node_modules already made as below; without it npm makes one (847 MB)
#
#   ACCEPTANCE_WORKTREES=20         how many
set -euo pipefail
made=${1:+$(cd "$1" >/dev/null && pwd)}
many=${ACCEPTANCE_WORKTREES:-20}
packages='@aztec/aztec-node@4.1.2 @aztec/pxe@4.1.2 @aztec/cli@4.1.2'
wrong=0
# shellcheck source=scripts/measuring.sh
. "$(dirname "${BASH_SOURCE[0]}")/measuring.sh"

holds() { # holds <what> <figure> <most> <unit>
    local said=ok
    if [ "$2" -gt "$3" ]; then
        said=WRONG
        wrong=1
    fi
    printf '%-62s %8s %-3s (at most %s) %s\n' "$1" "$2" "$4" "$3" "$said"
}

# Every path below a directory with all that stat says of it but what a copy can't have.
listing() {
    (cd "$1" && find . \( -type d -printf '%P %y %m %T@\n' \) -o -printf '%P %y %m %s %n %T@ %l\n' | sort)
}

rss_of() { # rss_of <pid…>: kB
    local pid sum=0 kb
    for pid; do
        kb=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status")
        sum=$((sum + kb))
    done
    echo "$sum"
}

mkdir "$work/source" && cd "$work/source"
if [ -n "$made" ]; then
    cp -a "$made/node_modules" .
else
    echo '{ "private": true }' >package.json
    # shellcheck disable=SC2086
    npm install --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error $packages
fi
git init -q -b main
git config user.name Acceptance
git config user.email acceptance@example.invalid
echo 'node_modules/' >.gitignore
for n in $(seq 200); do echo "text of file $n" >"file$n"; done
git add . && git commit -qm all
listing node_modules >"$work/listing"
echo "$(find node_modules -type f | wc -l) files, $(find node_modules -type d | wc -l) directories," \
    "$(du -sm node_modules | cut -f1) MB; load $(cut -d' ' -f1 /proc/loadavg)"

took "$depsfs" create w1
echo "the first create (fills the store): $ms ms"

alone=() with=()
for n in 1 2 3 4 5 6 7; do
    took git worktree add -q -b "alone$n" "$work/alone"
    alone+=("$ms")
    git worktree remove "$work/alone"
    took "$depsfs" create "w$((n + 1))"
    with+=("$ms")
done
plain=$(median "${alone[@]}")
create=$(median "${with[@]}")
echo "git worktree add alone: ${alone[*]} ms; depsfs create: ${with[*]} ms"
holds "create, beyond git worktree add (medians $create and $plain)" $((create - plain)) 150 ms

for n in $(seq 9 "$many"); do
    took "$depsfs" create "w$n"
done
walks=() most=0
for n in $(seq 1 "$many"); do
    took listing "$work/w$n/node_modules"
    walks+=("$ms")
    cmp "$work/out" "$work/listing" || { diff "$work/out" "$work/listing" | head || true; echo "WRONG: w$n is not the source"; wrong=1; }
done
echo "the same names, types, modes, sizes, links and times in all $many worktrees; a first walk takes $(median "${walks[@]}") ms"
for n in $(seq 1 "$many"); do
    json=$work/source/.git/worktrees/w$n/depsfs/daemon.json
    # shellcheck disable=SC2046
    rss=$(rss_of $(grep -o '"\(server_\)\?pid": *[0-9]*' "$json" | grep -o '[0-9]*$'))
    [ "$rss" -le "$most" ] || most=$rss
done
holds "resident, the largest of $many daemons after a full walk" $((most / 1000)) 25 MB
for n in 1 "$many"; do
    took diff -rq --no-dereference node_modules "$work/w$n/node_modules"
    echo "the same bytes in w$n ($ms ms)"
done
for n in $(seq 1 "$many"); do
    [ -z "$(git -C "$work/w$n" status --porcelain)" ] || { echo "WRONG: git status in w$n"; wrong=1; }
done

most=0
for n in $(seq 1 "$many"); do
    "$depsfs" unmount "$work/w$n" >/dev/null
    kb=$(du -sck "$work/w$n/node_modules" "$work/source/.git/worktrees/w$n/depsfs" | tail -1 | cut -f1)
    [ "$kb" -le "$most" ] || most=$kb
done
holds "disk, the most of a worktree beside git's own checkout" "$most" 1000 kB
took "$depsfs" store verify
echo "the store is sound ($ms ms)"
[ "$wrong" = 0 ] && echo "everything holds"
exit "$wrong"
