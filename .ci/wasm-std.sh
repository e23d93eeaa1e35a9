#!/usr/bin/env bash
# Installs the sources of Rust's standard library and builds it for wasm32, for toolchains without
# rustup. The sources, of exactly this compiler's version, are from Debian's package rust-src.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

TARGET=wasm32-unknown-unknown
SYSROOT=$(rustc --print sysroot)
VERSION=$(rustc --version | cut -d' ' -f2)
SOURCES="$TOOLS/rust-src-$VERSION"
HINT="rustup target add $TARGET (or install the wasm32 standard library of rustc $VERSION)"

# Prints the address of the Debian archive in apt's sources.
debian_address() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        sed -n -E 's/^(deb(-src)? (\[[^]]*\] )?|URIs: )(https?:[^ ]*\/debian)\/?( .*|$)/\4/p' |
        grep -v security | head -n 1 || true
}

# Runs apt with private lists, which leaves the system's own lists unchanged.
private_apt() {
    local tool=$1
    shift
    "$tool" -o Dir::Etc::sourcelist="$APT/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::Lists="$APT/lists" -o Dir::Cache="$APT/cache" -o APT::Get::List-Cleanup=0 \
        -o APT::Sandbox::User="$(id -un)" "$@"
}

fetch_sources() {
    local address suite version keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    have apt-get && have dpkg || fail "no apt to fetch the standard library's sources" "$HINT"
    address=$(debian_address)
    [ -n "$address" ] || fail "found no Debian archive in apt's sources" "$HINT"
    APT=$(mktemp -d)
    trap 'rm -rf "$APT"' EXIT
    mkdir -p "$APT/lists/partial" "$APT/cache/archives/partial" "$SOURCES"
    for suite in trixie-backports trixie forky sid; do
        echo "deb [signed-by=$keyring] $address $suite main" >"$APT/sources.list"
        private_apt apt-get update -qq >/dev/null 2>&1 || continue
        version=$(private_apt apt-cache madison rust-src 2>/dev/null | cut -d'|' -f2 | tr -d ' ' |
            grep -E "^${VERSION//./\\.}[+~-]" | head -n 1) || true
        [ -n "$version" ] || continue
        say "rust-src $version from $suite"
        (cd "$APT" && private_apt apt-get download -qq "rust-src=$version") >/dev/null 2>&1 ||
            continue
        dpkg -x "$APT"/rust-src_*.deb "$SOURCES"
        return
    done
    fail "no Debian suite has rust-src $VERSION" "$HINT"
}

link_sources() {
    mkdir -p "$SYSROOT/lib/rustlib/src/rust"
    local lock
    lock=$(find "$SOURCES" -path '*/library/Cargo.lock' | head -n 1)
    ln -sfn "$(dirname "$lock")" "$SYSROOT/lib/rustlib/src/rust/library"
}

build_std() {
    local work="$TOOLS/wasm-std-build" deps
    rm -rf "$work" && mkdir -p "$work/src"
    # An empty crate; -Zbuild-std compiles the standard library for it.
    local package='name = "empty_for_std"\nversion = "0.0.0"\n'
    printf "[package]\n${package}edition = \"2024\"\n\n[workspace]\n" >"$work/Cargo.toml"
    printf "version = 4\n\n[[package]]\n$package" >"$work/Cargo.lock"
    echo '#![no_std]' >"$work/src/lib.rs"
    # Fat link-time optimization needs bitcode in the rlibs.
    (cd "$work" && RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes CARGO_TARGET_DIR="$work/target" \
        env -u CARGO_ENCODED_RUSTFLAGS cargo build --quiet --release --locked --target $TARGET \
        -Zbuild-std=std,panic_abort,panic_unwind,proc_macro,test)
    deps="$work/target/$TARGET/release/deps"
    rm -f "$deps"/libempty_for_std-*.rlib
    mkdir -p "$SYSROOT/lib/rustlib/$TARGET/lib"
    cp "$deps"/*.rlib "$SYSROOT/lib/rustlib/$TARGET/lib/"
    rm -rf "$work"
}

compgen -G "$SOURCES/usr/src/rustc-*/library/Cargo.lock" >/dev/null || fetch_sources
std_sources_present || link_sources
wasm_std_present && exit
say "building the standard library for $TARGET"
build_std || fail "the standard library for $TARGET did not build" "$HINT"
