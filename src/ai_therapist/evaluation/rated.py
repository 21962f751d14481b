"""Where labels that are to be compared come from: the annotations of a workspace, or tables of anybody's.

A table has the columns item, rater, label, and perhaps session and task; or it is a sheet that
`ai-therapist labels export csv` made: utterance, session, rater, emotion, strategy.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from ai_therapist.errors import MissingInput, RequestError
from ai_therapist.evaluation.nominal import Rated
from ai_therapist.evaluation.suites.layout import read_table
from ai_therapist.records import Annotation, Task, annotator_of
from ai_therapist.store.codec import decode_all
from ai_therapist.store.workspace import Workspace

ByTask = dict[str, list[Rated]]

_TASKS = (Task.EMOTION, Task.STRATEGY)
_CANNOT = "(cannot tell)"
"""How sheets for people write an abstention."""


def rated_in(workspace: Workspace) -> ByTask:
    """Every question of a workspace that anyone answered: models by name, people as person:ID, by task.

    Of several answers of one annotator the last counts. Raises MissingInput before the first annotation.
    """
    answers: dict[tuple[str, str, str], dict[str, str | None]] = {}
    for item in workspace.load_run("annotation", "annotate").items:
        digest = item.artefacts.get("annotations")
        notes = () if digest is None else decode_all(Annotation, workspace.store.read(digest), "annotations")
        decided = [decision.annotation for decision in workspace.decisions.standing(item.item)]
        for note in (*notes, *decided):
            if note.task in _TASKS:
                key = (note.task.value, item.item, note.utterance)
                answers.setdefault(key, {})[note.provenance.annotator] = note.label
    return _by_task(answers)


def rated_in_tables(paths: Sequence[Path]) -> ByTask:
    """The answers of tables, by task; "labels" where a table does not say which.

    Without a column session every item is a session of its own, so that intervals resample items. Raises MissingInput
    for a file that is not there, RequestError for one that is no such table, or where a rater answers an item twice.
    """
    answers: dict[tuple[str, str, str], dict[str, str | None]] = {}
    for path in paths:
        for row, task, session, item, rater, label in _rows(path):
            told = answers.setdefault((task, session, item), {})
            if told.get(rater, label) != label:
                raise RequestError(f"{path.name}, row {row}: {rater} gave this item another label before")
            told[rater] = label
    if not answers:
        raise RequestError("the tables hold no label")
    return _by_task(answers)


_Row = tuple[int, str, str, str, str, str | None]
"""Row number, task, session, item, rater, label."""


def _rows(path: Path) -> Iterable[_Row]:
    columns = _columns(path)
    if {"utterance", "rater"} <= columns:
        tasks = [task.value for task in _TASKS if task.value in columns]
        wanted = ["utterance", "rater", *tasks, *({"session"} & columns)]
        for number, row in enumerate(read_table(path, wanted), start=2):
            for task in tasks:
                if row[task].strip():
                    rater = annotator_of(row["rater"].strip())
                    yield (
                        number,
                        task,
                        row.get("session") or row["utterance"],
                        row["utterance"],
                        rater,
                        _label(row[task]),
                    )
        return
    optional = sorted({"session", "task"} & columns)
    for number, row in enumerate(read_table(path, ["item", "rater", "label", *optional]), start=2):
        if row["label"].strip():
            session = row.get("session") or row["item"]
            yield number, row.get("task") or "labels", session, row["item"], row["rater"].strip(), _label(row["label"])


def _label(text: str) -> str | None:
    return None if text.strip() == _CANNOT else text.strip()


def _columns(path: Path) -> set[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return set(next(csv.reader(file), []))
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}") from None
    except (UnicodeDecodeError, csv.Error):
        raise RequestError(f"{path.name}: not a table in UTF-8") from None


def _by_task(answers: dict[tuple[str, str, str], dict[str, str | None]]) -> ByTask:
    found: ByTask = {}
    for (task, session, item), labels in sorted(answers.items()):
        found.setdefault(task, []).append(Rated(session=session, item=item, labels=labels))
    return found
