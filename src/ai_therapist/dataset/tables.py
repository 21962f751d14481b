"""Tables of the dataset folder: columns with their types, one parquet file for each split, read back as they were.

One declaration of columns makes the parquet schema, the header of the card and the Croissant description.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_therapist.errors import MissingExtra
from ai_therapist.records import Split

Feature = str | Mapping[str, "Feature"] | Sequence["Feature"]
"""Type of a column: the name of a value type, a mapping of fields, or a list of one of these.

"video" and "audio" are the content of a file with its name.
"""

Row = dict[str, object]

_MEDIA: Mapping[str, Feature] = {"bytes": "binary", "path": "string"}
"""What a video or audio column holds."""


@dataclass(frozen=True)
class Table:
    """One configuration of the dataset: a name that is asked for, what its rows are, and their columns in order."""

    name: str
    about: str
    features: Mapping[str, Feature]

    def folder(self) -> str:
        """Where its files lie below the dataset folder."""
        return "data" if self.name == "default" else self.name


def write_table(table: Table, rows: Mapping[Split, Sequence[Row]], folder: Path) -> dict[Split, Path]:
    """Write one parquet file for every split that has rows; returns them by split.

    Raises MissingExtra where pyarrow is not installed.
    """
    pyarrow, parquet = arrow("pyarrow"), arrow("pyarrow.parquet")
    schema = schema_of(table.features)
    written = {}
    for split in Split:
        own = rows.get(split, ())
        if own:
            written[split] = folder / table.folder() / f"{split.value}-00000-of-00001.parquet"
            written[split].parent.mkdir(parents=True, exist_ok=True)
            # Media stays uncompressed, so that a reader on the network can fetch a part of it.
            packing = "none" if {"video", "audio"} & set(map(str, table.features.values())) else "zstd"
            parquet.write_table(pyarrow.Table.from_pylist(own, schema=schema), written[split], compression=packing)
    return written


def read_table(path: Path) -> list[Row]:
    """The rows of a file that `write_table` wrote. Raises MissingExtra."""
    rows: list[Row] = arrow("pyarrow.parquet").read_table(path).to_pylist()
    return rows


def schema_of(features: Mapping[str, Feature]) -> Any:
    """The columns as an Arrow schema."""
    pyarrow = arrow("pyarrow")
    return pyarrow.schema([pyarrow.field(name, _arrow_type(kind)) for name, kind in features.items()])


def by_split(rows: Iterable[tuple[Split, Row]]) -> dict[Split, list[Row]]:
    """Rows sorted into their splits, in the given order within each."""
    sorted_rows: dict[Split, list[Row]] = {split: [] for split in Split}
    for split, row in rows:
        sorted_rows[split].append(row)
    return sorted_rows


def arrow(module: str) -> Any:
    """A module of pyarrow, which the core does not need. Raises MissingExtra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingExtra("the dataset folder", "pyarrow", "train") from None


def _arrow_type(kind: Feature) -> Any:
    pyarrow = arrow("pyarrow")
    if kind in ("video", "audio"):
        return _arrow_type(_MEDIA)
    if isinstance(kind, str):
        return getattr(pyarrow, kind)() if kind != "bool" else pyarrow.bool_()
    if isinstance(kind, Mapping):
        return pyarrow.struct([pyarrow.field(name, _arrow_type(part)) for name, part in kind.items()])
    return pyarrow.list_(_arrow_type(kind[0]))
