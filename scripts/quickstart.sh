#!/usr/bin/env bash
# From nothing to a worktree with all its artifacts, on real input, with every result checked.
#
# Makes a small repository (npm packages with a 38 MB program in them, a Noir circuit, TypeScript, a cargo crate),
# builds it, has `depsfs create` make a worktree of it, and works in there, beside a worktree whose artifacts were
# copied with `cp -a`. Prints what each step took in both. Ends with an error when any result is wrong.
#
# Everything is made in one temporary directory (also the store) and removed again, after Ctrl-C too.
# As root it installs what is missing with apt; as an ordinary user it says what to install.
#
#   scripts/quickstart.sh [--keep]      --keep: leave the directory, mounted, to look around
set -euo pipefail
export LC_ALL=C
unset CARGO_TARGET_DIR CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
keep=
case "${1:-}" in
    '') ;;
    --keep) keep=yes ;;
    *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

version=5.0.0-nightly.20260710 # what the bb of @aztec/bb.js@5.0.0 says
work=
depsfs=$top/target/release/depsfs

say() { printf '\n== %s\n' "$*"; }
fail() {
    printf '\nquickstart: WRONG: %s\n' "$*" >&2
    exit 1
}

# --- what is needed ---------------------------------------------------------------------------------------------

need() { # need <command> <apt package>
    command -v "$1" >/dev/null || missing+=("$2")
}

install_missing() {
    missing=()
    need fusermount3 fuse3
    need git git
    need node nodejs
    need npm npm
    need cc build-essential
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            say "installing ${missing[*]}"
            apt-get update -q
            DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
        else
            echo "quickstart: please install: ${missing[*]} (on Debian and Ubuntu: sudo apt-get install ${missing[*]})" >&2
            exit 1
        fi
    fi
    if ! command -v cargo >/dev/null; then
        echo "quickstart: please install Rust 1.95 or later: https://rustup.rs" >&2
        exit 1
    fi
    if [ ! -r /dev/fuse ] || [ ! -w /dev/fuse ]; then
        echo "quickstart: /dev/fuse is not there or not open to this user (usual: mode 666; in a container: --device /dev/fuse)" >&2
        exit 1
    fi
    case $(uname -m) in
        x86_64) arch=amd64-linux ;;
        aarch64) arch=arm64-linux ;;
        *) echo "quickstart: @aztec/bb.js has no program for $(uname -m)" >&2; exit 1 ;;
    esac
}

# --- cleaning up ------------------------------------------------------------------------------------------------

clean_up() {
    local code=$? left
    set +e
    trap '' INT TERM HUP
    trap - EXIT
    [ -n "$work" ] || exit "$code"
    if [ -n "$keep" ] && [ "$code" = 0 ]; then
        printf '\nkept: %s\n  DEPSFS_STORE=%s  %s list --all\n' "$work" "$DEPSFS_STORE" "$depsfs"
        exit 0
    fi
    cd /
    for left in "$work"/*/; do
        [ -e "$left/.git" ] && [ -x "$depsfs" ] && timeout 40 "$depsfs" unmount --lazy "$left" >/dev/null 2>&1
    done
    if grep -qF " $work/" /proc/self/mountinfo; then
        echo "quickstart: still mounted below $work; nothing there was deleted" >&2
        exit 1
    fi
    chmod -R u+w "$work" 2>/dev/null
    rm -rf "$work"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- measuring --------------------------------------------------------------------------------------------------

# took <words…>: runs them; the milliseconds are in $ms, what it printed on stdout in $out.
took() {
    local from=$EPOCHREALTIME
    if ! out=$("$@" 2>"$work/stderr"); then
        cat "$work/stderr" >&2
        fail "failed: $*"
    fi
    ms=$(((${EPOCHREALTIME/./} - ${from/./}) / 1000))
}

row() { printf '%-46s %9s %9s   %s\n' "$@"; }

# step <what> <expected> <script>: in the view and in the copy; both have to print what is expected.
step() {
    local what=$1 want=$2 script=$3 in_view
    cd "$work/feature"
    took bash -euo pipefail -c "$script"
    [ "$out" = "$want" ] || fail "$what in the worktree of depsfs: \"$out\" instead of \"$want\""
    in_view=$ms
    cd "$work/copy"
    took bash -euo pipefail -c "$script"
    row "$what" "$in_view" "$ms" "${want//$'\n'/ }"
}

expect() { # expect <what> <got> <wanted>
    [ "$2" = "$3" ] || fail "$1: \"$2\" instead of \"$3\""
    row "$1" "" "" "$2"
}

# --- a repository -----------------------------------------------------------------------------------------------

write_sources() {
    mkdir -p repo/{web,circuit/src,tool/src}
    cd repo
    printf '%s\n' 'node_modules/' 'build*/' 'target/' '.env' >.gitignore
    cat >package.json <<'JSON'
{
  "name": "quickstart", "private": true, "type": "module",
  "dependencies": {
    "@aztec/bb.js": "5.0.0",
    "@noir-lang/noir_js": "1.0.0-beta.26",
    "@noir-lang/noir_wasm": "1.0.0-beta.26",
    "typescript": "5.9.3"
  }
}
JSON
    cat >circuit/Nargo.toml <<'TOML'
[package]
name = "square"
type = "bin"
authors = []

[dependencies]
TOML
    cat >circuit/src/main.nr <<'NOIR'
fn main(x: Field, y: pub Field) -> pub Field {
    assert(x != y);
    x * x + y
}
NOIR
    cat >compile.mjs <<'JS'
// The Noir compiler on circuit/, into circuit/target/, as a build does it; then the compiled circuit, executed.
import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { compile_program, createFileManager } from '@noir-lang/noir_wasm';
import { Noir } from '@noir-lang/noir_js';
const { program } = await compile_program(createFileManager(resolve('circuit')));
mkdirSync('circuit/target', { recursive: true });
writeFileSync('circuit/target/square.json', JSON.stringify(program));
const { returnValue } = await new Noir(program).execute({ x: 3, y: 4 });
process.stdout.write(`3*3+4=${BigInt(returnValue)}\n`);
JS
    cat >web/tsconfig.json <<'JSON'
{ "compilerOptions": { "composite": true, "outDir": "../build-web", "rootDir": ".", "types": [], "module": "nodenext" },
  "files": ["hello.ts"] }
JSON
    echo 'export const hello = (name: string): string => `hello, ${name}`;' >web/hello.ts
    cat >tool/Cargo.toml <<'TOML'
[package]
name = "tool"
version = "0.1.0"
edition = "2021"

[dependencies]
itoa = "1"

[workspace]
TOML
    echo 'fn main() { println!("{}", itoa::Buffer::new().format(41 + 1)) }' >tool/src/main.rs
    echo 'TOKEN=not-in-git' >.env
}

build_all() {
    npm install --no-audit --no-fund --no-update-notifier --loglevel=error
    mkdir -p build/bin
    cp "node_modules/@aztec/bb.js/build/$arch/bb" build/bin/bb
    node compile.mjs
    node_modules/.bin/tsc -b web
    (cd tool && cargo build -q)
}

copy_artifacts() { # what people do without depsfs
    git -C "$work/repo" worktree add -q -b qs/copy "$work/copy"
    (cd "$work/repo" && cp -a --parents node_modules build build-web circuit/target tool/target .env "$work/copy")
}

# --- the walk ---------------------------------------------------------------------------------------------------

install_missing

say "building depsfs (the first time takes some minutes)"
cargo build --release --manifest-path "$top/Cargo.toml"
target=$(cargo metadata --format-version 1 --no-deps --manifest-path "$top/Cargo.toml" |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
depsfs=$target/release/depsfs

work=$(mktemp -d "${TMPDIR:-/tmp}/depsfs-quickstart.XXXXXX")
work=$(cd "$work" && pwd -P)
export DEPSFS_STORE=$work/store
cd "$work"

say "making and building a repository in $work/repo (npm install, Noir, tsc, cargo)"
write_sources
git init -q -b main .
git config user.name "Quick Start"
git config user.email quickstart@example.invalid
git config core.hooksPath /dev/null
build_all
git add . && git commit -qm 'everything that git knows of'
[ -z "$(git status --porcelain)" ] || fail "the repository is not clean to begin with"
files=$(find node_modules build build-web circuit/target tool/target -type f | wc -l)
size=$(du -scm node_modules build build-web circuit/target tool/target | tail -1 | cut -f1)

say "two worktrees with its $files artifact files ($size MB): depsfs create, and git worktree add with cp -a"
row "" depsfs "cp -a" ""
row "milliseconds" "" "" "what came out"
row "----------------------------------------------" "---------" "---------" "-------------"
took copy_artifacts
copied=$ms
took "$depsfs" create feature
row "the first worktree (depsfs: fills the store)" "$ms" "$copied" "$work/feature"
took "$depsfs" create second
row "one more worktree" "$ms" "$copied" "$work/second"

step "node finds its packages" "5.9.3 true" \
    "node -e \"import('@aztec/bb.js').then(m => console.log(require('typescript').version, 'Fr' in m || Object.keys(m).length > 9))\""
step "a program among them runs: bb --version" "$version" "build/bin/bb --version"
step "the version is patched into bb, in place" "deadbee" "
    at=\$(grep -abom1 BARRETENBERG_VERSION_SENTINEL build/bin/bb | cut -d: -f1)
    printf 'deadbee\0' | dd of=build/bin/bb bs=1 seek=\$((at + 29)) conv=notrunc status=none
    build/bin/bb --version"
expect "  … bb in the source is the old one" "$("$work/repo/build/bin/bb" --version)" "$version"
expect "  … bb in the second worktree, too" "$("$work/second/build/bin/bb" --version)" "$version"
expect "  … the same bytes in node_modules, too" \
    "$("$work/feature/node_modules/@aztec/bb.js/build/$arch/bb" --version)" "$version"
step "the Noir compiler, after rm -rf of its target" "3*3+4=13" "rm -rf circuit/target; node compile.mjs | tail -1"
step "tsc -b has nothing to do" "0" "node_modules/.bin/tsc -b --verbose web | grep -c 'Building project' || true"
compiles="(cd tool && cargo build --offline 2>&1) | grep -c Compiling || true"
cd "$work/feature"
took bash -c "$compiles"
[ "$out" = 0 ] || fail "cargo build compiled $out crates in the worktree of depsfs"
in_view=$ms
cd "$work/copy"
took bash -c "$compiles"
row "cargo build compiles nothing" "$in_view" "$ms" "0 (the copy: $out, for its sources are younger)"
step "the crate's program" "42" "tool/target/debug/tool"
step "git status --porcelain" "" "git status --porcelain"
step "every byte of node_modules is read" "$(tar -C "$work/repo" -c --sort=name --owner=0 --group=0 node_modules | cksum)" \
    "tar -c --sort=name --owner=0 --group=0 node_modules | cksum"

cd "$work/feature"
say "what depsfs says of it"
"$depsfs" status
"$depsfs" diff
[ "$("$depsfs" diff build)" = "M build/bin/bb" ] || fail "depsfs diff build does not name bb alone"

say "bb is the store's again after a reset, and all is the source's"
"$depsfs" reset --yes build
expect "bb --version" "$(build/bin/bb --version)" "$version"
diff -r --no-dereference "$work/repo/build" build || fail "build differs from the source"

cd "$work/repo"
say "the disk that a worktree takes, beside git's own checkout"
"$depsfs" unmount "$work/second" >/dev/null
own=$(du -sck "$work/second"/{node_modules,build,build-web,circuit/target,tool/target} \
    "$work/repo/.git/worktrees/second/depsfs" | tail -1 | cut -f1)
row "kB" "$own" "$((size * 1024))" ""
[ "$own" -le 1024 ] || fail "a worktree takes $own kB"

say "what is left is clean"
"$depsfs" remove second
"$depsfs" remove feature
[ ! -e "$work/feature" ] && [ ! -e "$work/second" ] || fail "a removed worktree is still there"
[ "$(git worktree list | wc -l)" = 2 ] || fail "git still knows a removed worktree"
"$depsfs" store verify
"$depsfs" gc --keep-days 0
objects=$(find "$DEPSFS_STORE/objects" -type f | wc -l)
[ "$objects" = 0 ] || fail "gc left $objects objects that nothing needs"
[ -z "$(git status --porcelain)" ] || fail "the source is not clean any more"
[ "$(build/bin/bb --version)" = "$version" ] || fail "bb in the source has changed"

say "everything is as it should be"
