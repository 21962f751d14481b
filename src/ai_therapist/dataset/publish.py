"""The dataset as a folder that `datasets.load_dataset` reads: one parquet file per split and a card.

README.md                             card with the declared features and splits
data/train-00000-of-00001.parquet     text, labels and digests; no media
data/validation-00000-of-00001.parquet
data/test-00000-of-00001.parquet
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ai_therapist.dataset.split import SALT
from ai_therapist.errors import MissingExtra
from ai_therapist.records import Example, Split, Turn

Feature = str | Mapping[str, "Feature"] | Sequence["Feature"]
"""Type of a column: the name of a value type, a mapping of fields, or a list of one of these."""

Row = dict[str, object]

_TURN: Mapping[str, Feature] = {
    "role": "string",
    "start_ms": "int64",
    "end_ms": "int64",
    "text": "string",
    "utterance": "string",
}

FEATURES: Mapping[str, Feature] = {
    "id": "string",
    "session": "string",
    "group": "string",
    "context": [_TURN],
    "client": _TURN,
    "reply": _TURN,
    "client_emotion": "string",
    "strategy": "string",
    "therapist_emotion": "string",
    "clip_sha256": "string",
}
"""Columns of a row in their order. Labels and `clip_sha256` are null where there are none."""


def row_of(example: Example) -> Row:
    """An example as a row of the published table. The group's name becomes a digest: it may name a person."""
    return {
        "id": example.id,
        "session": example.session,
        "group": pseudonym(example.group),
        "context": [_turn_row(turn) for turn in example.context],
        "client": _turn_row(example.client),
        "reply": _turn_row(example.reply),
        **example.labels.model_dump(),
        "clip_sha256": example.clip_sha256,
    }


def pseudonym(group: str) -> str:
    """A name for a group that tells groups apart without naming anyone.

    It hides the name from readers, not from someone who guesses names and hashes them.
    """
    return "grp_" + hashlib.sha256(f"{SALT}:published:{group}".encode()).hexdigest()[:12]


def write_tables(examples: Iterable[Example], folder: Path) -> dict[Split, Path]:
    """Write one parquet file per split that has examples below `folder`/data; returns them by split.

    Raises MissingExtra where pyarrow is not installed.
    """
    pyarrow, parquet = _arrow("pyarrow"), _arrow("pyarrow.parquet")
    rows: dict[Split, list[Row]] = {split: [] for split in Split}
    for example in examples:
        rows[example.split].append(row_of(example))
    schema = pyarrow.schema([pyarrow.field(name, _arrow_type(kind)) for name, kind in FEATURES.items()])
    written = {}
    for split, own in rows.items():
        if own:
            written[split] = folder / "data" / f"{split.value}-00000-of-00001.parquet"
            written[split].parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(pyarrow.Table.from_pylist(own, schema=schema), written[split], compression="zstd")
    return written


def _turn_row(turn: Turn) -> Row:
    return {
        "role": turn.role.value,
        "start_ms": turn.start_ms,
        "end_ms": turn.end_ms,
        "text": turn.text,
        "utterance": turn.utterance,
    }


def _arrow_type(kind: Feature) -> Any:
    pyarrow = _arrow("pyarrow")
    if isinstance(kind, str):
        return getattr(pyarrow, kind)()
    if isinstance(kind, Mapping):
        return pyarrow.struct([pyarrow.field(name, _arrow_type(part)) for name, part in kind.items()])
    return pyarrow.list_(_arrow_type(kind[0]))


def _arrow(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingExtra("the dataset folder", "pyarrow", "train") from None
