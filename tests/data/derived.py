"""Helpers for scripts that make test files once, in a folder of the cache.

The folder gets a manifest.json with the inputs (scripts and package versions) and the sizes and
hashes of its files. A second run with the same inputs does nothing, except that `--verify` checks
the hashes.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path


def cache():
    return Path(os.environ.get("TABLM_CACHE") or Path.home() / ".cache" / "tablm")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def say(text):
    print(f"{Path(sys.argv[0]).stem}: {text}", file=sys.stderr, flush=True)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def inputs(scripts, **more):
    """Returns what determines the files: hashes of scripts, package versions, and `more`."""
    packages = {name: version(name) for name in ("gguf", "numpy", "safetensors", "tokenizers")}
    return {
        "scripts": {Path(script).name: sha256(script) for script in scripts},
        "packages": packages,
        **more,
    }


def is_made(folder, made_from, verify):
    """True if the folder has the files of its manifest, made from these inputs."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return False
    said = json.loads(manifest.read_text())
    if said["inputs"] != made_from:
        return False
    for name, file in said["files"].items():
        path = folder / name
        if not path.exists() or path.stat().st_size != file["size_bytes"]:
            return False
        if verify and sha256(path) != file["sha256"]:
            return False
    return True


def once(folder, made_from, make):
    """Calls `make(folder)` unless its files exist. Replaces the folder in one step."""
    if is_made(folder, made_from, "--verify" in sys.argv):
        say(f"{folder} is up to date")
        return
    parent = folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".making-", dir=parent))
    try:
        make(work)
        files = sorted(path for path in work.rglob("*") if path.is_file())
        entries = {
            str(path.relative_to(work)): {"size_bytes": path.stat().st_size, "sha256": sha256(path)}
            for path in files
        }
        write_json(work / "manifest.json", {"inputs": made_from, "files": entries})
        work.chmod(0o755)
        old = Path(tempfile.mkdtemp(prefix=".old-", dir=parent))
        if folder.exists():
            folder.rename(old / folder.name)
        work.rename(folder)
        shutil.rmtree(old)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f"made {folder}")
