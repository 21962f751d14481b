"""The files of a checkpoint, in a folder or on the hub, with one clear line for each thing that can be wrong."""

import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from .transformers_internals import cached_file_or_none

_WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def stored_file(source: str, name: str) -> Path | None:
    """`name` in a folder or hub repository; None where that holds no such file.

    Raises:
        OSError: there is no such folder or repository, or it cannot be reached.
    """
    if not Path(source).is_dir() and not _HUB_ID.fullmatch(source):
        raise FileNotFoundError(f"{source!r} is no folder and no hub id (owner/name)")
    try:
        found = cached_file_or_none(source, name)
    except OSError as error:
        raise OSError(f"{source!r} is no folder, and the hub did not give {name}: {_first_line(error)}") from error
    return None if found is None else Path(found)


def config_fields(source: str) -> dict[str, Any]:
    """The fields of a checkpoint's config.json.

    Raises:
        OSError: as `stored_file`.
        ValueError: there is none, or it is no JSON object with a `model_type`.
    """
    file = stored_file(source, "config.json")
    if file is None:
        raise ValueError(f"{source!r} holds no config.json; give the folder or hub id of a model")
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"config.json of {source!r} is no JSON ({_first_line(error)})") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("model_type"), str):
        raise ValueError(f"config.json of {source!r} names no model_type; it does not describe a model")
    return fields


def check_tokenizer(source: str) -> None:
    """Refuse a checkpoint without tokenizer files; transformers would speak of other tokenizer libraries.

    Raises:
        OSError: as `stored_file`.
        ValueError: there are none.
    """
    if all(stored_file(source, name) is None for name in _TOKENIZER_FILES):
        raise ValueError(f"{source!r} holds no tokenizer; copy tokenizer.json and tokenizer_config.json into it")


def checkpoint_files(source: str) -> list[Path]:
    """The safetensors files of a checkpoint folder or hub id, in order of name, each with a readable header.

    Raises:
        OSError: as `stored_file`.
        ValueError: there are none (pickled checkpoints are not read), one that the index names is missing, or
            one is damaged.
    """
    for name in _WEIGHT_FILES:
        found = stored_file(source, name)
        if found is None:
            continue
        names = [name]
        if found.suffix == ".json":
            names = sorted(set(json.loads(found.read_text(encoding="utf-8"))["weight_map"].values()))
        return [_readable(source, shard) for shard in names]
    raise ValueError(f"{source!r} holds no {' or '.join(_WEIGHT_FILES)}; give a safetensors checkpoint")


def _readable(source: str, name: str) -> Path:
    file = stored_file(source, name)
    if file is None:
        raise ValueError(f"{source!r} lacks {name!r}, which its index names; copy or download it again")
    try:
        with safe_open(file, framework="pt"):
            return file
    except SafetensorError as error:
        raise ValueError(f"{name!r} of {source!r} is damaged ({error}); copy or download it again") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
