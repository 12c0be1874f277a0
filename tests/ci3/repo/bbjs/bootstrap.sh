#!/usr/bin/env bash
# A package whose snapshots are copied into what was built.
source "$(dirname "$0")/../ci3/lib.sh"
hash=$(combine "$(cache_content_hash bbjs)" "$(../bb/bootstrap.sh hash)")
[ "${1:-}" != hash ] || { echo "$hash"; exit; }
if ! cache_download "bb.js-$hash.tar.gz"; then
    built bbjs
    mkdir -p dest/node/__snapshots__ dest/browser
    cp src/main.ts dest/node/main.js
    cp src/main.ts dest/browser/main.js
    ln -sf ../node/main.js dest/browser/link.js
    echo stale >dest/node/__snapshots__/old
    find dest -exec touch -d @0 {} +
    cache_upload "bb.js-$hash.tar.gz" dest
fi
rm -rf dest/node/__snapshots__
cp -r src/__snapshots__ dest/node/
