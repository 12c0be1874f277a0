#!/usr/bin/env bash
# Runs real tools in a worktree after an edit, and watches with strace that they used the worktree's files: nothing below
# the source checkout is opened to write, and none of its tracked files or artifacts to read. One line for each tool.
#
#   scripts/tools.sh [NAME…]     names: make cmake-make cmake-ninja cmake-ninja-exec autotools venv-pip npm cargo
#
# DEPSFS: the program to test [default: target/release/depsfs, else target/debug/depsfs].
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
depsfs=${DEPSFS:-$here/target/release/depsfs}
[ -x "$depsfs" ] || depsfs=$here/target/debug/depsfs
top=$(cd "$(mktemp -d)" && pwd -P)
failed=0
# The caches of tools stay those of the user: only depsfs and git are set apart.
export DEPSFS_STORE=$top/store XDG_STATE_HOME=$top/state GIT_CONFIG_COUNT=2
export GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0=Ada GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=ada@example.org

cleanup() {
    for git in "$top"/*/fix/.git; do
        [ -f "$git" ] && "$depsfs" unmount "${git%/.git}" >/dev/null 2>&1
    done
    rm -rf "$top"
}
trap cleanup EXIT

have() {
    for program in "$@"; do
        command -v "$program" >/dev/null || { echo "skipped: $name: $program is not installed"; return 1; }
    done
}

# Opens of the trace that lead back, as "pid path"; directories are only searched, and count only if opened to write.
leads_back() {
    grep -E 'open(at|at2)?\(|creat\(' "$1" | grep -vE ' = -1 ' | grep -F "\"$top/$name/repo/" | grep -E 'O_(WRONLY|RDWR|CREAT)|O_RDONLY' |
        grep -vE 'O_DIRECTORY|O_PATH' | grep -vF "\"$top/$name/repo/.git/"
}

# One tool: makes repo (in the directory of the new repository), builds it, edits the worktree, runs, expects.
row() { # NAME PROGRAMS MAKE BUILD EDIT RUN EXPECTED-OUTPUT [exec]
    name=$1
    case " $names " in *" $name "* | "  ") ;; *) return ;; esac
    # shellcheck disable=SC2086 # a list of words
    have strace git $2 || return
    mkdir -p "$top/$name/repo"
    local trace=$top/$name/trace said begun
    cd "$top/$name/repo" || exit 1
    git init -q -b main && eval "$3" && git add -A && git commit -qm one || { fail "it was not made"; return; }
    (eval "$4") >"$top/$name/built" 2>&1 || { tail -5 "$top/$name/built"; fail "it was not built"; return; }
    "$depsfs" create fix >"$top/$name/created" || { fail "create"; return; }
    cd "$top/$name/fix" || exit 1
    (eval "$5")
    begun=$(date +%s%N)
    if [ "${8-}" = exec ]; then
        said=$("$depsfs" exec fix -- sh -c "$6" 2>&1)
    else
        said=$(strace -f -qq -o "$trace" -e trace=open,openat,creat sh -c "$6" 2>&1)
    fi
    local ms=$((($(date +%s%N) - begun) / 1000000))
    case $said in *"$7"*) ;; *) echo "$said" | tail -5; fail "its output lacks $7"; return ;; esac
    if [ "${8-}" != exec ] && leads_back "$trace" >"$top/$name/back"; then
        head -5 "$top/$name/back"
        fail "it opened files of the source"
        return
    fi
    [ -z "$(git -C "$top/$name/repo" status --porcelain)" ] || { fail "the source has changed"; return; }
    echo "ok       $name: $ms ms; $(grep -o 'paths: .*' "$top/$name/created" | cut -c1-100)"
}

fail() {
    echo "FAILED   $name: $1"
    failed=1
}

names="$*"
c_sources='mkdir src; echo "build/" >.gitignore; echo "int f(void);" >src/f.h
    printf "#include \"f.h\"\nint f(void) { return 3; }\n" >src/f.c
    printf "#include <stdio.h>\n#include \"f.h\"\nint main(void) { printf(\"f %%d\\\\n\", f()); return 0; }\n" >src/main.c'
edit='printf "#include \"f.h\"\nint f(void) { return 44; }\n" >src/f.c'
cmake_lists='printf "cmake_minimum_required(VERSION 3.10)\nproject(p C)\nset(CMAKE_EXPORT_COMPILE_COMMANDS ON)\nadd_executable(p src/main.c src/f.c)\n" >CMakeLists.txt'

row make "make cc" "$c_sources"'
    printf "build/p: src/main.c src/f.c src/f.h\n\tmkdir -p build\n\tcc -g -I%s/src -o build/p src/main.c src/f.c\n" "\$(CURDIR)" >Makefile' \
    make "$edit" "make && build/p" "f 44"
row cmake-make "cmake make cc" "$c_sources; $cmake_lists" \
    "cmake -G 'Unix Makefiles' -S . -B build && cmake --build build" "$edit" "cmake --build build && build/p" "f 44"
row cmake-ninja "cmake ninja cc" "$c_sources; $cmake_lists" \
    "cmake -G Ninja -S . -B build && cmake --build build" "$edit" "cmake --build build && build/p" "f 44"
row cmake-ninja-exec "cmake ninja cc" "$c_sources; $cmake_lists" \
    "test -e build || (cmake -G Ninja -S . -B build && cmake --build build)" "$edit" "ninja -C build && build/p" "f 44" exec
row autotools "autoreconf automake make cc" "$c_sources"'
    echo "build/
autom4te.cache/" >.gitignore
    printf "AC_INIT([p],[1])\nAM_INIT_AUTOMAKE([foreign subdir-objects])\nAC_PROG_CC\nAC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n" >configure.ac
    printf "bin_PROGRAMS = p\np_SOURCES = src/main.c src/f.c\n" >Makefile.am; autoreconf -i' \
    'mkdir -p build && cd build && (test -e Makefile || "$(cd .. && pwd)/configure") && make' "$edit" "make -C build && build/p" "f 44"
row venv-pip python3 'echo ".venv/" >.gitignore
    python3 - <<P
import zipfile
z = zipfile.ZipFile("one-1.0-py3-none-any.whl", "w"); d = "one-1.0.dist-info/"
z.writestr("one.py", "x = 1"); z.writestr(d + "METADATA", "Metadata-Version: 2.1\nName: one\nVersion: 1.0\n")
z.writestr(d + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"); z.writestr(d + "RECORD", "")
P' 'test -e .venv || python3 -m venv .venv' true \
    '.venv/bin/pip install -q --no-index ./one-1.0-py3-none-any.whl; .venv/bin/python -c "import one; print(one.__file__)"' "/fix/.venv/"
row npm "npm node" 'echo "node_modules/" >.gitignore; mkdir -p pkg
    echo "{\"name\":\"pkg\",\"version\":\"1.0.0\",\"bin\":\"run.js\"}" >pkg/package.json; printf "#!/usr/bin/env node\nconsole.log(\"run one\")\n" >pkg/run.js
    chmod +x pkg/run.js; echo "{\"name\":\"p\",\"version\":\"1.0.0\",\"dependencies\":{\"pkg\":\"file:pkg\"}}" >package.json
    npm install --offline --silent --no-audit --no-fund' true \
    'sed -i s/one/two/ pkg/run.js' 'node_modules/.bin/pkg' "run two"
row cargo cargo 'echo "target/" >.gitignore; cargo init -q --vcs none --name p .; printf "fn main() { println!(\"rust {}\", env!(\"CARGO_MANIFEST_DIR\")); }\n" >src/main.rs
    cargo generate-lockfile -q --offline' 'cargo build -q --offline' \
    'sed -i s/rust/edited/ src/main.rs' 'cargo run -q --offline' "edited $top/cargo/fix"
exit $failed
