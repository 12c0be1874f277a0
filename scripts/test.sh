#!/usr/bin/env bash
# All checks and tests: format, clippy, documentation, spelling, dependencies; the model, mounted views, the command line;
# as root also once more as an ordinary user.
#
# Views are mounted for real: that takes /dev/fuse and fusermount3 (package fuse3). What is missing is named, and
# nothing is installed. A test that lacks something else says what, and is listed as skipped.
#
#   scripts/test.sh                    everything
#   scripts/test.sh --test mount …     only these, as `cargo test` takes them; then without format and clippy
#
#   DEPSFS_TEST_UID=65534              the ordinary user's id, when this is run by root
#   DEPSFS_TEST_SECONDS=1500           the most that one part may take
#   RUST_TEST_THREADS=…                tests at a time; default: two for each processor, for most of them wait a good deal
#   DEPSFS_SEED=…                      replays the random sequences of a run, which printed it
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uid=${DEPSFS_TEST_UID:-65534}
seconds=${DEPSFS_TEST_SECONDS:-1500}
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}
log=$(mktemp -d "${TMPDIR:-/tmp}/depsfs-test.XXXXXX")
trap 'rm -rf "$log"' EXIT

say() { printf '\n== %s\n' "$*"; }

# attempt <command…>: its output goes to a log.
attempt() {
    if [ "$(type -t "$1")" = function ]; then
        ("$@") >"$log/out" 2>&1 </dev/null
    else
        timeout --kill-after=20 "$seconds" "$@" >"$log/out" 2>&1 </dev/null
    fi
}

give_up() { # give_up <what> <exit code>: shows the log.
    grep -v -e ' \.\.\. ok$' -e '^    [a-z_:0-9]*$' "$log/out" || true
    [ "$2" != 124 ] || echo "took longer than $seconds s"
    printf '\ntest.sh: FAILED: %s\n' "$1" >&2
    exit 1
}

# bounded <what> <command…>
bounded() {
    local what=$1 code=0
    shift
    attempt "$@" || code=$?
    [ "$code" = 0 ] || give_up "$what" "$code"
}

# tests <what> <as whom, with a program and its arguments> <command…>: as bounded; a few tests that failed are run once
# more, each alone. One that passes then met another test, or a busy machine: it is named, and to be mended.
tests() {
    local what=$1 whom=$2 code=0 all program name
    shift 2
    : >"$log/flaky"
    attempt "$@" || code=$?
    [ "$code" != 0 ] || return 0
    awk '/^ *Running /               { program = $NF; gsub("[()]", "", program) }
         /^test .* \.\.\. FAILED$/   { print program, $2; named++ }
         /^test result: FAILED/      { failed += $6 }
         END                         { exit !(named && named == failed && named <= 3) }' "$log/out" >"$log/failed" ||
        give_up "$what" "$code"
    all=$log/out
    while read -r program name; do
        [[ $program == /* ]] || program=$PWD/$program
        $whom timeout --kill-after=20 "$seconds" "$program" --exact "$name" --show-output >"$log/again" 2>&1 </dev/null &&
            grep -q '^test result: ok. 1 passed' "$log/again" || {
            cat "$log/again" >>"$all"
            give_up "$what" 1
        }
        echo "flaky: $name failed, and passed when it ran again, alone" >>"$log/flaky"
        awk -v "name=$name" '$0 == "---- " name " stdout ----" { on = 1 }
            /^---- |^failures:|^successes:/ && !index($0, name) { on = 0 }
            on && shown++ < 30 { print "  | " $0 }' "$all" >>"$log/flaky"
    done <"$log/failed"
}

total=0
# count: one line for each test program in the log, and what was skipped. All tests have passed.
count() {
    local passed
    awk '/^ *Running /  { name = $2 == "unittests" ? $3 : $2; sub(".*/deps/", "", name); sub("-[0-9a-f]*$", "", name) }
         /^test result/ { if ($4 > 0) printf "  %-22s %4d passed, 0 failed, %s\n", name, $4 + $6, $NF }' "$log/out"
    cat "$log/flaky"
    passed=$(awk '/^test result/ { n += $4 + $6 } END { print n + 0 }' "$log/out")
    total=$((total + passed))
    grep '^seed: ' "$log/out" | sort | uniq || true
    if grep '^skipped: ' "$log/out" >"$log/skipped"; then
        sort "$log/skipped" | uniq -c
    fi
}

# --- what is needed ---------------------------------------------------------------------------------------------

for tool in cargo git fusermount3 setpriv timeout; do
    command -v $tool >/dev/null || {
        echo "test.sh: $tool is missing (Debian, Ubuntu: fuse3, git, util-linux, coreutils; cargo: https://rustup.rs)" >&2
        exit 1
    }
done
if [ ! -c /dev/fuse ]; then
    echo "test.sh: there is no /dev/fuse (modprobe fuse; in a container: --device /dev/fuse)" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ] && [ "$(stat -c %a /dev/fuse)" != 666 ]; then
    echo "chmod 666 /dev/fuse (was $(stat -c %a /dev/fuse)): ordinary users mount, too, as distributions have it"
    chmod 666 /dev/fuse
fi

# --- who runs them -----------------------------------------------------------------------------------------------

as_user() { # as_user <command…>: with nothing of root's but the place of the Rust toolchain
    setpriv --reuid "$uid" --regid "$uid" --clear-groups \
        env -i "PATH=$PATH" "RUSTUP_HOME=${RUSTUP_HOME:-${HOME:-/root}/.rustup}" "CARGO_HOME=$home/cargo" \
        "HOME=$home" "TMPDIR=$home/tmp" "XDG_DATA_HOME=$home/data" "XDG_STATE_HOME=$home/state" \
        "XDG_CONFIG_HOME=$home/config" "RUST_TEST_THREADS=$RUST_TEST_THREADS" "$@"
}

if [ "$(id -u)" = 0 ]; then
    home=$log/home
    mkdir -p "$home"/{tmp,data,state,config,cargo}
    chown -R "$uid:$uid" "$home"
    chmod 711 "$log"
    if [ -z "${CARGO_TARGET_DIR:-}" ] && ! as_user test -x "$PWD"; then
        export CARGO_TARGET_DIR=/var/tmp/depsfs-test-target
        echo "uid $uid may not enter $PWD: everything is built in $CARGO_TARGET_DIR"
    fi
fi

tool() { command -v "$1" || echo "$PWD/target/test-tools/python/bin/$1"; }

has_tool() { # has_tool <command>: it is in PATH, or .ci/run has installed it
    [ -x "$(tool "$1")" ] || { echo "  skipped: $1, because it is not installed (.ci/run installs it)"; return 1; }
}

advisories=${CARGO_HOME:-${HOME:-/root}/.cargo}/advisory-dbs

# --- the checks that need no mount ------------------------------------------------------------------------------

if [ $# = 0 ]; then
    say "cargo fmt --check"
    bounded "cargo fmt" cargo fmt --all --check
    say "cargo clippy -D warnings"
    bounded "cargo clippy" cargo clippy --all-targets --locked -- -D warnings
    say "without remotes: no asynchronous runtime, no warning"
    without_runtime() {
        local tree
        tree=$(cargo tree --locked --no-default-features --edges normal --prefix none) || return
        ! grep -E '^(tokio|object_store) ' <<<"$tree"
    }
    bounded "cargo tree --no-default-features" without_runtime
    bounded "cargo clippy --no-default-features" cargo clippy --locked --no-default-features --all-targets -- -D warnings
    say "cargo doc, without a warning"
    bounded "cargo doc" env RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --document-private-items
    say "spelling, licences, duplicate dependencies"
    if has_tool typos; then
        bounded "typos (typos.toml has the words that it does not know)" "$(tool typos)"
    fi
    if has_tool cargo-deny; then
        bounded "cargo deny (deny.toml says why)" "$(tool cargo-deny)" --locked check licenses bans sources
        if [ -d "$advisories" ]; then
            bounded "cargo deny check advisories" "$(tool cargo-deny)" --locked check advisories --disable-fetch
        else
            echo "  skipped: advisories, because there is no database of them in $advisories"
        fi
    fi
fi

# --- as this user -----------------------------------------------------------------------------------------------

say "building the tests"
wanted=("$@")
[ $# -gt 0 ] || wanted=(--tests) # no comment holds a test
bounded "cargo test --no-run" cargo test --locked --no-run "${wanted[@]}"
programs=$(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$log/out" | sed "s,^[^/],$PWD/&,")

say "cargo test, as $(id -un)"
tests "cargo test" "" cargo test --locked --no-fail-fast "${wanted[@]}" -- --show-output
count

if [ $# = 0 ]; then
    say "kills once more, as on kernels that send no request again (before 6.9)"
    tests "kills, without requests that are sent again" "env DEPSFS_WITHOUT=resend" env DEPSFS_WITHOUT=resend cargo test --locked --test crash
    count
fi

# --- as an ordinary user ----------------------------------------------------------------------------------------

if [ "$(id -u)" = 0 ]; then
    say "once more as uid $uid: files, mounts, the command line"
    skip=()
    if ! as_user cargo --version >/dev/null 2>&1; then
        echo "  without the test that runs cargo: uid $uid may not run $(command -v cargo)"
        skip+=(--skip cargo_build)
    fi
    if [ ! -d "$(getent passwd "$uid" | cut -d: -f6)" ]; then
        echo "  without the test of the mount helper, which asks the user database for a home: uid $uid has none"
        skip+=(--skip the_helper_mounts_with_nothing)
    fi
    # Random sequences and faults of the disk fare alike whoever runs them, but for what modes keep an ordinary user from.
    fewer=(DEPSFS_MODEL_CASES=64 DEPSFS_TWIN_CASES=10 DEPSFS_UNCOVER_CASES=100 DEPSFS_FAULT_ONLY=chmod)
    in_reach() { # in_reach <command…>: as the user, in a directory that the user may enter
        (as_user test -x "$PWD" || cd "$home"; as_user "$@")
    }
    all_as_user() {
        local program failed=0
        for program in $programs; do
            case ${program##*/} in
                layers-* | language-* | formats-*) continue ;; # sources and bytes are the same for everybody
            esac
            echo "     Running ${program}"
            in_reach "${fewer[@]}" timeout --kill-after=20 "$seconds" "$program" --show-output "${skip[@]}" || failed=1
        done
        return $failed
    }
    tests "the tests as uid $uid" in_reach all_as_user
    count
fi

say "$total tests passed"
echo "$total passed, 0 failed"
