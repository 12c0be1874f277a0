#!/usr/bin/env bash
# A native program whose version is written into it on every run, and a file with absolute paths.
source "$(dirname "$0")/../ci3/lib.sh"
hash=$(cache_content_hash bb)
[ "${1:-}" != hash ] || { echo "$hash"; exit; }
if ! cache_download "barretenberg-$hash.zst"; then
    built bb
    mkdir -p build/bin build/cmake
    { printf '#!/bin/sh\n# BARRETENBERG_VERSION_SENTINEL00000000\n'; cat src/bb.sh; } >build/bin/bb
    # Big enough that a copy of it would be noticed.
    head -c 3000000 /dev/zero | tr '\0' '#' >>build/bin/bb
    chmod 755 build/bin/bb
    echo "set(PREFIX @ROOT@/bb/build)" >build/cmake/cvc5.cmake
    cache_upload "barretenberg-$hash.zst" build/bin/bb build/cmake
fi
at=$(grep -abo BARRETENBERG_VERSION_SENTINEL build/bin/bb | head -1 | cut -d: -f1)
git rev-parse --short=8 HEAD | tr -d '\n' | dd of=build/bin/bb bs=1 seek=$((at + 29)) conv=notrunc status=none
sed -i "s|@ROOT@|$root|" build/cmake/*.cmake
