"""What lies in a dataset folder, as the card and the Croissant description tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_therapist.dataset.rows import LABELS, REPLIES
from ai_therapist.dataset.tables import Row, Table
from ai_therapist.privacy.redaction.report import ResidualRisk
from ai_therapist.records import Consent, Split


@dataclass(frozen=True)
class Filled:
    """One table with its rows and the files that hold them."""

    table: Table
    rows: Mapping[Split, Sequence[Row]]
    files: Mapping[Split, Path]

    def all_rows(self) -> Iterator[tuple[Split, Row]]:
        """Every row with its split."""
        return ((split, row) for split in Split for row in self.rows.get(split, ()))


@dataclass(frozen=True)
class Lineage:
    """Where the rows come from."""

    consents: Mapping[str, Consent]
    """Consent record of each session, by its readable name."""
    annotators: tuple[str, ...]
    transcribers: tuple[str, ...]
    withheld: tuple[str, ...]
    """Sessions that do not permit publishing."""
    redaction: ResidualRisk | None = None
    """What was replaced; None where the words are as they were said."""
    rule: str = ""
    """Which label wins, in words."""


@dataclass(frozen=True)
class Contents:
    """A dataset folder and where it comes from."""

    folder: Path
    tables: tuple[Filled, ...]
    lineage: Lineage

    def of(self, table: Table) -> Filled:
        """One of the tables. Raises KeyError for one that the folder does not have."""
        return {filled.table.name: filled for filled in self.tables}[table.name]


@dataclass(frozen=True)
class Answered:
    """How one annotator answered the questions of one task."""

    task: str
    annotator: str
    asked: int
    abstained: int


def answered(contents: Contents) -> tuple[Answered, ...]:
    """Every annotator's answers and abstentions, by task."""
    asked: Counter[tuple[str, str]] = Counter()
    silent: Counter[tuple[str, str]] = Counter()
    for _, row in contents.of(LABELS).all_rows():
        key = (str(row["task"]), str(row["annotator"]))
        asked[key] += 1
        silent[key] += row["label"] is None
    return tuple(Answered(task, name, asked[task, name], silent[task, name]) for task, name in sorted(asked))


def agreed(contents: Contents) -> dict[tuple[str, str], tuple[int, int]]:
    """For each task and side ("models", "people"): questions that several labelled, and those with one label.

    A plain share, not corrected for chance; `ai-therapist agreement` gives kappa and alpha with intervals.
    """
    labels: dict[tuple[str, str, str], list[object]] = {}
    for _, row in contents.of(LABELS).all_rows():
        if row["label"] is not None and row["by"] != "panel":
            labels.setdefault((str(row["task"]), str(row["by"]), str(row["utterance"])), []).append(row["label"])
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for (task, side, _), given in labels.items():
        if len(given) > 1:
            several, same = found.get((task, side), (0, 0))
            found[task, side] = (several + 1, same + (len(set(given)) == 1))
    return dict(sorted(found.items()))


def sources(contents: Contents) -> dict[str, Counter[object]]:
    """For each label column of the replies: how many rest on people, how many on models, how many are missing."""
    fields = [name for name in REPLIES.features if name.endswith("_source")]
    return {
        field.removesuffix("_source"): Counter(row[field] for _, row in contents.of(REPLIES).all_rows())
        for field in fields
    }
