#!/usr/bin/env bash
# Builds a part of the product: `.ci/build.sh PART…`, parts native, package, page, compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

WASM="$TARGET_DIR/wasm32-unknown-unknown/web/tablm.wasm"

build_native() { cargo build --release --locked; }

# What asks a GPU's compiler about kernels, for the benchmark.
build_compiler() { cargo build --release --locked --example compiler; }

# The engine as wasm, its JS glue, and the TypeScript around it.
build_package() {
    cargo build --profile web --target wasm32-unknown-unknown --lib --locked
    if [ ! pkg/dist/wasm/tablm_bg.wasm -nt "$WASM" ]; then
        rm -rf pkg/dist/wasm
        "$WASM_BINDGEN" "$WASM" pkg/dist/wasm tablm
    fi
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
