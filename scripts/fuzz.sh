#!/usr/bin/env bash
# Every fuzz target of tests/fuzz, for a while: libFuzzer, guided by coverage, with the stable toolchain and no tool beside it.
#
#   scripts/fuzz.sh                 60 s of each target, two at a time
#   scripts/fuzz.sh 3600 tar        an hour of one target
#
# It begins with the stored formats of tests/formats, and with the inputs of earlier runs (target/fuzz/corpus). An input
# that makes a target fail is kept in target/fuzz/artifacts, and named. `cargo fuzz` runs the same targets, with a sanitizer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(tar tree manifest journal)

export CARGO_TARGET_DIR=$PWD/target/fuzz
triple=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz gives rustc: counters in every block, compared values, and checks that a release build leaves out.
export RUSTFLAGS="--cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
-C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
-C llvm-args=-sanitizer-coverage-trace-compares -C debug-assertions -C overflow-checks"
cargo build --quiet --release --locked --manifest-path tests/fuzz/Cargo.toml --target "$triple" --bins

# seeds <target>: what a target's corpus begins with.
seeds() {
    case $1 in
        tar)
            tar --format=pax -c README.md tests/formats 2>/dev/null | { printf '\0'; head -c 100000; }
            ;;
        tree) printf '\1' && cat tests/formats/tree-1 ;;
        manifest) cat tests/formats/manifest-1.json ;;
        journal) tail -c +17 tests/formats/journal-4 ;; # behind the header
    esac
}

# run <target>: the last lines of its log go to stdout; its exit code is libFuzzer's.
run() {
    local target=$1 corpus=$CARGO_TARGET_DIR/corpus/$1 artifacts=$CARGO_TARGET_DIR/artifacts/$1 code=0
    mkdir -p "$corpus" "$artifacts"
    seeds "$target" >"$corpus/seed"
    timeout --kill-after=10 $((seconds + 120)) "$CARGO_TARGET_DIR/$triple/release/$target" "$corpus" \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=131072 \
        -artifact_prefix="$artifacts/" >"$CARGO_TARGET_DIR/$target.log" 2>&1 || code=$?
    if [ "$code" = 0 ]; then
        printf '  %-9s %s\n' "$target" "$(sed -n 's/^Done \(.*\)/\1/p' "$CARGO_TARGET_DIR/$target.log")"
    else
        tail -40 "$CARGO_TARGET_DIR/$target.log"
        printf 'fuzz.sh: FAILED: %s\n' "$target"
    fi
    return "$code"
}

failed=0
while [ ${#targets[@]} -gt 0 ]; do
    pids=()
    for target in "${targets[@]:0:2}"; do
        run "$target" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || failed=1
    done
    targets=("${targets[@]:2}")
done
exit "$failed"
