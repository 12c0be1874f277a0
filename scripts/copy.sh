#!/usr/bin/env bash
# How long `depsfs create --copy` takes, beside `git worktree add` and `cp -a` of the same artifacts, on ext4, and beside
# `cp -a --reflink=always` on xfs and btrfs. Each result is compared with the source: names, types, modes, sizes, times,
# links and bytes.
#
# Makes an image with each file system in a temporary directory, mounts it on a loop device (needs root), and removes
# everything again. A file system that can't be made or mounted is named and left out. Both sides run in turn, and the
# medians are compared. The goals: at most 1.0 of cp -a on ext4, at most 1.1 of cp --reflink on xfs and btrfs. It ends
# with an error when a result is wrong, not when a goal is missed: that depends on the machine, whose load is printed.
#
#   scripts/copy.sh [ROUNDS] [FILES]      default: 5 rounds, 20000 files
#   DEPSFS=path   the program, default target/release/depsfs
set -euo pipefail
export LC_ALL=C
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
depsfs=$(realpath "${DEPSFS:-$top/target/release/depsfs}")
rounds=${1:-5} files=${2:-20000}
[ "$(id -u)" = 0 ] || { echo "copy.sh: skipped: only root mounts images on loop devices"; exit 0; }
[ -x "$depsfs" ] || { echo "copy.sh: $depsfs is not there: cargo build --release"; exit 2; }

work=$(mktemp -d) mounted=()
cleanup() {
    for at in "${mounted[@]}"; do umount "$at" || umount -l "$at"; done
    rm -rf "$work"
}
trap cleanup EXIT
export HOME=$work/home XDG_STATE_HOME=$work/state GIT_CONFIG_NOSYSTEM=1
mkdir -p "$HOME"
git config --global user.name Ada
git config --global user.email ada@example.org

# Mounts a new file system; fails, with a word why, where that is not possible.
file_system() { # file_system <kind> <place>
    local image=$work/$1.img
    truncate -s 6G "$image"
    command -v "mkfs.$1" >/dev/null || { echo "copy.sh: $1 is left out: mkfs.$1 is not installed"; return 1; }
    "mkfs.$1" -q "$image" >/dev/null 2>&1 || { echo "copy.sh: $1 is left out: mkfs.$1 failed"; return 1; }
    mkdir -p "$2"
    mount -o loop "$image" "$2" || { echo "copy.sh: $1 is left out: it can't be mounted"; return 1; }
    mounted+=("$2")
}

# A repository with artifacts as a large node_modules has them: four of five files are under 4 KiB; and a few large ones.
repository() { # repository <place>
    git init -q -b main "$1"
    printf 'node_modules/\nbuild/\n' >"$1/.gitignore"
    for n in {1..200}; do echo "int f$n;" >"$1/f$n.c"; done
    git -C "$1" add -A
    git -C "$1" commit -qm one
    python3 - "$1" "$files" <<'PY'
import os, random, sys
root, files = sys.argv[1], int(sys.argv[2])
random.seed(1)
for n in range(files):
    at = f"{root}/node_modules/p{n % 800}/{'lib/' * (n % 3)}"
    os.makedirs(at, exist_ok=True)
    size = random.choice([200, 700, 1500, 3000, 14000])
    with open(f"{at}f{n}.js", "wb") as f: f.write(random.randbytes(size))
os.makedirs(f"{root}/build/deep", exist_ok=True)
for n in range(6):
    with open(f"{root}/build/lib{n}.a", "wb") as f: f.write(random.randbytes(20 << 20))
    os.link(f"{root}/build/lib{n}.a", f"{root}/build/deep/same{n}.a")
    os.symlink(f"../lib{n}.a", f"{root}/build/deep/link{n}")
PY
}

described() { # described <worktree>: every name with its attributes
    (cd "$1" && find node_modules build -printf '%p %y %m %n %T@ %l ' -a \( -type f -printf '%s\n' -o -printf '\n' \) | sort)
}

check() { # check <source> <copy>
    cmp -s <(described "$1") <(described "$2") || { echo "copy.sh: WRONG: the attributes in $2 differ"; exit 1; }
    for artifact in node_modules build; do
        diff -rq "$1/$artifact" "$2/$artifact" >/dev/null || { echo "copy.sh: WRONG: the bytes in $2/$artifact differ"; exit 1; }
    done
    [ -z "$(git -C "$2" status --porcelain)" ] || { echo "copy.sh: WRONG: git status of $2 is not empty"; exit 1; }
}

milliseconds() { # milliseconds <command…>
    local begun=${EPOCHREALTIME/./}
    "$@" >/dev/null
    echo $(((${EPOCHREALTIME/./} - begun) / 1000))
}

copied_by_cp() { # copied_by_cp <source> <copy> <option of cp…>
    git -C "$1" worktree add -q "$2" -b "$(basename "$2")"
    cp -a "${@:3}" "$1/node_modules" "$1/build" "$2/"
}

median() { sort -n | sed -n "$(((rounds + 1) / 2))p"; }

measure() { # measure <kind> <goal> <option of cp…>
    local kind=$1 goal=$2 at=$work/$1
    shift 2
    file_system "$kind" "$at" || return 0
    export DEPSFS_STORE=$at/store
    repository "$at/repo"
    (cd "$at/repo" && "$depsfs" create first --copy --path "$at/first" >/dev/null)
    check "$at/repo" "$at/first"
    (cd "$at/repo" && "$depsfs" remove "$at/first" >/dev/null)
    : >"$work/cp" && : >"$work/depsfs"
    for n in $(seq "$rounds"); do
        sync -f "$at"
        milliseconds copied_by_cp "$at/repo" "$at/cp$n" "$@" >>"$work/cp"
        sync -f "$at"
        cd "$at/repo"
        milliseconds "$depsfs" create "copy$n" --copy --path "$at/copy$n" >>"$work/depsfs"
        cd "$work"
        check "$at/repo" "$at/copy$n"
        git -C "$at/repo" worktree remove -f "$at/cp$n"
        (cd "$at/repo" && "$depsfs" remove "$at/copy$n" >/dev/null)
    done
    local by_cp by_depsfs
    by_cp=$(median <"$work/cp") by_depsfs=$(median <"$work/depsfs")
    printf '%-6s  %-24s %6d ms   create --copy %6d ms   %s (goal %s)   load %s\n' "$kind" "git, cp -a $*" "$by_cp" \
        "$by_depsfs" "$(awk "BEGIN { printf \"%.2f\", $by_depsfs / $by_cp }")" "$goal" "$(cut -d' ' -f1 /proc/loadavg)"
}

measure ext4 1.0
measure xfs 1.1 --reflink=always
measure btrfs 1.1 --reflink=always
