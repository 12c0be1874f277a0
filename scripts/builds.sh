#!/usr/bin/env bash
# Real builds in views beside the same in a plain copy: exit status and every file they leave must be the same.
#
# For each row a small repository is made and built. A copy of it (`cp -a`) and a worktree (`depsfs create`) are then
# put at the same path, one after the other, and the row's commands run in each. Compared are the exit status of each
# command, and names, types, modes, sizes, links and contents of all files afterwards (but for what the row says is
# never the same twice). npm packages are pinned and come through the ordinary client.
#
# Everything lies in one temporary directory (also the store) and is removed again, after Ctrl-C too. Prints PASS, FAIL
# or SKIP per row; exit 1 when a row failed, 2 for wrong usage.
#
#   scripts/builds.sh                    all rows
#   scripts/builds.sh --only NAME …      these rows
#   scripts/builds.sh --list             their names
#   scripts/builds.sh --keep             leave the directory to look around
#
#   DEPSFS=target/debug/depsfs           the program to use; default: the release build, which is made
set -euo pipefail
export LC_ALL=C CI=
unset CARGO_TARGET_DIR CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE NODE_OPTIONS
unset CI

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
offline=(dd jq-cat jq-mv snapshots touch xargs-rm sed rm-mkdir git-clean make ninja tar rsync cargo)
online=(npm-ci npm-install yarn yarn-berry pnpm tsc webpack next jest esbuild chokidar node-watch)
keep='' only=()
while [ $# -gt 0 ]; do
    case $1 in
        --only)
            shift
            [ $# -gt 0 ] || { echo "builds: --only needs a name" >&2; exit 2; }
            while [ $# -gt 0 ] && [[ $1 != --* ]]; do only+=("$1"); shift; done
            continue
            ;;
        --list) printf '%s\n' "${offline[@]}" "${online[@]}"; exit 0 ;;
        --keep) keep=yes ;;
        *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done
rows=("${only[@]}")
[ ${#rows[@]} -gt 0 ] || rows=("${offline[@]}" "${online[@]}")

work=
clean_up() {
    set +e
    cd /
    [ -n "$work" ] || return
    if [ -n "$keep" ]; then
        echo "left: $work (DEPSFS_STORE=$work/store)"
        return
    fi
    [ ! -d "$work/run/base" ] || (cd "$work/run/base" && "$depsfs" remove w --discard-changes --discard-untracked --discard-commits --lazy >/dev/null 2>&1)
    [ ! -d "$work/run/w" ] || (cd "$work/run/w" && "$depsfs" unmount --lazy >/dev/null 2>&1)
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

depsfs=${DEPSFS:-$top/target/release/depsfs}
if [ -z "${DEPSFS:-}" ]; then
    cargo build --release --locked --quiet --manifest-path "$top/Cargo.toml"
fi
depsfs=$(realpath "$depsfs")
work=$(realpath "$(mktemp -d "${TMPDIR:-/tmp}/depsfs-builds.XXXXXX")")
mkdir -p "$work/run" "$work/bin"
export DEPSFS_STORE=$work/store XDG_STATE_HOME=$work/state npm_config_cache=$work/npm npm_config_fund=false
export npm_config_audit=false npm_config_update_notifier=false npm_config_loglevel=error NEXT_TELEMETRY_DISABLED=1
export YARN_CACHE_FOLDER=$work/yarn YARN_ENABLE_TELEMETRY=0 YARN_ENABLE_GLOBAL_CACHE=false

# --- what rows are made of ----------------------------------------------------------------------------------------

need() { # need <command…>: or the row is skipped
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null || { echo "$command is not installed" >"$work/skip"; return 1; }
    done
}

repo() { # repo <ignored pattern…>: an empty repository
    rm -rf "$work/run/base"
    git init -q -b main "$work/run/base"
    cd "$work/run/base"
    git config user.name Builder
    git config user.email builder@example.org
    printf '%s\n' "$@" >.gitignore
}

commit() {
    git add -A
    git commit -q --allow-empty -m "as built"
}

packages() { # packages <npm package@version…>: package.json and node_modules with these, without scripts
    printf '{ "name": "row", "version": "1.0.0", "private": true }\n' >package.json
    npm install --silent --save-exact "$@" >"$work/npm.log" 2>&1 || { cat "$work/npm.log" >&2; return 1; }
}

tool() { # tool <npm package@version> <path of its program>: prints the program's path
    local at=$work/bin/${1//\//-}
    [ -d "$at" ] || npm install --silent --prefix "$at" "$1" >"$work/npm.log" 2>&1 || { cat "$work/npm.log" >&2; return 1; }
    echo "$at/node_modules/$2"
}

# run <command…>: its exit status is noted, what it says goes to the log.
run() {
    local code=0
    timeout --kill-after=10 600 "$@" >>"$log" 2>&1 </dev/null || code=$?
    echo "exit $code: $1" >>"$results"
    [ "$code" -lt 124 ] || echo "$*: ended with $code" >>"$log"
}

note() { # note <word…>: a result that must be the same
    echo "$*" >>"$results"
}

# listing <pattern>: names, types, modes, sizes, links, hashes of everything but .git and what matches.
listing() {
    find . -path ./.git -prune -o ! -type d -printf '%y %m %s %n %l %p\n' -o -printf '%y %m - - %p\n' |
        grep -vE -- "$1" | sort -k 6
    find . -path ./.git -prune -o -type f -print0 | sort -z | grep -zvE -- "$1" | xargs -0r sha256sum
}

never_the_same='^$'

# --- the rows: base_NAME makes and builds the repository, row_NAME works in the copy and in the worktree ----------

# What builds of aztec-packages do to artifacts after a cache hit.
base_dd() {
    repo build/
    mkdir -p build/bin
    head -c 3000000 /dev/zero | tr '\0' x >build/bin/bb
    printf SENTINEL | dd of=build/bin/bb bs=1 seek=1500000 conv=notrunc status=none
    cp -p build/bin/bb build/bin/other
    commit
}
row_dd() {
    local at
    at=$(grep -abo SENTINEL build/bin/bb | cut -d: -f1)
    printf 'deadbee\0' | run dd of=build/bin/bb bs=1 seek=$((at + 8)) conv=notrunc
    run sh -c "printf 'deadbee\\0' | dd of=build/bin/bb bs=1 seek=$((at + 8)) conv=notrunc"
    run cmp build/bin/bb build/bin/other
}

base_jq-cat() {
    need jq
    repo target/
    mkdir target
    for i in 1 2 3 4 5; do printf '{"name":"c%s","bytecode":"%01000d"}' $i 7 >target/c$i.json; done
    mkdir contracts && cp target/*.json contracts/
    commit
}
row_jq-cat() {
    run rm -rf target
    run mkdir -p target
    local c
    for c in contracts/*.json; do
        run cp "$c" target/
        run sh -c "jq -c '.name += \"!\"' target/${c##*/} > tmp.json; cat tmp.json > target/${c##*/}; rm tmp.json"
    done
}

base_jq-mv() { base_jq-cat; }
row_jq-mv() {
    run sh -c 'for f in target/*.json; do jq . "$f" > "$f.tmp" && mv "$f.tmp" "$f"; done'
    run rm target/c3.json
    run rm -rf target
    run mkdir -p target/keys
    run sh -c 'cp contracts/c1.json target/c1.json.tmp; mv target/c1.json.tmp target/c1.json; : > target/keys/k; rm target/keys/k'
}

base_snapshots() {
    repo dest/
    mkdir -p dest/node/__snapshots__/deep src/__snapshots__
    echo old >dest/node/__snapshots__/a.snap
    echo old >dest/node/__snapshots__/deep/b.snap
    echo new | tee src/__snapshots__/a.snap >src/__snapshots__/c.snap
    commit
}
row_snapshots() {
    run rm -rf dest/node/__snapshots__
    run cp -r src/__snapshots__ dest/node/
}

base_touch() {
    repo dest/
    mkdir -p dest/a/b
    for i in $(seq 200); do echo $i >dest/a/f$i; echo $i >dest/a/b/f$i; done
    ln -s a dest/link
    commit
}
row_touch() {
    run sh -c 'cd dest && find . -exec touch -d @0 {} +'
    note "$(cd dest && find . ! -type l -printf '%p %T@\n' | sort | sha256sum)"
    run chmod -R go-w dest
}

base_xargs-rm() {
    repo node_modules/ dest/ '*.log'
    mkdir -p node_modules/p pkg/dest/sub
    echo p >node_modules/p/index.js
    echo d | tee pkg/dest/a >pkg/dest/sub/b
    echo l >pkg/x.log
    echo s >pkg/source
    commit
}
row_xargs-rm() {
    run sh -c 'git ls-files --others --ignored --exclude-standard --directory | grep -v node_modules | xargs rm -rf'
    run test -e node_modules/p/index.js
    run mkdir -p pkg/dest
    run git status --porcelain
}

base_sed() {
    repo build/
    mkdir -p build/cmake/sub
    for f in build/cmake/a.cmake build/cmake/sub/b.cmake; do printf 'set(ROOT "/old/root/build")\nset(X "%s")\n' $f >$f; done
    commit
}
row_sed() {
    run sh -c 'find build -name "*.cmake" -exec sed -i "s,/old/root,$PWD,g" {} +'
}

base_rm-mkdir() {
    repo 'build*/' out/ cache/
    mkdir -p build build-arm out/x cache
    for d in build build-arm out/x cache; do echo $d >$d/f; done
    commit
}
row_rm-mkdir() {
    run sh -ec 'rm -rf build* out cache packages; mkdir build out; echo new > build/f; test ! -e cache'
    run git status --porcelain
}

base_git-clean() { base_xargs-rm; }
row_git-clean() {
    run git clean -ffdx
    run sh -c 'git status --porcelain | grep . && exit 1; exit 0'
    run mkdir -p node_modules/q pkg/dest
}

base_make() {
    need make cc
    repo build/
    printf 'build/%%.o: %%.c common.h\n\t@mkdir -p build; cc -c $< -o $@\n' >Makefile
    printf 'build/app: build/a.o build/b.o\n\tcc $^ -o $@\n' | cat - Makefile >m && mv m Makefile
    echo '#define N 40' >common.h
    printf '#include "common.h"\nint b(void);\nint main(void) { return N + b() == 42 ? 0 : 1; }\n' >a.c
    echo 'int b(void) { return 2; }' >b.c
    commit
    make -s
}
row_make() {
    run make -q
    run sh -c 'make | tee /dev/stderr | grep -q "up to date"'
    sed -i 's/return 2/return 3/' b.c
    run make
    run build/app
    run make -q
    touch common.h
    run sh -c 'test "$(make | grep -c cc)" = 1'
}

base_ninja() {
    need ninja cc
    base_make
    printf 'rule cc\n  command = cc -MD -MF $out.d -c $in -o $out\n  depfile = $out.d\n  deps = gcc\nrule ld\n  command = cc $in -o $out\n' >build.ninja
    printf 'builddir = build\nbuild build/a2.o: cc a.c\nbuild build/b2.o: cc b.c\nbuild build/app2: ld build/a2.o build/b2.o\n' >>build.ninja
    commit
    ninja >/dev/null
}
never_ninja='build/\.ninja_(log|deps)$'
row_ninja() {
    run sh -c 'ninja | grep -q "no work to do"'
    sed -i 's/return 2/return 3/' b.c
    run sh -c 'ninja -v | grep -c "cc " | grep -qx 2'
    run build/app2
    run sh -c 'ninja | grep -q "no work to do"'
}

base_tar() {
    repo out/ in/ back/
    mkdir -p out/a/b
    for i in $(seq 50); do echo old $i >out/a/f$i; done
    ln -s a out/link
    ln out/a/f1 out/a/hard
    chmod 755 out/a/f2
    tar cf over.tar out
    mkdir -p new/out/a new/out/c
    for i in 1 3 60; do echo new $i >new/out/a/f$i; done
    echo c >new/out/c/x
    rm -f new/out/link
    tar cf new.tar -C new out
    rm -rf new
    commit
}
row_tar() {
    run tar xf new.tar
    run cat out/a/hard
    run tar xf over.tar
    run tar xf over.tar --overwrite
    run tar xf new.tar --unlink-first
}

base_rsync() {
    need rsync
    base_tar
    mkdir -p in/a/b && cp -a out/. in/ && echo changed >in/a/f7 && rm in/a/f8 && touch -d @5 in/a/f9
    commit
}
row_rsync() {
    run rsync -a in/ out/
    run sh -c 'rsync -ain in/ out/ | grep . && exit 1; exit 0'
    run rsync -aH --delete --checksum in/ out/
    run rsync -a --inplace --no-whole-file in/a/f1 out/a/f2
    run rsync -a out/ back/
}

base_cargo() {
    need cargo cc
    repo target/
    mkdir -p src dep/src
    printf '[package]\nname = "row"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\ndep = { path = "dep" }\n' >Cargo.toml
    printf '[package]\nname = "dep"\nversion = "0.1.0"\nedition = "2021"\n' >dep/Cargo.toml
    echo 'pub fn n() -> u32 { 40 }' >dep/src/lib.rs
    echo 'fn main() { println!("cargo:rerun-if-changed=dep"); println!("cargo:rustc-env=WHO=row"); }' >build.rs
    echo 'fn main() { println!("{} {}", env!("WHO"), dep::n() + 2); }' >src/main.rs
    cargo build --quiet --offline
    commit
}
never_cargo='target/(debug/(incremental|\.fingerprint|deps|build|row|\.cargo-lock|row\.d)|\.rustc_info\.json)'
row_cargo() {
    run sh -c 'cargo build --offline 2>&1 | tee /dev/stderr | grep -q Compiling && exit 1; exit 0'
    sed -i 's/40/50/' dep/src/lib.rs
    run cargo build --offline
    run sh -c 'test "$(target/debug/row)" = "row 52"'
    run sh -c 'cargo build --offline 2>&1 | grep -q Compiling && exit 1; exit 0'
    run cargo clean --offline
    run cargo build --offline --quiet
    run sh -c 'test "$(target/debug/row)" = "row 52"'
}

# Package managers and bundlers.
small='left-pad@1.3.0 is-odd@3.0.1 semver@7.7.2 chokidar@4.0.3'

base_npm-ci() {
    need node npm
    repo node_modules/
    # shellcheck disable=SC2086
    packages $small
    commit
}
row_npm-ci() {
    run npm ci
    run npm ls
    run node -e 'require("semver").valid("1.2.3") || process.exit(3)'
}

base_npm-install() { base_npm-ci; }
row_npm-install() {
    run npm install is-even@1.0.0
    run node -e 'process.exit(require("is-even")(4) ? 0 : 3)'
    run npm uninstall left-pad
    run npm ls
}

base_yarn() {
    need node npm
    repo node_modules/
    yarn=$(tool yarn@1.22.22 yarn/bin/yarn.js)
    printf '{ "name": "row", "version": "1.0.0", "private": true, "dependencies": { "is-odd": "3.0.1", "semver": "7.7.2" } }\n' >package.json
    node "$yarn" install --silent --non-interactive
    commit
}
row_yarn() {
    run node "$yarn" install --non-interactive --frozen-lockfile
    run node "$yarn" add --non-interactive --exact left-pad@1.3.0
    run node "$yarn" install --non-interactive --force
    run node -e 'require("left-pad")'
}

base_yarn-berry() {
    need node npm
    repo node_modules/ .yarn/
    yarn=$(tool @yarnpkg/cli-dist@4.9.2 @yarnpkg/cli-dist/bin/yarn.js)
    printf '{ "name": "row", "version": "1.0.0", "private": true, "dependencies": { "is-odd": "3.0.1", "semver": "7.7.2" } }\n' >package.json
    printf 'nodeLinker: node-modules\nenableImmutableInstalls: false\n' >.yarnrc.yml
    node "$yarn" install >"$work/npm.log" 2>&1 || { cat "$work/npm.log"; return 1; }
    commit
}
row_yarn-berry() {
    run node "$yarn" install --immutable
    run node "$yarn" add left-pad@1.3.0
    run node "$yarn" remove semver
    run node -e 'require("left-pad")'
}
never_yarn_berry='\.yarn/install-state\.gz'

base_pnpm() {
    need node npm
    repo node_modules/
    pnpm=$(tool pnpm@9.15.9 pnpm/bin/pnpm.cjs)
    printf '{ "name": "row", "version": "1.0.0", "private": true, "dependencies": { "is-odd": "3.0.1", "semver": "7.7.2" } }\n' >package.json
    # No hard links into its own store: they end at the edge of a file system.
    printf "store-dir=%s\npackage-import-method=copy\n" "$work/pnpm" >.npmrc
    node "$pnpm" install --silent
    commit
}
# The script of the removed package stays below .pnpm, with absolute paths: a view has the worktree's there, the copy still
# those of the checkout that it was made of.
never_pnpm='node_modules/(\.modules\.yaml|\.pnpm-workspace-state.*|\.pnpm/lock\.yaml|\.pnpm/semver@.*/\.bin/semver)$'
row_pnpm() {
    run node "$pnpm" install --frozen-lockfile
    run node "$pnpm" add --save-exact left-pad@1.3.0
    run node "$pnpm" remove semver
    run node -e 'require("left-pad")'
    # Removes the directory itself first, which a mount point refuses: see README, Limits.
    run node "$pnpm" install --force
    run node -e 'require("is-odd")'
}

base_tsc() {
    need node npm
    repo node_modules/ dest/
    packages typescript@5.9.3
    mkdir -p a b
    printf '{ "files": [], "references": [{ "path": "a" }, { "path": "b" }] }' >tsconfig.json
    printf '{ "compilerOptions": { "composite": true, "outDir": "../dest/a", "rootDir": "." }, "include": ["*.ts"] }' >a/tsconfig.json
    printf '{ "compilerOptions": { "composite": true, "outDir": "../dest/b", "rootDir": "." }, "include": ["*.ts"], "references": [{ "path": "../a" }] }' >b/tsconfig.json
    echo 'export const n: number = 40;' >a/index.ts
    echo 'import { n } from "../a"; export const m = n + 2;' >b/index.ts
    node node_modules/.bin/tsc -b
    commit
}
row_tsc() {
    run sh -c 'node node_modules/.bin/tsc -b -v | tee /dev/stderr | grep -c "is up to date" | grep -qx 2'
    sed -i 's/40/41/' a/index.ts
    run node node_modules/.bin/tsc -b
    run sh -c 'node node_modules/.bin/tsc -b -v | grep -c "is up to date" | grep -qx 2'
    run node node_modules/.bin/tsc -b --clean
    run node node_modules/.bin/tsc -b
}

base_webpack() {
    need node npm
    repo node_modules/ dist/
    packages webpack@5.101.3 webpack-cli@6.0.1 semver@7.7.2 is-odd@3.0.1
    mkdir src
    echo 'import semver from "semver"; import odd from "is-odd"; console.log(semver.major("42.0.0"), odd(3), import("./lazy.js"));' >src/index.js
    echo 'export default "lazy";' >src/lazy.js
    echo 'module.exports = { mode: "production", target: "node", cache: { type: "filesystem" }, output: { clean: true } };' >webpack.config.js
    node node_modules/.bin/webpack >"$work/npm.log"
    commit
}
never_webpack='node_modules/\.cache'
row_webpack() {
    run node node_modules/.bin/webpack
    run node dist/main.js
    echo 'export default "lazier";' >src/lazy.js
    run node node_modules/.bin/webpack
    run node dist/main.js
}

base_next() {
    need node npm
    repo node_modules/ .next/ next-env.d.ts
    packages next@15.5.4 react@19.1.1 react-dom@19.1.1
    mkdir -p pages
    echo 'export default function Home({ n }) { return <p>{n}</p>; } export async function getStaticProps() { return { props: { n: 42 } }; }' >pages/index.js
    echo 'module.exports = { generateBuildId: () => "same", experimental: { cpus: 1 } };' >next.config.js
    node node_modules/.bin/next build >"$work/npm.log" 2>&1 || { cat "$work/npm.log"; return 1; }
    commit
}
never_next='\.next/(trace|cache|diagnostics|.*manifest.*\.json|required-server-files|build-manifest|types|server/.*manifest.*|export-detail|turbopack|app-build)'
row_next() {
    run node node_modules/.bin/next build
    run grep -q '>42<' .next/server/pages/index.html
    sed -i 's/n: 42/n: 43/' pages/index.js
    run node node_modules/.bin/next build
    run grep -q '>43<' .next/server/pages/index.html
}

base_jest() {
    need node npm
    repo node_modules/ cache/
    packages jest@30.1.3 semver@7.7.2
    echo 'const s = require("semver"); test("major", () => expect(s.major("42.0.0")).toBe(42)); test("snap", () => expect({ a: 1 }).toMatchSnapshot());' >a.test.js
    node node_modules/.bin/jest --cacheDirectory cache --watchman=false >"$work/npm.log" 2>&1 || { cat "$work/npm.log"; return 1; }
    commit
}
never_jest='^.*(\./| )cache/'
row_jest() {
    run node node_modules/.bin/jest --ci --cacheDirectory cache --watchman=false
    sed -i 's/toBe(42)/toBe(43)/' a.test.js
    run node node_modules/.bin/jest --ci --cacheDirectory cache --watchman=false
}

base_esbuild() {
    need node npm
    repo node_modules/ out/
    packages esbuild@0.25.9 semver@7.7.2
    echo 'import semver from "semver"; console.log(semver.major("42.0.0"));' >index.js
    node_modules/.bin/esbuild index.js --bundle --platform=node --outdir=out --log-level=error
    commit
}
row_esbuild() {
    run node_modules/.bin/esbuild index.js --bundle --platform=node --outdir=out --minify --sourcemap
    run node out/index.js
    run node_modules/.bin/esbuild node_modules/semver/semver.js --outfile=node_modules/semver/semver.js --allow-overwrite
    run node out/index.js
}

# Programs that watch files, changed through the view by another process.
base_chokidar() {
    need node npm
    repo node_modules/ watched/
    packages chokidar@4.0.3
    mkdir -p watched/sub
    for i in 1 2 3; do echo $i >watched/f$i; done
    echo s >watched/sub/s
    cat >watch.js <<'JS'
const chokidar = require('chokidar'), { execFileSync } = require('child_process');
const seen = [];
const watcher = chokidar.watch('watched', { ignoreInitial: true });
const steps = ['echo more >> watched/f1', 'echo new > watched/new', 'rm watched/f2', 'mv watched/f3 watched/sub/f3',
    'mkdir watched/dir', 'echo x > watched/dir/x', 'echo more >> watched/sub/s', 'rm -r watched/dir'];
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
watcher.on('all', (event, path) => seen.push(`${event} ${path}`)).on('ready', async () => {
    for (const step of steps) {
        execFileSync('sh', ['-c', step]);
        await pause(400);
    }
    await watcher.close();
    console.log([...new Set(seen)].sort().join('\n'));
});
setTimeout(() => process.exit(9), 30000).unref();
JS
    commit
}
row_chokidar() {
    run node watch.js
    note "$(tail -n 12 "$log")"
}

base_node-watch() {
    need node
    repo lib/
    mkdir lib
    echo 'module.exports = 1;' >lib/n.js
    echo 'require("fs").appendFileSync("said", `n is ${require("./lib/n.js")}\n`); setInterval(() => {}, 1000);' >main.js
    commit
}
row_node-watch() {
    node --watch main.js >>"$log" 2>&1 </dev/null &
    local watcher=$! n
    for n in 2 3; do
        for _ in $(seq 100); do
            [ "$(cat said 2>/dev/null | wc -l)" -lt $((n - 1)) ] || break
            sleep 0.1
        done
        sleep 0.5
        echo "module.exports = $n;" >lib/n.js
    done
    for _ in $(seq 100); do
        ! grep -qs 'n is 3' said || break
        sleep 0.1
    done
    kill $watcher
    wait $watcher 2>/dev/null || true
    sort -u -o said said
    run grep -q 'n is 3' said
}

# --- each row -------------------------------------------------------------------------------------------------------

# in_place <label> <row> <pattern>: runs the row in $work/run/w; results and listing go to files named by the label.
in_place() {
    results=$work/$1.results log=$work/$1.log
    : >"$results"
    : >"$log"
    cd "$work/run/w"
    "row_$2"
    listing "$3" >"$work/$1.files"
    cd "$work"
}

one_row() {
    local row=$1 never=never_${1//-/_}
    rm -f "$work/skip"
    "base_$row" >"$work/base.log" 2>&1 || {
        [ -e "$work/skip" ] && { printf 'SKIP  %s: %s\n' "$row" "$(cat "$work/skip")"; return 0; }
        printf 'FAIL  %s: the base was not built\n' "$row"
        tail -n 20 "$work/base.log"
        return 1
    }
    local pattern=${!never:-$never_the_same} start
    cp -a "$work/run/base" "$work/run/w"
    start=$(date +%s%N)
    in_place plain "$row" "$pattern"
    local plain_ms=$((($(date +%s%N) - start) / 1000000))
    rm -rf "$work/run/w"
    cd "$work/run/base"
    "$depsfs" create w --branch row-view >"$work/base.log" 2>&1 || {
        printf 'FAIL  %s: depsfs create\n' "$row"
        cat "$work/base.log"
        return 1
    }
    [ -z "$(git -C "$work/run/w" status --porcelain)" ] || echo "      $row: git status was not clean"
    start=$(date +%s%N)
    in_place view "$row" "$pattern"
    local view_ms=$((($(date +%s%N) - start) / 1000000)) bad=
    cmp -s "$work/plain.results" "$work/view.results" || bad="results"
    cmp -s "$work/plain.files" "$work/view.files" || bad="${bad:+$bad, }files"
    if [ -z "$bad" ]; then
        printf 'PASS  %-12s %6s ms, plain %6s ms\n' "$row" $view_ms $plain_ms
    else
        printf 'FAIL  %s: other %s than in the plain copy (plain <, view >)\n' "$row" "$bad"
        diff "$work/plain.results" "$work/view.results" | head -n 10 || true
        diff "$work/plain.files" "$work/view.files" | head -n 20 || true
        tail -n 15 "$work/view.log"
    fi
    cd "$work/run/base"
    "$depsfs" remove w --discard-changes --discard-untracked --discard-commits --delete-branch >"$work/base.log" 2>&1 ||
        { cat "$work/base.log"; bad=removed; }
    cd "$work"
    [ -z "$bad" ]
}

failed=0
for row in "${rows[@]}"; do
    [ "$(type -t "row_$row")" = function ] || { echo "builds: there is no row $row (--list)" >&2; exit 2; }
    one_row "$row" || failed=$((failed + 1))
done
"$depsfs" store verify >"$work/base.log" 2>&1 || { cat "$work/base.log"; failed=$((failed + 1)); }
[ $failed = 0 ] || { echo "builds: $failed failed" >&2; exit 1; }
