#!/usr/bin/env bash
# Kills the server of mounted views again and again at random moments, under a mixed load of nine processes: reads,
# mapped reads and writes, writes and appends, creates, renames, unlinked open files, walks, locks and working
# directories, metadata. No operation may fail, no byte differ; the longest pauses are told. Then once more beside a
# cargo build and an npm install, where those programs are.
#
#   scripts/crash.sh [KILLS]       default 100
#
#   DEPSFS_CRASH_SEED=N            the choices of an earlier run, as it printed them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export DEPSFS_CRASH_KILLS=${1:-100}
cargo test --locked --quiet --test crash --no-run
echo "== $DEPSFS_CRASH_KILLS kills"
cargo test --locked --quiet --test crash
echo "== $DEPSFS_CRASH_KILLS kills, beside builds"
DEPSFS_CRASH_BUILDS=1 cargo test --locked --quiet --test crash
