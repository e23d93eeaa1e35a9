#!/usr/bin/env bash
# Tests the CPU executor on 64-bit ARM in the emulator qemu: `.ci/test-arm.sh [TEST ARGUMENT…]`. It
# is not part of `make test`, because it installs an emulator and a linker, and may build the
# standard library.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

TARGET=aarch64-unknown-linux-gnu
HINT="install qemu-user, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross; rustup target add $TARGET"

have qemu-aarch64 && have aarch64-linux-gnu-gcc ||
    apt_install qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross ||
    fail "no emulator or no linker for $TARGET" "$HINT"

SYSROOT=$(rustc --print sysroot)
STD=()
if ! compgen -G "$SYSROOT/lib/rustlib/$TARGET/lib/libstd-*.rlib" >/dev/null &&
    ! rustup target add $TARGET >/dev/null 2>&1; then
    [ -e "$SYSROOT/lib/rustlib/src/rust/library" ] ||
        fail "no standard library for $TARGET, and no sources" "$HINT"
    export RUSTC_BOOTSTRAP=1
    STD=(-Zbuild-std=std,panic_unwind,test)
fi
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
cargo test --release --locked --target $TARGET "${STD[@]}" --config profile.release.debug=0 \
    --lib --test cpu -- "$@"
