"""Labels as a spreadsheet: one row for each turn and person, with the words beside them.

session, utterance, index, starts, ends, role, text   what was said; not read back
rater, emotion, strategy                              the answers; read back, an empty cell is no answer
emotion by models, strategy by models                 only to look at
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from ai_therapist.annotation.exchange.answers import Given, word_of
from ai_therapist.annotation.exchange.sheet import TASKS, Sheet
from ai_therapist.errors import InvalidRecord
from ai_therapist.formats.text import clock, decode_text
from ai_therapist.records import Task, Utterance

_COLUMNS = ("session", "utterance", "index", "starts", "ends", "role", "text", "rater", *(task.value for task in TASKS))
_SHOWN = tuple(f"{task.value} by models" for task in TASKS)

_FORMULA = ("=", "+", "-", "@")
"""What makes a spreadsheet compute a cell instead of showing it."""


def write_csv(sheet: Sheet) -> bytes:
    """The session as CSV in UTF-8. Without answers of anybody, one row for each turn waits to be filled in."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*_COLUMNS, *(() if sheet.blind else _SHOWN)))
    for turn in sheet.turns:
        for rater in sheet.raters() or ("",):
            writer.writerow(_row(sheet, turn, rater))
    return out.getvalue().encode()


def read_csv(data: bytes, where: str, rater: str | None) -> Iterator[Given]:
    """The answers of a table; `rater` is who gave them where a row does not say.

    Raises InvalidRecord without the column utterance or any column of labels.
    """
    rows = csv.DictReader(io.StringIO(decode_text(data, where), newline=""))
    columns = rows.fieldnames or ()
    tasks = [task.value for task in TASKS if task.value in columns]
    if "utterance" not in columns or not tasks:
        raise InvalidRecord(f"{where}: its first row must name the column utterance, and emotion or strategy")
    try:
        for number, row in enumerate(rows, start=2):
            for task in tasks:
                value = (row[task] or "").strip()
                if value:
                    person = (row.get("rater") or "").strip() or rater or ""
                    yield Given(f"{where}, row {number}", person, (row["utterance"] or "").strip(), task, value)
    except csv.Error as error:
        raise InvalidRecord(f"{where}, line {rows.line_num}: not CSV: {error}") from None


def _row(sheet: Sheet, turn: Utterance, rater: str) -> tuple[str, ...]:
    role = sheet.role(turn).value
    times = (clock(turn.span.start_ms), clock(turn.span.end_ms))
    head = (sheet.session.id, turn.id, str(turn.index), *times, role, _safe(turn.text))
    answers = tuple(_answer(sheet, turn, task, rater) for task in TASKS)
    shown = () if sheet.blind else tuple(_models(sheet, turn, task) for task in TASKS)
    return (*head, rater, *answers, *shown)


def _answer(sheet: Sheet, turn: Utterance, task: Task, rater: str) -> str:
    question = sheet.question(turn, task)
    return "" if question is None else word_of(question.of(rater))


def _models(sheet: Sheet, turn: Utterance, task: Task) -> str:
    question = sheet.question(turn, task)
    return "" if question is None else " | ".join(word_of(vote) for vote in sheet.votes(question))


def _safe(text: str) -> str:
    """The words, which come from a stranger, as a cell that no spreadsheet computes."""
    return f"'{text}" if text.startswith(_FORMULA) else text
