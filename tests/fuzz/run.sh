#!/usr/bin/env bash
# Runs every fuzz target for SECONDS (default 5) from its corpus: `run.sh [SECONDS [TARGET…]]`.
# Fails on a crash, a hang, or memory beyond the limits, total or per byte of the input
# (src/bounds.rs); the failing input is kept and named.
#
# The flags are those of `cargo fuzz run --sanitizer none`: with coverage counters but without a
# sanitizer, a stable compiler suffices and cargo-fuzz is not needed. New inputs stay outside the
# repository; those worth keeping are copied to corpus/TARGET/ by hand.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-5}
[ $# -gt 0 ] && shift
target_dir="${CARGO_TARGET_DIR:-target}/fuzz"
mkdir -p "$target_dir"
target_dir=$(cd "$target_dir" && pwd)
work="$target_dir/work"
host=$(rustc -vV | sed -n 's/^host: //p')

if ! command -v c++ >/dev/null && ! command -v g++ >/dev/null &&
    ! command -v clang++ >/dev/null; then
    . .ci/lib.sh
    apt_install g++ ||
        fail "no C++ compiler, which is required to build libFuzzer" "install g++ or clang++"
fi

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for source in tests/fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$source" .rs)"); done
fi

sancov="-Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    sancov+=" -Cllvm-args=-sanitizer-coverage-$option"
done
echo "fuzz: building ${targets[*]}"
# With an explicit --target, build scripts and macros are built without the counters.
RUSTFLAGS="$sancov --cfg fuzzing -Ccodegen-units=1" CARGO_INCREMENTAL=0 \
    cargo build --quiet --release --locked --manifest-path tests/fuzz/Cargo.toml \
    --target "$host" --target-dir "$target_dir" --bins

# fuzz_one TARGET: prints only when it ends, because two run at a time.
fuzz_one() {
    local target=$1 found="$work/$1"
    rm -rf "$found"
    mkdir -p "$found/corpus" "$found/crashes"
    local corpus=("$found/corpus")
    [ -d "tests/fuzz/corpus/$target" ] && corpus+=("tests/fuzz/corpus/$target")
    if "$target_dir/$host/release/$target" -max_total_time="$seconds" -timeout=5 \
        -rss_limit_mb=1024 -malloc_limit_mb=512 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="$found/crashes/" \
        "${corpus[@]}" >"$found/log" 2>&1; then
        printf 'fuzz: %s for %s s\n%s\n' "$target" "$seconds" \
            "$(grep -E 'number_of_executed_units|peak_rss_mb' "$found/log")"
    else
        printf '%s\nfuzz: %s failed; input in %s\n' \
            "$(tail -n 40 "$found/log")" "$target" "$found/crashes"
        return 1
    fi
}

failed=0
for ((first = 0; first < ${#targets[@]}; first += 2)); do
    running=()
    for target in "${targets[@]:first:2}"; do
        fuzz_one "$target" &
        running+=($!)
    done
    for process in "${running[@]}"; do wait "$process" || failed=1; done
done
exit $failed
