#!/usr/bin/env bash
# How long a look-up in a view takes while others use its disk: fsyncs, files that are replaced durably, a copy-up of a
# long file, cold reads. Beside each, the same in a plain directory.
#
# usage: scripts/latency.sh [ROUNDS]
#
# Each look-up is an lstat of a name that the kernel does not know yet. p50, p99 and max in milliseconds, over all
# rounds (default: 3); "above" is the p99 beyond that of the idle view or directory. MIB (default: 1024) is the length of
# the file that is copied; LOAD=1 also writes to the disk by dd from outside meanwhile. Takes root, to drop caches.
set -euo pipefail

case "${1:-}" in -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0" && exit 0 ;; esac
rounds=${1:-3} mib=${MIB:-1024}
also_end() {
    [ -z "${dd:-}" ] || kill "$dd" 2>/dev/null || true
    cd "$work" || return
    [ ! -e "$work/at" ] || timeout 40 "$depsfs" unmount --at at >/dev/null 2>&1 || true
}
# shellcheck source=scripts/measuring.sh
. "$(dirname "$0")/measuring.sh"

mkdir -p "$work"/{given,home,at,up,workdir}
export HOME=$work/home XDG_STATE_HOME=$work/home/state
cd "$work"
python3 - "$mib" <<'PY'
import os, random, sys
random.seed(1)
for d in range(20):
    os.makedirs(f"given/names/{d}"), os.makedirs(f"given/cold/{d}")
    for i in range(1000):
        open(f"given/names/{d}/f{i}", "w").close()
        with open(f"given/cold/{d}/f{i}", "wb") as f:
            f.write(random.randbytes(random.randrange(500, 8000)))
os.makedirs("given/lower")
for i in range(2000):
    open(f"given/lower/f{i}", "w").write("lower\n")
with open("given/long", "wb") as f:
    piece = random.randbytes(1 << 20)
    for _ in range(int(sys.argv[1])):
        f.write(piece)
PY
"$depsfs" store add given --name deps >/dev/null
if [ -n "${LOAD:-}" ]; then
    (while :; do dd if=/dev/zero of="$work/noise" bs=1M count=256 conv=fsync 2>/dev/null; done) &
    dd=$!
fi
PYTHONDONTWRITEBYTECODE=1 python3 "$top/scripts/bench/latency.py" "$work" "$depsfs" "$rounds"
