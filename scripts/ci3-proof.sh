#!/usr/bin/env bash
# The build cache with real artifacts: the `bb` of @aztec/bb.js and the contracts of @aztec/noir-contracts.js go through
# `depsfs cache put` and `get`, and what aztec-packages' bootstraps do to them after a hit is done in a worktree's views and
# in plain copies. Every result is compared; ends with an error when one differs.
#
# Everything is made in one temporary directory (also the store) and removed again.
#
#   scripts/ci3-proof.sh [PROGRAM]      [default: target/release/depsfs, which is built when absent]
#   DEPSFS_NPM=DIR                      a directory where `npm install` has put both packages; else it is done here
set -euo pipefail
export LC_ALL=C
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE CI NO_CACHE NO_CACHE_UPLOAD CI3_SERVER
unset S3_BUILD_CACHE_AWS_PARAMS CACHE_SSH_HOST DEPSFS_CACHE_URL

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DEPSFS_PROGRAM=${1:-$top/target/release/depsfs}
version=5.0.0-nightly.20260710 # what the bb of @aztec/bb.js@5.0.0 says

fail() {
    printf '\nci3-proof: WRONG: %s\n' "$*" >&2
    exit 1
}
same() { [ "$2" = "$3" ] || fail "$1: $(printf '%s' "$2" | head -c 200) instead of $(printf '%s' "$3" | head -c 200)"; }
clean() { same "git status in $1" "$(git -C "$1" status --porcelain)" ""; }
timed() { # timed <words> <command…>
    local start=$EPOCHREALTIME
    "${@:2}"
    printf '  %-62s %7.3f s\n' "$1" "$(bc -l <<<"$EPOCHREALTIME - $start")"
}

for tool in git npm node jq xargs zstd bc; do
    command -v $tool >/dev/null || { echo "ci3-proof: $tool is missing" >&2; exit 1; }
done
[ -x "$DEPSFS_PROGRAM" ] || (cd "$top" && cargo build --release --locked)
DEPSFS_PROGRAM=$(realpath "$DEPSFS_PROGRAM")
export DEPSFS_PROGRAM

work=$(realpath "$(mktemp -d "${TMPDIR:-/tmp}/depsfs-ci3.XXXXXX")")
npm=${DEPSFS_NPM:-$work/npm}
end() {
    for tree in "$work"/fix "$work"/two; do
        [ ! -d "$tree" ] || (cd "$tree" && "$DEPSFS_PROGRAM" unmount --lazy >/dev/null 2>&1) || true
    done
    rm -rf "$work"
}
trap end EXIT
export HOME=$work DEPSFS_STORE=$work/store CACHE_LOCAL_DIR=$work/local XDG_STATE_HOME=$work/state
export GIT_AUTHOR_NAME=ci3 GIT_AUTHOR_EMAIL=ci3@localhost GIT_COMMITTER_NAME=ci3 GIT_COMMITTER_EMAIL=ci3@localhost
if [ -z "${DEPSFS_NPM:-}" ]; then
    mkdir "$npm"
    (cd "$npm" && npm install --no-audit --no-fund --ignore-scripts --silent @aztec/bb.js@5.0.0 @aztec/noir-contracts.js@4.1.2)
fi

# --- the artifacts, as a build leaves them -------------------------------------------------------------------------

repo=$work/repo cpp=barretenberg/cpp contracts=noir-projects/noir-contracts
git init -q -b main "$repo"
mkdir -p "$repo/$cpp" "$repo/$contracts"
printf 'build*/\ntarget/\n' >"$repo/.gitignore"
echo 'void main() {}' >"$repo/$cpp/main.cpp"
echo '[workspace]' >"$repo/$contracts/Nargo.toml"
git -C "$repo" add -A
git -C "$repo" commit -qm one
plain=$work/plain
mkdir -p "$plain/$cpp/build/bin" "$plain/$contracts/target" "$CACHE_LOCAL_DIR"
cp "$npm"/node_modules/@aztec/bb.js/build/amd64-linux/bb "$plain/$cpp/build/bin/bb"
chmod 755 "$plain/$cpp/build/bin/bb"
cp "$npm"/node_modules/@aztec/noir-contracts.js/artifacts/*.json "$plain/$contracts/target/"
same "bb" "$("$plain/$cpp/build/bin/bb" --version)" "$version"
names=$(cd "$plain/$contracts/target" && ls)
count=$(wc -l <<<"$names")

source "$top/mount-helpers/ci3-env.sh"
bb=barretenberg-0123456789abcdef.zst
echo "put and get ($count contracts, $(du -shc "$plain" | tail -1 | cut -f1)):"
cd "$plain/$cpp"
timed "put bb" cache_upload $bb build/bin 2>"$work/log"
cd "$plain/$contracts"
put_all() { xargs -P16 -I{} bash -c 'cache_upload contract-{}-0123456789abcdef.tar.gz ./target/{}' <<<"$names"; }
timed "put $count contracts" put_all 2>>"$work/log"

# --- warm: two worktrees, no network -------------------------------------------------------------------------------

cd "$repo"
for tree in fix two; do
    "$DEPSFS_PROGRAM" create $tree --allow-unbuilt >/dev/null
done
get_bb() { (cd "$work/$1/$cpp" && cache_download $bb); }
get_all() {
    cd "$work/$1/$contracts"
    xargs -P16 -I{} bash -c 'cache_download contract-{}-0123456789abcdef.tar.gz' <<<"$names"
}
timed "get bb, first time" get_bb fix 2>>"$work/log"
timed "get bb, second worktree" get_bb two 2>>"$work/log"
timed "get $count contracts, 16 at a time, first time" get_all fix 2>>"$work/log"
timed "get $count contracts, 16 at a time, second worktree" get_all two 2>>"$work/log"
for tree in fix two; do
    diff -r "$plain/$contracts/target" "$work/$tree/$contracts/target" || fail "contracts in $tree"
    cmp "$plain/$cpp/build/bin/bb" "$work/$tree/$cpp/build/bin/bb" || fail "bb in $tree"
    same "bb in $tree" "$("$work/$tree/$cpp/build/bin/bb" --version)" "$version"
    clean "$work/$tree"
done

# --- what bootstraps do after a hit --------------------------------------------------------------------------------

inject() { # a version into the program, after its sentinel
    cd "$1/$cpp"
    local at
    at=$(grep -abo -m1 BARRETENBERG_VERSION_SENTINEL build/bin/bb | head -1 | cut -d: -f1)
    printf 'deadbee\0' | dd of=build/bin/bb bs=1 seek=$((at + 29)) conv=notrunc status=none
}
transpile() { # each contract: written aside, then over itself
    cd "$1/$contracts"
    for name in $names; do
        jq -c '.transpiled = true' "target/$name" >"$work/tmp.json"
        cat "$work/tmp.json" >"target/$name"
    done
}
strip() { # each: written beside, then renamed; one deleted
    cd "$1/$contracts"
    for name in $names; do
        jq -c 'del(.file_map)' "target/$name" >"target/$name.tmp"
        mv "target/$name.tmp" "target/$name"
    done
    rm "target/$(head -1 <<<"$names")"
}
epoch() { find "$1/$contracts/target" "$1/$cpp/build" -exec touch -d @0 {} +; }
sums() { (cd "$1" && find $cpp/build $contracts/target -type f -print0 | sort -z | xargs -0 sha256sum); }

cp -a "$plain" "$work/copy"
for step in inject transpile strip epoch; do
    echo "$step:"
    timed "in a plain copy" $step "$work/copy"
    timed "in views" $step "$work/fix"
    same "$step: contents" "$(sums "$work/fix")" "$(sums "$work/copy")"
    clean "$work/fix"
done
files() { (cd "$1" && find $cpp/build $contracts/target -type f -printf '%p %m %T@\n' | sort); }
same "modes and times" "$(files "$work/fix")" "$(files "$work/copy")"
same "bb" "$("$work/fix/$cpp/build/bin/bb" --version)" deadbee
same "bytes of bb that differ" "$(cmp -l "$plain/$cpp/build/bin/bb" "$work/fix/$cpp/build/bin/bb" | wc -l)" \
    "$(cmp -l "$plain/$cpp/build/bin/bb" "$work/copy/$cpp/build/bin/bb" | wc -l)"

# --- nobody else saw it, and all of it comes again -----------------------------------------------------------------

diff -r "$plain/$contracts/target" "$work/two/$contracts/target" || fail "contracts in the other worktree"
same "bb in the other worktree" "$("$work/two/$cpp/build/bin/bb" --version)" "$version"
same "the store" "$("$DEPSFS_PROGRAM" store verify)" "the store is sound"
echo "again:"
rm -rf "$work/fix/$contracts/target"
mkdir -p "$work/fix/$contracts/target"
timed "get $count contracts after rm -rf target; mkdir target" get_all fix 2>>"$work/log"
diff -r "$plain/$contracts/target" "$work/fix/$contracts/target" || fail "contracts, again"
clean "$work/fix"
cd "$repo"
for tree in fix two; do "$DEPSFS_PROGRAM" remove $tree >/dev/null; done
"$DEPSFS_PROGRAM" gc --keep-days 0 >/dev/null
same "objects after gc" "$(find "$DEPSFS_STORE/objects" -type f | wc -l)" 0
echo "ci3-proof: all as in plain directories"
