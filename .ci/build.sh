#!/usr/bin/env bash
# Builds a part of the product: `.ci/build.sh PART…`, parts native, package, page, compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

WASM_TARGET=wasm32-unknown-unknown

build_native() { cargo build --release --locked; }

# What asks a GPU's compiler about kernels, for the benchmark.
build_compiler() { cargo build --release --locked --example compiler; }

# build_wasm NAME [RUSTC OPTION…]: the engine as wasm and its JS glue, beside the options that every
# build for browsers has (.cargo/config.toml). Each in a folder of its own: their wasm has the same name, and
# builds that take turns at it are made anew each time.
build_wasm() {
    local name=$1 flags folder="$TARGET_DIR/wasm-$1"
    local wasm="$folder/$WASM_TARGET/web/tablm.wasm"
    flags=$(printf '"%s",' "${@:2}")
    cargo build --profile web --target $WASM_TARGET --target-dir "$folder" --lib --locked \
        ${2:+--config "target.$WASM_TARGET.rustflags=[${flags%,}]"}
    if [ ! "pkg/dist/wasm/$name/tablm_bg.wasm" -nt "$wasm" ]; then
        rm -rf "pkg/dist/wasm/$name"
        "$WASM_BINDGEN" "$wasm" "pkg/dist/wasm/$name" tablm
    fi
}

# The same for workers that share its memory: all of the address space, should it be needed. The standard
# library is built along, for the published one knows of no threads; stable cargo does that if told to.
build_wasm_threads() {
    local name=$1 link
    shift
    for link in shared-memory import-memory max-memory=$((1 << 32)) export=__wasm_init_tls export=__tls_{size,align,base}; do
        set -- "$@" "-Clink-arg=--$link"
    done
    RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort build_wasm "$name" "$@" -Ctarget-feature=+atomics
}

# The engine for each kind of browser (pkg/src/builds.ts chooses), and the TypeScript around it.
build_package() {
    # What an earlier layout left.
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
