# What the scripts of this folder share: where things are kept, how they speak, how they fail.
# Source it from the repository root.

CACHE="${TABLM_CACHE:-$HOME/.cache/tablm}"
TOOLS="$CACHE/tools"
TARGET_DIR="${CARGO_TARGET_DIR:-target}"

say() { printf 'setup: %s\n' "$*" >&2; }

# fail WHAT HINT: say what is missing and what to do by hand, then stop.
fail() {
    printf 'setup: failed: %s\n' "$1" >&2
    printf 'setup: by hand: %s\n' "$2" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND…: directly as root, through sudo where that needs no password, else not at all.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo && sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

# apt_install PACKAGE…: Debian and its relatives only.
apt_install() {
    have apt-get || return 1
    say "apt-get install $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The locked wasm-bindgen: crate and command must be the same version.
wasm_bindgen_version() { sed -n 's/^wasm-bindgen = "=\(.*\)"$/\1/p' Cargo.toml; }
WASM_BINDGEN="$TOOLS/wasm-bindgen-$(wasm_bindgen_version)/bin/wasm-bindgen-step"

wasm_std_present() {
    local sysroot
    sysroot=$(rustc --print sysroot) || return 1
    compgen -G "$sysroot/lib/rustlib/wasm32-unknown-unknown/lib/libstd-*.rlib" >/dev/null
}

# Its sources, of which the build with threads makes its own.
std_sources_present() { [ -e "$(rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]; }
