# Shared functions and paths of the scripts in this folder. Source it from the repository root.

CACHE="${TABLM_CACHE:-$HOME/.cache/tablm}"
TOOLS="$CACHE/tools"
TARGET_DIR="${CARGO_TARGET_DIR:-target}"

say() { printf 'setup: %s\n' "$*" >&2; }

# fail PROBLEM HINT: prints the problem and what to do by hand, then exits.
fail() {
    printf 'setup: failed: %s\n' "$1" >&2
    printf 'setup: by hand: %s\n' "$2" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND…: runs a command as root, or through sudo if that needs no password; fails
# otherwise.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# apt_install PACKAGE…: installs packages on Debian and its derivatives.
apt_install() {
    have apt-get || return 1
    say "apt-get install $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null || true
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The version of wasm-bindgen in Cargo.toml; crate and command must have the same version.
wasm_bindgen_version() { sed -n 's/^wasm-bindgen = "=\(.*\)"$/\1/p' Cargo.toml; }
WASM_BINDGEN="$TOOLS/wasm-bindgen-$(wasm_bindgen_version)/bin/wasm-bindgen-step"

wasm_std_present() {
    local sysroot
    sysroot=$(rustc --print sysroot) || return 1
    compgen -G "$sysroot/lib/rustlib/wasm32-unknown-unknown/lib/libstd-*.rlib" >/dev/null
}

# The standard library's sources, from which the wasm build with threads compiles its own library.
std_sources_present() {
    [ -e "$(rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]
}
