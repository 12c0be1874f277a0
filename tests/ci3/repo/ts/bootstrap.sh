#!/usr/bin/env bash
# Everything ignored goes but what was installed; then an incremental build by modification times.
source "$(dirname "$0")/../ci3/lib.sh"
hash=$(combine "$(../contracts/bootstrap.sh hash)" "$(../circuits/bootstrap.sh hash)" "$(../l1/bootstrap.sh hash)" \
    "$(../bbjs/bootstrap.sh hash)" "$(cache_content_hash ts)")
[ "${1:-}" != hash ] || { echo "$hash"; exit; }
git ls-files -o -i --exclude-standard --directory . | { grep -v node_modules || true; } | xargs -r rm -rf
if [ ! -d node_modules ]; then
    mkdir -p node_modules/dep
    echo 'module.exports = 1' >node_modules/dep/index.js
fi
cache_download "yarn-project-$hash.tar.gz" || missed=1
for source in src/*.ts; do
    out=dest/$(basename "$source" .ts).js
    if [ ! -e "$out" ] || { [ -n "${missed:-}" ] && [ "$source" -nt "$out" ]; }; then
        built "ts $(basename "$source")"
        mkdir -p dest
        cp "$source" "$out"
    fi
done
[ -z "${missed:-}" ] || cache_upload "yarn-project-$hash.tar.gz" ./dest
