#!/usr/bin/env bash
# The messages of the kernel to a view's server for what programs do: stat, open and read, create, tar, unlink, rename,
# mkdir, git's rewrite of a file, npm's install of one. Counted by the server itself (user.depsfs.stats), of real runs.
#
# usage: scripts/messages.sh [--check TABLE] [FILES]
#
# Beside each, with strace(1), the system calls that the server makes for them, without the two that carry a message
# (read, writev) and the polls between messages; and the places in the kernel's source that send them. FILES (default:
# 200) is how many files each operation is done to; figures are per file. The table is scripts/bench/messages.txt:
# --check ends with an error where an operation costs more messages than there.
set -euo pipefail

case "${1:-}" in -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0" && exit 0 ;; esac
check=
if [ "${1:-}" = --check ]; then check=$(realpath "$2") && shift 2; fi
files=${1:-200}
also_end() { [ ! -e "$work/at" ] || { cd "$work" && timeout 40 "$depsfs" unmount --at at >/dev/null 2>&1; } || true; }
# shellcheck source=scripts/measuring.sh
. "$(dirname "$0")/measuring.sh"

mkdir -p "$work"/{given/lib,home,at,up,workdir}
export HOME=$work/home XDG_STATE_HOME=$work/home/state
cd "$work"
for ((i = 0; i < files; i++)); do echo "file $i" >"given/lib/f$i"; done
for name in gone over moved written git tar; do cp -r given/lib "given/$name"; done
"$depsfs" store add given --name deps >/dev/null
"$depsfs" mount deps --at at --upper up --workdir workdir >/dev/null
PYTHONDONTWRITEBYTECODE=1 python3 "$top/scripts/bench/messages.py" "$work" "$files" ${check:+"$check"}
