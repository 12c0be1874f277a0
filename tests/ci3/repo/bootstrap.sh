#!/usr/bin/env bash
# All components, in the order of their dependencies; `hashes` prints what each is built from.
set -euo pipefail
cd "$(dirname "$0")"
for component in noir bb bbjs contracts circuits l1 ts; do
    if [ "${1:-}" = hashes ]; then
        echo "$component $("$component/bootstrap.sh" hash)"
    else
        "$component/bootstrap.sh"
    fi
done
