"""Labelled turns for training an annotator: from a CSV of the user's, or from a dataset of ours."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_therapist.errors import MissingInput, RequestError
from ai_therapist.finetuning.annotator import LabelledTurn
from ai_therapist.models.turn_lines import TurnLine
from ai_therapist.records import Example, Role, Split, Task, Turn

_CONTEXT_TURNS = 2
_GROUP = ("group", "transcript_id", "session")
_ROLE = ("role", "interlocutor", "speaker")
_TEXT = ("text", "utterance_text")
_LAYOUT = (
    "expected a UTF-8 CSV with the columns text and label, and where there are any: split (train; other parts are held "
    "out), group or transcript_id, role or interlocutor (therapist or client; rows in the order they were said give "
    "each other their context, and a row without a label is context only)"
)

csv.field_size_limit(10_000_000)


@dataclass(frozen=True)
class LabelledRows:
    """Rows to learn from and rows to measure on, with all labels in the order of their names."""

    train: Sequence[LabelledTurn]
    held_out: Sequence[LabelledTurn]
    labels: tuple[str, ...]
    without_label: int
    """Rows that are context only."""


def read_rows(path: Path) -> LabelledRows:
    """The labelled turns of a CSV file; see `_LAYOUT`. Without a column `split` every row is for training.

    Raises MissingInput where there is no such file, and RequestError, with the row and the expected layout, where it
    is no such table, or where no row of the train part has a label.
    """
    parts: dict[bool, list[LabelledTurn]] = {True: [], False: []}
    said: dict[tuple[str, str], list[TurnLine]] = {}
    unlabelled = 0
    for number, row in enumerate(_table(path), start=1):
        text, label = _first(row, _TEXT), (row.get("label") or "").strip()
        if not text.strip():
            if label:
                raise RequestError(f"{path.name}: row {number} has a label and no text; {_LAYOUT}")
            continue
        role = _role(_first(row, _ROLE), path, number)
        group, split = _first(row, _GROUP) or f"row {number}", (row.get("split") or "train").strip().casefold()
        before = said.setdefault((group, split), [])
        turn = TurnLine(role, " ".join(text.split()))
        if label:
            # Without roles nobody can tell whether the row before is what was said before.
            context = before[-_CONTEXT_TURNS:] if role is not None else []
            parts[split == "train"].append(LabelledTurn((*context, turn), label, group))
        else:
            unlabelled += 1
        before.append(turn)
    if not parts[True]:
        raise RequestError(f"{path.name} has no labelled row of the split train; {_LAYOUT}")
    labels = tuple(sorted({row.label for row in (*parts[True], *parts[False])}))
    return LabelledRows(parts[True], parts[False], labels, unlabelled)


def rows_of_examples(examples: Sequence[Example], task: Task, labels: Sequence[str]) -> LabelledRows:
    """Turns of a dataset's examples with their labels of `task`, the turn that is labelled in sight.

    Emotions are of clients and therapists, strategies of therapists. Examples of the split train are learned from,
    all others held out.
    """
    parts: dict[bool, list[LabelledTurn]] = {True: [], False: []}
    for example in examples:
        for turns, label in _labelled(example, task):
            lines = tuple(TurnLine(turn.role, turn.text) for turn in turns[-_CONTEXT_TURNS - 1 :])
            parts[example.split is Split.TRAIN].append(LabelledTurn(lines, label, example.group))
    return LabelledRows(parts[True], parts[False], tuple(labels), 0)


def _labelled(example: Example, task: Task) -> Iterator[tuple[tuple[Turn, ...], str]]:
    asked = (*example.context, example.client)
    answered = (*asked, example.reply)
    if task is Task.STRATEGY:
        if example.labels.strategy is not None:
            yield answered, example.labels.strategy
        return
    if example.labels.client_emotion is not None:
        yield asked, example.labels.client_emotion
    if example.labels.therapist_emotion is not None:
        yield answered, example.labels.therapist_emotion


def _table(path: Path) -> list[dict[str, str | None]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or ()
            if "label" not in names or not any(name in names for name in _TEXT):
                raise RequestError(
                    f"{path.name} lacks the column {'label' if 'label' not in names else 'text'!r}; {_LAYOUT}"
                )
            return list(reader)
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}; {_LAYOUT}") from None
    except (UnicodeDecodeError, csv.Error):
        raise RequestError(f"{path.name} is no UTF-8 table; {_LAYOUT}") from None


def _first(row: dict[str, str | None], names: Sequence[str]) -> str:
    """The first of the columns that the row fills, or ""."""
    return next((value.strip() for name in names if (value := row.get(name))), "")


def _role(text: str, path: Path, number: int) -> Role | None:
    if not text:
        return None
    try:
        return Role(text.casefold())
    except ValueError:
        raise RequestError(f"{path.name}: row {number}: the role is none of {', '.join(Role)}") from None
