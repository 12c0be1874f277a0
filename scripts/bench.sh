#!/usr/bin/env bash
# How fast everything is: depsfs beside a plain directory and beside every peer that is there, in the same run.
#
#   scripts/bench.sh            all of it, five rounds (a quarter of an hour on two cores)
#   scripts/bench.sh --quick    three rounds of what takes little time (a few minutes)
#   scripts/bench.sh --scaling  how the cost grows: worktrees, files, grafts; 100 worktrees of 20 views at once
#   scripts/bench.sh --team     one store per team (depsfs help remote), over a line with a round trip of 20 and of 100 ms
#
#   --one-cpu                   then what asks daemons most once more, with everything on one processor (see below)
#   --only walk,open,create     only these (their keys are in bench.json)
#   --engines depsfs,overlayfs  only these, and the plain directory
#   --rounds N                  how many
#   --minutes N                 begin no further operation after so many; what was measured until then is reported
#   --fixtures DIR              where the fixtures are kept, made at the first run (default: /var/tmp/depsfs-bench-<uid>)
#   --npm DIR                   DIR/node_modules is taken instead of what npm would install (847 MB)
#   --out DIR                   bench.txt, bench.json and bench.svg go there; without it the table is only printed
#   --against RUN               an earlier bench.json, or a commit whose run was kept: rows that are slower now are named
#                               (`SLOWER:`), and the exit code is 3
#   --publish                   they go to scripts/bench, a short table into README.md, and the whole one into the topic
#                               performance (src/cli/topics/performance.md)
#
# A run of everything is kept as target/bench/<commit>.json.
#
# Engines: a plain copy on the disk, hard links, reflinks on xfs and btrfs (in files, by loop), the kernel's overlayfs,
# fuse-overlayfs 1.x and 2.x (FUSE_OVERLAYFS=<program> names another than that in PATH), depsfs as root, depsfs as an
# ordinary user. Those that are missing here, or take root, are said to be. Each shows the same bytes, names, modes
# and times, or it ends with an error.
#
# Each operation runs on the engines in turn, A B C A B C …; a figure is the ratio of medians to the plain directory.
# CPU is that of the client and of the daemons that serve it (not of the kernel's own threads); it holds on a busy
# machine, wall times hold on a quiet one. The last columns have the lowest and the highest of all rounds: a limit that
# holds for the median alone holds by luck. A `!` marks what is above its limit.
#
# Where a client waits for one answer after another, its cost depends on where the kernel runs the two: on an idle machine
# each wakes on a processor that sleeps, which in a virtual machine costs several times what answering does; on a busy
# one they take turns on the same. `--one-cpu` shows that second case.
set -euo pipefail
export LC_ALL=C
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

case " $* " in
    *' -h '* | *' --help '*) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for tool in cargo rustc git node npm python3 rg setpriv zstd; do
    command -v "$tool" >/dev/null || missing="${missing:-} $tool"
done
if [ -n "${missing:-}" ]; then
    echo "bench.sh: missing:$missing (Debian, Ubuntu: git nodejs npm python3 ripgrep util-linux zstd; Rust: https://rustup.rs)" >&2
    exit 1
fi

cargo build -q --release --locked --manifest-path "$top/Cargo.toml"
target=$(cargo metadata --format-version 1 --no-deps --manifest-path "$top/Cargo.toml" |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
bin=$(mktemp -d "${TMPDIR:-/var/tmp}/depsfs-bench.XXXXXX")
trap 'rm -rf "$bin"' EXIT
chmod 755 "$bin"
# Copies: an ordinary user may not be allowed into this directory, and a build meanwhile must not replace the program.
cp "$target/release/depsfs" "$bin/depsfs"
rustc -O --edition 2024 -o "$bin/ops" "$top/scripts/bench/ops.rs"
PYTHONDONTWRITEBYTECODE=1 python3 "$top/scripts/bench/main.py" --depsfs "$bin/depsfs" --ops "$bin/ops" "$@"
