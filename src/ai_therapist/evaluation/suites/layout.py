"""Reads tables that the user supplies, and says what was expected where a file is something else."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ai_therapist.errors import MissingInput, RequestError
from ai_therapist.records.base import Record

csv.field_size_limit(10_000_000)


@dataclass(frozen=True)
class Row:
    """One labelled text of a suite."""

    id: str
    split: str
    group: str
    """Conversation, post or video; what a clean split keeps together."""
    text: str
    gold: str
    order: int = 0
    """Place in its group."""


class Published(Record):
    """A row of a published table."""

    system: str
    figures: dict[str, Annotated[float, Field(ge=0)]]
    source: str


def read_table(
    path: Path, columns: Sequence[str], *, delimiter: str = ",", header: bool = True, quoted: bool | None = None
) -> list[dict[str, str]]:
    """Rows of a CSV or TSV file with exactly the columns that are needed, others left out.

    `quoted` says whether quotation marks enclose fields; without it they do in CSV and are text in TSV.
    Raises MissingInput where there is no such file and RequestError, with the expected layout, where it is not text,
    lacks a column or a row is too short.
    """
    layout = f"expected {'columns' if header else 'fields without a header'}: {', '.join(columns)}"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            encloses = delimiter == "," if quoted is None else quoted
            reader = csv.DictReader(
                file,
                None if header else list(columns),
                delimiter=delimiter,
                quoting=csv.QUOTE_MINIMAL if encloses else csv.QUOTE_NONE,
            )
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise RequestError(f"{path.name} lacks the column {missing[0]!r}; {layout}")
            rows = [{name: row[name] for name in columns} for row in reader]
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}; {layout}") from None
    except (UnicodeDecodeError, csv.Error):
        raise RequestError(f"{path.name} is no UTF-8 table; {layout}") from None
    for number, row in enumerate(rows, start=1):
        if any(value is None for value in row.values()):
            raise RequestError(f"{path.name}: row {number} is too short; {layout}")
    if not rows:
        raise RequestError(f"{path.name} holds no row; {layout}")
    return rows


def label_at(index: str, labels: Sequence[str], where: str) -> str:
    """The label that a file names by its place. Raises RequestError where the index is none."""
    if not index.isdecimal() or int(index) >= len(labels):
        raise RequestError(f"{where}: the label must be a number below {len(labels)}")
    return labels[int(index)]


def known_label(value: str, labels: Sequence[str] | Mapping[str, str], where: str) -> str:
    """The label as the suite writes it. Raises RequestError for one that it does not have."""
    found = {name.casefold(): name for name in labels} if not isinstance(labels, Mapping) else labels
    name = found.get(value.strip().casefold())
    if name is None:
        raise RequestError(f"{where}: the label is none of {', '.join(sorted(set(found.values())))}")
    return name
