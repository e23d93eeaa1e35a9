#!/usr/bin/env bash
# Builds parts of the project: `.ci/build.sh PART…`. Parts: native package page compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

WASM_TARGET=wasm32-unknown-unknown

build_native() { cargo build --release --locked; }

# The program that compiles kernels with a GPU driver's compiler, for the benchmark.
build_compiler() { cargo build --release --locked --example compiler; }

# build_wasm NAME [RUSTC OPTION…]: builds the engine as wasm, and its JS glue. The options that all
# browser builds share are in .cargo/config.toml. Each build has its own target folder, because the
# wasm files have the same name and would replace each other. The standard library is built too, for
# size, and because the published one has no threads; on stable cargo that needs RUSTC_BOOTSTRAP.
# Inlining stops at a third of LLVM's usual size: the micro-kernels state what has to be inlined.
build_wasm() {
    local name=$1 flags folder="$TARGET_DIR/wasm-$1"
    local wasm="$folder/$WASM_TARGET/web/tablm.wasm"
    flags=$(printf '"%s",' -Cllvm-args=-inline-threshold=75 "${@:2}")
    RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort \
        CARGO_UNSTABLE_BUILD_STD_FEATURES=optimize_for_size \
        cargo build --profile web --target $WASM_TARGET --target-dir "$folder" --lib --locked \
        --config "target.$WASM_TARGET.rustflags=[${flags%,}]"
    if [ ! "pkg/dist/wasm/$name/tablm_bg.wasm" -nt "$wasm" ]; then
        rm -rf "pkg/dist/wasm/$name"
        "$WASM_BINDGEN" "$wasm" "pkg/dist/wasm/$name" tablm
    fi
}

# build_wasm_threads NAME [RUSTC OPTION…]: builds the engine with shared memory of up to 4 GiB.
build_wasm_threads() {
    local name=$1 link
    shift
    for link in shared-memory import-memory max-memory=$((1 << 32)) \
        export=__wasm_init_tls export=__tls_{size,align,base}; do
        set -- "$@" "-Clink-arg=--$link"
    done
    build_wasm "$name" "$@" -Ctarget-feature=+atomics
}

# The engine's wasm builds (pkg/src/builds.ts selects one for a browser) and the TypeScript package.
build_package() {
    # An earlier layout had these files directly in the folder.
    rm -f pkg/dist/wasm/tablm*
    build_wasm simd
    build_wasm relaxed -Ctarget-feature=+relaxed-simd
    build_wasm_threads threads -Ctarget-feature=+relaxed-simd
    node pkg/build.mjs
}

# The static site, with the default model beside it.
build_page() { TABLM_CACHE="$CACHE" node www/build.mjs; }

for part in "$@"; do
    case $part in
    native | package | page | compiler) "build_$part" ;;
    *) fail "unknown part $part" "parts: native package page compiler" ;;
    esac
done
