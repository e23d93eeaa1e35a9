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
# build for browsers has (.cargo/config.toml). Cargo keeps what builds have apart.
build_wasm() {
    local name=$1 flags wasm="$TARGET_DIR/$WASM_TARGET/web/tablm.wasm"
    flags=$(printf '"%s",' "${@:2}")
    cargo build --profile web --target $WASM_TARGET --lib --locked \
        ${2:+--config "target.$WASM_TARGET.rustflags=[${flags%,}]"}
    if ! cmp -s "$wasm" "$TARGET_DIR/$WASM_TARGET/web/$name.wasm" || [ ! -e "pkg/dist/wasm/$name/tablm_bg.wasm" ]; then
        rm -rf "pkg/dist/wasm/$name"
        "$WASM_BINDGEN" "$wasm" "pkg/dist/wasm/$name" tablm
        cp "$wasm" "$TARGET_DIR/$WASM_TARGET/web/$name.wasm"
    fi
}

# The engine for each kind of browser (pkg/src/builds.ts chooses), and the TypeScript around it.
build_package() {
    # What an earlier layout left.
    rm -f pkg/dist/wasm/tablm*
    build_wasm simd
    build_wasm relaxed -Ctarget-feature=+relaxed-simd
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
