# Sourced by the scripts that measure `depsfs create`: the program, a temporary directory that goes again, times.
#
# Afterwards `$work` is that directory, with the store in it, and `$depsfs` the program: `$DEPSFS_PROGRAM`, or one built
# for it. Worktrees are to be `$work/w*`. `also_end` may be a function that ends what else was started.
# shellcheck shell=bash
export LC_ALL=C
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
script=$(basename "$0" .sh)
work= ms=0 cpu=0

clean_up() {
    local code=$? dir
    set +e
    trap '' INT TERM HUP
    trap - EXIT
    [ "$(type -t also_end)" != function ] || also_end
    [ -n "$work" ] || exit "$code"
    cd /
    for dir in "$work"/w*/; do
        [ -e "$dir/.git" ] && timeout 40 "$depsfs" unmount --lazy "$dir" >/dev/null 2>&1
    done
    if grep -qF " $work/" /proc/self/mountinfo; then
        echo "$script: still mounted below $work; nothing there was deleted" >&2
        exit 1
    fi
    rm -rf "$work"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

took() { # took <command…>: the milliseconds are in $ms, those of processors in $cpu
    local from=$EPOCHREALTIME TIMEFORMAT='%U %S'
    { time "$@" >"$work/out" 2>&1 || touch "$work/failed"; } 2>"$work/times"
    ms=$(((${EPOCHREALTIME/./} - ${from/./}) / 1000))
    cpu=$(awk '{ print int(($1 + $2) * 1000) }' "$work/times")
    [ ! -e "$work/failed" ] || { cat "$work/out"; exit 1; }
}

median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

depsfs=${DEPSFS_PROGRAM:-}
if [ -z "$depsfs" ]; then
    cargo build -q --release --manifest-path "$top/Cargo.toml"
    depsfs=$(cargo metadata --format-version 1 --no-deps --manifest-path "$top/Cargo.toml" |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/depsfs
fi
work=$(mktemp -d "${TMPDIR:-/var/tmp}/depsfs-$script.XXXXXX")
work=$(cd "$work" && pwd -P)
export DEPSFS_STORE=$work/store
