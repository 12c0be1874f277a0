#!/usr/bin/env bash
# One store per team, as its users live it: machine A builds and pushes; machine B, with another home, another path and a
# fresh clone, creates a worktree, runs what A has built, compiles nothing, goes offline, and goes on. A's checkout is gone
# by then. First with a remote in a directory, then with one in a bucket (moto, as .ci/run installs it). Each result is
# checked; the first wrong one ends it with an error.
#
#   scripts/team.sh [directory|bucket…]     [default: both]
#
# DEPSFS: the program to run [default: target/release/depsfs, else target/debug/depsfs].
set -euo pipefail
export LC_ALL=C
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE CARGO_TARGET_DIR AWS_PROFILE AWS_ENDPOINT_URL
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
depsfs=${DEPSFS:-$here/target/release/depsfs}
[ -x "$depsfs" ] || depsfs=$here/target/debug/depsfs
[ -x "$depsfs" ] || { echo "team.sh: build depsfs first: cargo build --release" >&2; exit 1; }
tools=$here/target/test-tools
top=
server=
export AWS_ACCESS_KEY_ID=team AWS_SECRET_ACCESS_KEY=not-a-secret
export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0=Ada GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=ada@example.org

say() { printf '\n== %s\n' "$*"; }
fail() { printf '\nteam.sh: WRONG: %s\n' "$*" >&2; exit 1; }
expect() { # expect <text> <file>: the file holds the text
    grep -qF -- "$1" "$2" || { cat "$2"; fail "no \"$1\""; }
}
never() { # never <text> <file>
    if grep -qF -- "$1" "$2"; then cat "$2"; fail "there is \"$1\""; fi
}

cleanup() {
    code=$?
    set +e
    for worktree in "$top"/b/home/src/*/; do
        [ -f "$worktree/.git" ] && b "$worktree" "$depsfs" unmount --lazy >/dev/null 2>&1
    done
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$top" ] || rm -rf --one-file-system "$top"
    exit $code
}
trap cleanup EXIT

# machine <letter> <directory> <command…>: with that machine's home, store and state.
machine() {
    local of=$top/$1 at=$2
    shift 2
    (cd "$at" && env HOME="$of/home" DEPSFS_STORE="$of/store" XDG_STATE_HOME="$of/state" XDG_CONFIG_HOME="$of/config" \
        CARGO_HOME="${CARGO_HOME:-${real_home}/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-${real_home}/.rustup}" "$@")
}
a() { machine a "$@"; }
b() { machine b "$@"; }
real_home=$HOME

has_cargo=$(command -v cargo || true)
has_node=$(command -v node || true)
[ -n "$has_cargo" ] || echo "skipped: cargo, because it is not installed"
[ -n "$has_node" ] || echo "skipped: node, because it is not installed"

repository() { # repository <url> [line…]: what A has checked out
    mkdir -p "$top/a/home/work" "$top/b/home/src"
    repo=$top/a/home/work/shop
    mkdir -p "$repo/src" "$repo/web" "$repo/tool/src"
    printf 'node_modules/\nbuild/\ntarget/\n' >"$repo/.gitignore"
    echo 'int main(void) { return 42; }' >"$repo/src/main.c"
    printf 'build/shop: src/main.c\n\tmkdir -p build\n\techo COMPILES; cc -o build/shop src/main.c\n' >"$repo/Makefile"
    echo '{"lockfileVersion": 3}' >"$repo/web/package-lock.json"
    printf '[package]\nname = "tool"\nversion = "0.1.0"\nedition = "2021"\n' >"$repo/tool/Cargo.toml"
    echo 'fn main() { println!("tool") }' >"$repo/tool/src/main.rs"
    {
        cat <<'TOML'
[[component]]
name = "web"
dir = "web"
paths = ["node_modules"]
key = { files = ["package-lock.json"] }
build = "echo COMPILES; mkdir -p node_modules/left/lib; echo 'module.exports = () => 42' > node_modules/left/lib/index.js; echo '{\"main\": \"lib/index.js\"}' > node_modules/left/package.json; seq 100000 > node_modules/left/numbers"

[[remote]]
name = "team"
TOML
        printf '%s\n' "$@"
    } >"$repo/depsfs.toml"
    (cd "$repo" && git init -q -b main && { [ -z "$has_cargo" ] || (cd tool && cargo generate-lockfile --offline -q); } && git add -A && git commit -qm one)
}

story() { # story <lines of [[remote]]…>
    say "A builds, and pushes what it has built"
    repository "$@"
    a "$repo" "$depsfs" approve >/dev/null
    a "$repo" "$depsfs" remote init | sed -n 1p
    a "$repo" make -s >/dev/null
    a "$repo/web" sh -c "$(sed -n 's/^build = "\(.*\)"$/\1/p' "$repo/depsfs.toml" | sed 's/\\"/"/g')" >/dev/null
    [ -z "$has_cargo" ] || a "$repo/tool" cargo build -q --offline
    # cargo notes paths for debuggers: that is said aloud.
    a "$repo" "$depsfs" push --all --allow 'tool/target/' | tee "$top/push"
    expect 'pushed web as web-' "$top/push"

    say "B clones, and creates a worktree; A is gone"
    b "$top/b/home/src" git clone -q "$repo" shop
    mv "$repo" "$top/gone"
    b "$top/b/home/src/shop" "$depsfs" approve >/dev/null
    local begun
    begun=$(date +%s%N)
    b "$top/b/home/src/shop" "$depsfs" create fix-login 2>&1 | tee "$top/create"
    echo "  ($((($(date +%s%N) - begun) / 1000000)) ms)"
    never COMPILES "$top/create"
    expect 'artifact web-' "$top/create"
    runs fix-login

    say "the remote is away: B goes on"
    away
    b "$top/b/home/src/shop" "$depsfs" create second --offline 2>&1 | tee "$top/create"
    never COMPILES "$top/create"
    runs second
    b "$top/b/home/src/shop" "$depsfs" store verify >/dev/null || fail 'the store of B is damaged'
}

runs() { # runs <worktree>: everything runs, and nothing is compiled
    local at=$top/b/home/src/$1 code=0
    b "$at" make >"$top/make"
    expect 'is up to date' "$top/make"
    b "$at" build/shop || code=$?
    [ $code = 42 ] || fail "build/shop returned $code"
    [ "$(tail -n 1 "$at/web/node_modules/left/numbers")" = 100000 ] || fail 'node_modules is not whole'
    if [ -n "$has_node" ]; then
        [ "$(cd "$at/web" && node -p 'require("left")()')" = 42 ] || fail 'node does not find its module'
    fi
    if [ -n "$has_cargo" ]; then
        b "$at/tool" cargo build --offline >"$top/cargo" 2>&1 || { cat "$top/cargo"; fail 'cargo failed'; }
        never Compiling "$top/cargo"
        [ "$(b "$at/tool" target/debug/tool)" = tool ] || fail 'the program of cargo'
    fi
    [ -z "$(cd "$at" && git status --porcelain)" ] || fail 'git status is not empty'
    echo "  make, the program${has_node:+, node}${has_cargo:+, cargo}: nothing to do in $1"
}

directory() {
    say "A REMOTE IN A DIRECTORY"
    top=$(cd "$(mktemp -d)" && pwd -P)
    away() { mv "$top/remote" "$top/away"; }
    story "url = \"file://$top/remote\""
    finish
}

bucket() {
    say "A REMOTE IN A BUCKET"
    [ -d "$tools/moto/moto" ] || { echo "skipped: a bucket, because moto is not installed (.ci/run installs it)"; return 0; }
    top=$(cd "$(mktemp -d)" && pwd -P)
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    PYTHONPATH=$tools/moto python3 -m moto.server -H 127.0.0.1 -p "$port" >"$top/moto.log" 2>&1 &
    server=$!
    local answers=
    for _ in $(seq 300); do
        python3 -c "import urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:$port/team', method='PUT'))" 2>/dev/null && { answers=yes; break; }
        sleep 0.2
    done
    [ -n "$answers" ] || { tail "$top/moto.log"; fail 'moto does not start'; }
    away() { kill "$server"; wait "$server" 2>/dev/null || true; server=; }
    story 'url = "s3://team/cache"' 'region = "us-east-1"' "endpoint = \"http://127.0.0.1:$port\""
    finish
}

finish() {
    for worktree in fix-login second; do
        b "$top/b/home/src/$worktree" "$depsfs" unmount >/dev/null
    done
    rm -rf "$top"
    top=
}

for kind in ${*:-directory bucket}; do
    case $kind in
        directory | bucket) "$kind" ;;
        *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
done
say "all as it should be"
