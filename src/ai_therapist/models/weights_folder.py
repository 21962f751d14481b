"""Weights on this machine: what a folder is called, and that it holds nothing but safetensors."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ai_therapist.errors import ConfigError, MissingInput

_BLOCKS, _BLOCK_BYTES = 64, 1 << 16
_DESCRIBING = (".json", ".jinja", ".model", ".txt")


def check_weights(folder: Path) -> None:
    """Raises ConfigError where a file of the folder that is named as safetensors is none by its content.

    Only the header is read, of at most 100 MB; nothing is unpickled, whatever the file holds.
    """
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise ConfigError(f"{path.name} of {folder.name} is no whole safetensors file ({error})") from None


def folder_revision(folder: Path) -> str:
    """12 digits that tell the models of two folders apart: a sha256 over the small files and samples of the weights.

    64 blocks of 64 KiB are read of every file of weights, spread evenly, so that a model of many gigabytes is named
    in a moment. Raises MissingInput where there is no model and ConfigError where its weights are no safetensors.
    """
    if not (folder / "config.json").is_file():
        raise MissingInput(f"{folder} holds no model: it needs config.json, tokenizer and safetensors files")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    weights = [path for path in files if path.suffix == ".safetensors"]
    if not weights:
        raise ConfigError(f"{folder} holds no weights in safetensors, the only form that is opened")
    check_weights(folder)
    digest = hashlib.sha256()
    for path in files:
        if path.suffix in _DESCRIBING:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for path in weights:
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}".encode())
        with path.open("rb") as file:
            for block in range(_BLOCKS):
                file.seek(block * max(size - _BLOCK_BYTES, 0) // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()[:12]
