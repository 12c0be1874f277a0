#!/usr/bin/env bash
# Runs real tools in a worktree after an edit, and watches with strace that they used the worktree's files: nothing below
# the source checkout is opened to write, and none of its tracked files or artifacts to read. One line for each tool.
#
#   scripts/tools.sh [NAME…]
#
# Names: make cmake-make cmake-ninja cmake-ninja-exec gdb-exec meson autotools libtool ccache go cargo cargo-build-script
# venv-pip venv-editable virtualenv uv pre-commit npm pnpm pnpm-hoisted yarn node-gyp tsc vite jest turbo nx next-webpack
# next-turbopack husky. A tool that is not in PATH is skipped. uv and venv-editable fetch their build backend; every other
# row is offline. turbo is told where its cache is: in a linked worktree it would take that of the main one.
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
row gdb-exec "gdb make cc" "$c_sources"'
    printf "build/p: src/main.c src/f.c src/f.h\n\tmkdir -p build\n\tcc -g -o build/p \$(CURDIR)/src/main.c \$(CURDIR)/src/f.c\n" >Makefile' \
    make "$edit" "make && cd / && gdb -nx -batch -ex 'break f' -ex run -ex list \$OLDPWD/build/p" "return 44" exec
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

row meson "meson ninja cc" "$c_sources"'
    printf "project(\x27p\x27, \x27c\x27)\nexecutable(\x27p\x27, [\x27src/main.c\x27, \x27src/f.c\x27])\n" >meson.build' \
    "meson setup build && ninja -C build" "$edit" "ninja -C build && build/p" "f 44"
row libtool "libtool cc" "$c_sources" \
    'mkdir -p build && libtool --tag=CC --mode=compile cc -c src/f.c -o build/f.lo && libtool --tag=CC --mode=link cc -rpath "$PWD/build" -o build/libf.la build/f.lo && libtool --tag=CC --mode=link cc src/main.c build/libf.la -o build/p' "$edit" \
    'libtool --tag=CC --mode=compile cc -c src/f.c -o build/f.lo && libtool --tag=CC --mode=link cc -rpath "$PWD/build" -o build/libf.la build/f.lo && libtool --tag=CC --mode=link cc src/main.c build/libf.la -o build/p && build/p' "f 44"
row ccache "ccache cc make" "$c_sources"'
    printf "build/p: src/main.c src/f.c src/f.h\n\tmkdir -p build\n\tccache cc -g -c -o build/f.o \$(CURDIR)/src/f.c\n\tccache cc -g -c -o build/main.o \$(CURDIR)/src/main.c\n\tcc -o build/p build/main.o build/f.o\n" >Makefile' \
    'export CCACHE_DIR=$top/ccache; make' "$edit" 'export CCACHE_DIR=$top/ccache; make && build/p' "f 44"
row go "go" 'echo "bin/" >.gitignore; printf "module p\n\ngo 1.19\n" >go.mod; mkdir -p sub
    printf "package sub\n\nfunc F() int { return 3 }\n" >sub/f.go; printf "package main\n\nimport \"p/sub\"\n\nfunc main() { println(\"f\", sub.F()) }\n" >main.go' \
    'GOFLAGS=-buildvcs=false go build -o bin/p .' 'sed -i s/3/44/ sub/f.go' 'GOFLAGS=-buildvcs=false go build -o bin/p . && bin/p' "f 44"
row cargo-build-script cargo 'echo "target/" >.gitignore; cargo init -q --vcs none --name p .; echo one >input
    printf "fn main() {\n    let dir = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap();\n    println!(\"cargo:rerun-if-changed={dir}/input\");\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    std::fs::copy(format!(\"{dir}/input\"), format!(\"{out}/input\")).unwrap();\n}\n" >build.rs
    printf "fn main() { print!(\"script {}\", include_str!(concat!(env!(\"OUT_DIR\"), \"/input\"))); }\n" >src/main.rs
    cargo generate-lockfile -q --offline' 'cargo build -q --offline' 'echo two >input' 'cargo run -q --offline' "script two"
row venv-editable python3 'printf ".venv/\n*.egg-info/\n" >.gitignore; printf "x = 1\n" >mine.py
    printf "[build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n[project]\nname = \"mine\"\nversion = \"1\"\n[project.scripts]\nmine = \"mine:main\"\n[tool.setuptools]\npy-modules = [\"mine\"]\n" >pyproject.toml
    printf "def main():\n    print(\"mine one\", __file__)\n" >mine.py' \
    'test -e .venv || { python3 -m venv .venv && .venv/bin/pip install -q setuptools wheel && .venv/bin/pip install -q --no-build-isolation --no-deps -e .; }' \
    'sed -i s/one/two/ mine.py' '.venv/bin/mine' "mine two $top/venv-editable/fix/mine.py"
row virtualenv "virtualenv python3" 'echo ".venv/" >.gitignore; printf "def main():\n    print(\"mine one\", __file__)\n" >mine.py' \
    'test -e .venv || { virtualenv -q --no-download .venv; printf "#!%s/.venv/bin/python\nimport sys\nsys.path.insert(0, \"%s\")\nimport mine\nmine.main()\nprint(sys.prefix)\n" "$PWD" "$PWD" >.venv/bin/mine; chmod +x .venv/bin/mine; }' \
    'sed -i s/one/two/ mine.py' '.venv/bin/mine && . .venv/bin/activate && command -v python' "mine two $top/virtualenv/fix/mine.py
$top/virtualenv/fix/.venv
$top/virtualenv/fix/.venv/bin/python"
row uv "uv python3" 'printf ".venv/\n" >.gitignore; mkdir -p lib/src/lib app
    printf "[project]\nname = \"root\"\nversion = \"1\"\nrequires-python = \">=3.8\"\ndependencies = [\"lib\"]\n[tool.uv.sources]\nlib = { workspace = true }\n[tool.uv.workspace]\nmembers = [\"lib\"]\n" >pyproject.toml
    printf "[project]\nname = \"lib\"\nversion = \"1\"\nrequires-python = \">=3.8\"\n[project.scripts]\nlib = \"lib:main\"\n[build-system]\nrequires = [\"hatchling\"]\nbuild-backend = \"hatchling.build\"\n" >lib/pyproject.toml
    printf "def main():\n    print(\"lib one\", __file__)\n" >lib/src/lib/__init__.py; uv lock -q' \
    'uv sync -q' 'sed -i s/one/two/ lib/src/lib/__init__.py' '.venv/bin/lib; uv run --offline -q lib' "lib two $top/uv/fix/lib"
row pre-commit "pre-commit python3" 'echo "x" >x.txt; echo "build/" >.gitignore; mkdir build; touch build/x; printf "repos:\n- repo: local\n  hooks:\n  - {id: own, name: own, entry: ./check.sh, language: script, files: txt}\n" >.pre-commit-config.yaml
    printf "#!/bin/sh\necho checked \"\$PWD\" >&2\ncat \"\$@\" >&2\nexit 0\n" >check.sh; chmod +x check.sh' \
    'pre-commit install -q 2>&1 || pre-commit install' 'echo edited >x.txt; git add x.txt' 'pre-commit run -v' "edited"
row pnpm "pnpm node" 'printf "node_modules/\n" >.gitignore; mkdir -p packages/a packages/b; printf "packages:\n- packages/*\n" >pnpm-workspace.yaml
    echo "{\"name\":\"root\",\"private\":true}" >package.json
    echo "{\"name\":\"a\",\"version\":\"1.0.0\",\"bin\":\"run.js\"}" >packages/a/package.json; printf "#!/usr/bin/env node\nconsole.log(\"run one\", __filename)\n" >packages/a/run.js; chmod +x packages/a/run.js
    echo "{\"name\":\"b\",\"version\":\"1.0.0\",\"dependencies\":{\"a\":\"workspace:*\"}}" >packages/b/package.json; pnpm install --silent --offline' true \
    'sed -i s/one/two/ packages/a/run.js' 'packages/b/node_modules/.bin/a' "run two $top/pnpm/fix/packages/a"
row pnpm-hoisted "pnpm node" 'printf "node_modules/\n" >.gitignore; mkdir -p packages/a packages/b; printf "packages:\n- packages/*\n" >pnpm-workspace.yaml; echo "node-linker=hoisted" >.npmrc
    echo "{\"name\":\"root\",\"private\":true}" >package.json
    echo "{\"name\":\"a\",\"version\":\"1.0.0\",\"bin\":\"run.js\"}" >packages/a/package.json; printf "#!/usr/bin/env node\nconsole.log(\"run one\", __filename)\n" >packages/a/run.js; chmod +x packages/a/run.js
    echo "{\"name\":\"b\",\"version\":\"1.0.0\",\"dependencies\":{\"a\":\"workspace:*\"}}" >packages/b/package.json; pnpm install --silent --offline' true \
    'sed -i s/one/two/ packages/a/run.js' 'packages/b/node_modules/.bin/a' "run two $top/pnpm-hoisted/fix/packages/a"
row yarn "yarn node" 'printf "node_modules/\n" >.gitignore; mkdir -p packages/a
    echo "{\"name\":\"root\",\"private\":true,\"workspaces\":[\"packages/*\"]}" >package.json
    echo "{\"name\":\"a\",\"version\":\"1.0.0\",\"bin\":\"run.js\"}" >packages/a/package.json; printf "#!/usr/bin/env node\nconsole.log(\"run one\", __filename)\n" >packages/a/run.js; chmod +x packages/a/run.js
    yarn install --silent --offline' true 'sed -i s/one/two/ packages/a/run.js' 'node_modules/.bin/a' "run two $top/yarn/fix/packages/a"
row node-gyp "node-gyp node make c++" 'printf "build/\n" >.gitignore
    printf "{\x27targets\x27:[{\x27target_name\x27:\x27own\x27,\x27sources\x27:[\x27own.c\x27]}]}" >binding.gyp; echo "{\"name\":\"own\",\"version\":\"1.0.0\"}" >package.json
    printf "#include <node_api.h>\nNAPI_MODULE_INIT() { napi_value v; napi_create_int32(env, 3, &v); return v; }\n" >own.c' \
    'node-gyp configure build --nodedir="$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")"' 'sed -i s/3,/44,/ own.c' \
    'node-gyp build && node -p "\"f \" + require(\"./build/Release/own.node\")"' "f 44"
row tsc "tsc node" 'printf "dist/\n*.tsbuildinfo\n" >.gitignore; mkdir -p a b
    echo "{\"files\":[],\"references\":[{\"path\":\"a\"},{\"path\":\"b\"}]}" >tsconfig.json
    for p in a b; do echo "{\"compilerOptions\":{\"composite\":true,\"outDir\":\"dist\",\"rootDir\":\".\",\"types\":[],\"module\":\"commonjs\"},\"include\":[\"*.ts\"],\"references\":$([ $p = b ] && echo "[{\"path\":\"../a\"}]" || echo "[]")}" >$p/tsconfig.json; done
    echo "export const f = 3" >a/f.ts; printf "import { f } from \"../a/f\"\nexport const g = \"f \" + f\n" >b/g.ts' \
    'tsc -b' 'echo "export const f = 44" >a/f.ts' 'tsc -b -v && cat a/dist/f.js' "f = 44"
row vite "vite node" 'printf "node_modules/\ndist/\n" >.gitignore; echo "{\"name\":\"p\",\"private\":true}" >package.json; mkdir -p node_modules/dep
    echo "<script type=module src=/main.js></script>" >index.html; echo "document.title = \"f 3\"" >main.js; echo "{\"name\":\"dep\"}" >node_modules/dep/package.json' \
    'vite build --logLevel error' 'echo "document.title = \"f 44\"" >main.js' 'vite build --logLevel error && cat dist/assets/*.js' "f 44"
row jest "jest node" 'printf "node_modules/\n.cache/\n" >.gitignore; echo "{\"name\":\"p\",\"private\":true,\"jest\":{\"cacheDirectory\":\".cache/jest\"}}" >package.json
    echo "exports.f = 3" >f.js; echo "test(\"f\", () => console.log(\"f\", require(\"./f\").f))" >f.test.js; mkdir -p node_modules; touch node_modules/x' \
    'jest --ci --runInBand' 'echo "exports.f = 44" >f.js' 'jest --ci --runInBand' "f 44"
row turbo "turbo node npm" 'printf "node_modules/\n.turbo/\ndist/\n" >.gitignore; mkdir -p packages/a
    echo "{\"name\":\"p\",\"private\":true,\"packageManager\":\"npm@10.0.0\",\"workspaces\":[\"packages/*\"]}" >package.json
    echo "{\"tasks\":{\"build\":{\"outputs\":[\"dist/**\"]}}}" >turbo.json; echo "f 3" >packages/a/f
    echo "{\"name\":\"a\",\"version\":\"1.0.0\",\"scripts\":{\"build\":\"mkdir -p dist && cp f dist/f && cat dist/f && pwd\"}}" >packages/a/package.json
    npm install --offline --silent --no-audit --no-fund' 'export TURBO_TELEMETRY_DISABLED=1 DO_NOT_TRACK=1; turbo run build --no-daemon --cache-dir=.turbo/cache' 'echo "f 44" >packages/a/f' \
    'export TURBO_TELEMETRY_DISABLED=1 DO_NOT_TRACK=1; turbo run build --no-daemon --cache-dir=.turbo/cache && cat packages/a/dist/f' "f 44"
row nx "nx node npm" 'printf "node_modules/\n.nx/\ndist/\n" >.gitignore; mkdir -p packages/a
    echo "{\"name\":\"p\",\"private\":true,\"workspaces\":[\"packages/*\"]}" >package.json
    echo "{\"targetDefaults\":{\"build\":{\"cache\":true,\"inputs\":[\"{projectRoot}/f\"],\"outputs\":[\"{projectRoot}/dist\"]}}}" >nx.json; echo "f 3" >packages/a/f
    echo "{\"name\":\"a\",\"version\":\"1.0.0\",\"scripts\":{\"build\":\"mkdir -p dist && cp f dist/f && pwd\"}}" >packages/a/package.json
    npm install --offline --silent --no-audit --no-fund; ln -s "$(dirname "$(dirname "$(dirname "$(readlink -f "$(command -v nx)")")")")/nx" node_modules/nx' 'export NX_DAEMON=false NX_NO_CLOUD=true; nx run a:build' 'echo "f 44" >packages/a/f' \
    'export NX_DAEMON=false NX_NO_CLOUD=true; nx run a:build && cat packages/a/dist/f' "f 44"
for bundler in webpack turbopack; do
    turbopack=; [ $bundler = webpack ] || turbopack=--turbopack
    row next-$bundler "next node" 'printf "node_modules/\n.next/\nnext-env.d.ts\n" >.gitignore; mkdir -p app; echo "{\"name\":\"p\",\"private\":true}" >package.json
    printf "export default function Layout({ children }) { return <html><body>{children}</body></html> }\n" >app/layout.js; printf "export default function Page() { return <p>{\"f 3\"}</p> }\n" >app/page.js
    cp -a "$(cd "$(dirname "$(readlink -f "$(command -v next)")")/../../.." && pwd)" node_modules' \
        "NEXT_TELEMETRY_DISABLED=1 node_modules/.bin/next build $turbopack" 'sed -i "s/f 3/f 44/" app/page.js' \
        "NEXT_TELEMETRY_DISABLED=1 node_modules/.bin/next build $turbopack && cat .next/server/app/index.html" "f 44"
done
row husky "husky node npm" 'printf "node_modules/\n.husky/_/\n" >.gitignore; echo "{\"name\":\"p\",\"private\":true}" >package.json; mkdir -p node_modules; touch node_modules/x; husky
    printf "echo hook in \"\$PWD\"\n" >.husky/pre-commit' 'husky' 'echo x >x.txt; git add x.txt' 'git commit -qm two' "hook in $top/husky/fix"
exit $failed
