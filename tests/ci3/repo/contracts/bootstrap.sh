#!/usr/bin/env bash
# Many small artifacts, fetched 16 at a time into one directory, each changed after it came.
source "$(dirname "$0")/../ci3/lib.sh"
tools=$(combine "$(../noir/bootstrap.sh hash)" "$(../bb/bootstrap.sh hash)")
export tools
[ "${1:-}" != hash ] || { combine "$tools" "$(cache_content_hash contracts)"; exit; }
process() {
    local name=$1 hash
    hash=$(combine "$tools" "$(cache_content_hash contracts/bootstrap.sh "contracts/src/$name.nr")")
    if ! cache_download "contract-$name-$hash.tar.gz"; then
        built "contract $name"
        ../noir/noir-repo/target/release/nargo "src/$name.nr" >"target/$name.json"
        cache_upload "contract-$name-$hash.tar.gz" "./target/$name.json"
    fi
    local tmp
    tmp=$(mktemp)
    sed 's/compiled/transpiled/' "target/$name.json" >"$tmp"
    cat "$tmp" >"target/$name.json"
    rm "$tmp"
}
export -f process
rm -rf target
mkdir -p target
(cd src && ls) | sed 's/\.nr$//' | xargs -P16 -I{} bash -c 'set -euo pipefail; process {}'
