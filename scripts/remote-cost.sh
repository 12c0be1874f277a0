#!/usr/bin/env bash
# What a remote costs: the requests and bytes of a push and of a create, counted by depsfs itself, for artifacts like those
# of a large npm tree. The remote is a directory: a bucket gets the same requests. The topic remote has these figures.
#
#   scripts/remote-cost.sh [FILES]     [default: 57000]
#
# DEPSFS: the program to run [default: target/release/depsfs, else target/debug/depsfs].
set -euo pipefail
export LC_ALL=C
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
files=${1:-57000}
depsfs=${DEPSFS:-$here/target/release/depsfs}
[ -x "$depsfs" ] || depsfs=$here/target/debug/depsfs
[ -x "$depsfs" ] || { echo "remote-cost.sh: build depsfs first: cargo build --release" >&2; exit 1; }
for tool in git python3; do
    command -v "$tool" >/dev/null || { echo "remote-cost.sh: $tool is missing" >&2; exit 1; }
done
top=$(mktemp -d "${TMPDIR:-/var/tmp}/depsfs-cost.XXXXXX")
trap 'rm -rf --one-file-system "$top"' EXIT
export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0=Ada GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=ada@example.org

machine() { # machine <name> <directory> <command…>: with that machine's home, store and state
    local of=$top/$1 at=$2
    shift 2
    (cd "$at" && env HOME="$of/home" DEPSFS_STORE="$of/store" XDG_STATE_HOME="$of/state" XDG_CONFIG_HOME="$of/config" "$@")
}

# artifact <directory> <version>: the files that scripts/bench/artifact.py makes.
artifact() { python3 "$here/scripts/bench/artifact.py" "$1" "$2" "$files"; }

repo=$top/a/repo
mkdir -p "$repo" "$top/a/home" "$top/b/home"
echo 'node_modules/' >"$repo/.gitignore"
echo 1 >"$repo/package-lock.json"
cat >"$repo/depsfs.toml" <<TOML
[[component]]
name = "web"
paths = ["node_modules"]
key = { files = ["package-lock.json"] }

[[remote]]
name = "team"
url = "file://$top/remote"
TOML
(cd "$repo" && git init -q -b main && git add -A && git commit -qm one)
machine a "$repo" "$depsfs" approve >/dev/null
machine a "$repo" "$depsfs" remote init >/dev/null

report() { # report <words> <file of stdout>: its requests and bytes
    printf '%-42s %s\n' "$1" "$(sed -n 's/^ *\(sent\|remote\): *//p' "$2" | grep request || echo none)"
}
push() {
    machine a "$repo" "$depsfs" push >"$top/out"
    report "$1" "$top/out"
}
create() { # create <words> <machine> <name>
    [ -d "$top/$2/clone" ] || git clone -q "$repo" "$top/$2/clone"
    (cd "$top/$2/clone" && git pull -q)
    machine "$2" "$top/$2/clone" "$depsfs" approve >/dev/null
    machine "$2" "$top/$2/clone" "$depsfs" create "$3" --copy >"$top/out"
    report "$1" "$top/out"
    rm -rf --one-file-system "${top:?}/$2/$3"
}

artifact "$repo/node_modules" 1
echo "$(find "$repo/node_modules" -type f | wc -l) files, $(du -sm --apparent-size "$repo/node_modules" | cut -f1) MB"
# lazily <words>: a create on a machine whose configuration has contents come later, and the rest.
lazily() {
    mkdir -p "$top/c/home" "$top/c/config/depsfs"
    printf '[remote.team]\nlazy = true\ncomplete = "on-use"\n' >"$top/c/config/depsfs/config.toml"
    git clone -q "$repo" "$top/c/clone"
    machine c "$top/c/clone" "$depsfs" approve >/dev/null
    machine c "$top/c/clone" "$depsfs" create lazy >"$top/out" || { echo "$1: no view can be mounted"; return; }
    report "$1" "$top/out"
    machine c "$top/c/lazy" env DEPSFS_FETCHER_IDLE=1 "$depsfs" fetch >/dev/null
    for _ in $(seq 100); do
        grep -q 'ended after' "$top/c/store/fetcher/log" && break
        sleep 0.1
    done
    printf '%-42s %s\n' 'the contents that come later' "$(sed -n 's/.*ended after //p' "$top/c/store/fetcher/log" | tail -n 1)"
    machine c "$top/c/clone" "$depsfs" remove lazy >/dev/null
}

push 'first push'
push 'push of what is there'
create 'create on a new machine' b one
create 'second create' b two
lazily 'create, contents later'
rm -r "$repo/node_modules"
artifact "$repo/node_modules" 2
(cd "$repo" && echo 2 >package-lock.json && git commit -qam two)
push 'push, 2 % of the files changed'
create 'create, 2 % of the files changed' b three
echo "$(find "$top/remote" -type f | wc -l) objects, $(du -sm --apparent-size "$top/remote" | cut -f1) MB in the remote"
