"""Writes files for people out of a workspace, and takes their answers into it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from ai_therapist.annotation.exchange.answers import Given, Refusal, Source, Taken, take
from ai_therapist.annotation.exchange.csv_table import read_csv, write_csv
from ai_therapist.annotation.exchange.label_studio import labelling_config, read_annotations, tasks_file, write_tasks
from ai_therapist.annotation.exchange.label_tiers import (
    read_labels_elan,
    read_labels_textgrid,
    write_labels_elan,
    write_labels_textgrid,
)
from ai_therapist.annotation.exchange.sheet import Sheet
from ai_therapist.annotation.review import questions_of
from ai_therapist.errors import InvalidRecord, MissingInput, RequestError
from ai_therapist.privacy.consent import refusal
from ai_therapist.records import Annotation, Session, Transcript, Use, Utterance, load_codebook
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.codec import decode, decode_all
from ai_therapist.store.workspace import ItemRecord, Workspace


class Tool(StrEnum):
    """What the people work with."""

    CSV = "csv"
    LABEL_STUDIO = "label-studio"
    ELAN = "elan"
    TEXTGRID = "textgrid"


_SUFFIXES = {".csv": Tool.CSV, ".json": Tool.LABEL_STUDIO, ".eaf": Tool.ELAN, ".textgrid": Tool.TEXTGRID}


@dataclass(frozen=True)
class Handed:
    """What was written for people."""

    folder: Path
    files: int
    turns: int
    left_out: tuple[Refusal, ...]
    """Sessions that are not in it, and why."""


@dataclass(frozen=True)
class Answered:
    """What became of one file of answers."""

    new: int
    same: int
    refused: tuple[Refusal, ...]


def hand_out(workspace: Workspace, tool: Tool, *, rater: str | None = None, blind: bool = False) -> Handed:
    """Write the turns of every session, with the answers that may be seen, to exports/labels-TOOL of the workspace.

    A file that is for one person shows nobody else's answers. Sessions that do not permit annotation, or that the
    format cannot hold, are left out with the reason. Raises MissingInput before the first extraction.
    """
    folder = workspace.exports / f"labels-{tool.value}"
    shutil.rmtree(folder, ignore_errors=True)
    files = turns = 0
    left_out = []
    tasks = []
    for sheet in _sheets(workspace, rater, blind=blind):
        name = sheet.session.name
        reason = _refusal(sheet.session)
        try:
            data = _written(sheet, tool) if reason is None else b""
        except InvalidRecord as error:
            reason = str(error)
        if reason is not None:
            left_out.append(Refusal(name, reason))
            continue
        turns += len(sheet.turns)
        if tool is Tool.LABEL_STUDIO:
            tasks += write_tasks(sheet)
        else:
            files += 1
            write_atomically(folder / f"{name}{_suffix(tool)}", data)
    if tool is Tool.LABEL_STUDIO:
        write_atomically(folder / "tasks.json", tasks_file(tasks))
        write_atomically(folder / "labelling.xml", labelling_config(load_codebook()).encode())
        files = 2
    return Handed(folder, files, turns, tuple(left_out))


def take_in(
    workspace: Workspace, path: Path, *, rater: str | None, raters: Mapping[str, str], played: bool
) -> Answered:
    """Take the answers of a file in: each becomes a decision of a person, or is refused with its place.

    Taking the same file in twice changes nothing. Raises MissingInput for a file that is not there, InvalidRecord for
    one that is not what its name says, and RequestError for a suffix of no tool or a name of no session. Turns of
    sessions that do not permit annotation are not there to be answered.
    """
    tool = _SUFFIXES.get(path.suffix.lower())
    if tool is None:
        raise RequestError(f"{path.name}: its name says no format; known are {', '.join(_SUFFIXES)}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}") from None
    sheets = [one for one in _sheets(workspace, None, blind=False) if _permits(one.session)]
    questions = {(one.turn.id, one.task): one for sheet in sheets for one in sheet.questions}
    given = _read(tool, data, path, sheets, rater, raters)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    source = Source(tool.value, hashlib.sha256(data).hexdigest(), played, now)
    taken: Taken = take(given, questions, load_codebook(), source)
    for session, annotation in taken.new:
        workspace.decisions.add(session, annotation)
    return Answered(len(taken.new), taken.same, taken.refused)


def _sheets(workspace: Workspace, rater: str | None, *, blind: bool) -> Iterator[Sheet]:
    """Every extracted session with what was said about it so far."""
    annotated = workspace.find_run("annotation")
    run = annotated or workspace.load_run("extraction", "extract")
    for item in run.items:
        if {"session", "utterances"} <= item.artefacts.keys():
            yield _sheet(workspace, item, rater, blind=blind)


def _sheet(workspace: Workspace, item: ItemRecord, rater: str | None, *, blind: bool) -> Sheet:
    store = workspace.store
    session = decode(Session, store.read(item.artefacts["session"]), f"session of {item.name}")
    turns = decode(Transcript, store.read(item.artefacts["utterances"]), f"utterances of {item.name}").utterances
    digest = item.artefacts.get("annotations")
    votes = () if digest is None else decode_all(Annotation, store.read(digest), f"annotations of {item.name}")
    decisions = workspace.decisions
    questions = questions_of(session, turns, votes, decisions.made(session.id), decisions.retracted(session.id))
    return Sheet(session, turns, questions, rater, blind)


def _refusal(session: Session) -> str | None:
    return refusal(session.consent, Use.ANNOTATE)


def _permits(session: Session) -> bool:
    return _refusal(session) is None


def _written(sheet: Sheet, tool: Tool) -> bytes:
    match tool:
        case Tool.CSV:
            return write_csv(sheet)
        case Tool.ELAN:
            return write_labels_elan(sheet, load_codebook())
        case Tool.TEXTGRID:
            return write_labels_textgrid(sheet, load_codebook())
        case Tool.LABEL_STUDIO:
            return b""


def _suffix(tool: Tool) -> str:
    return ".TextGrid" if tool is Tool.TEXTGRID else next(name for name, one in _SUFFIXES.items() if one is tool)


def _read(
    tool: Tool, data: bytes, path: Path, sheets: Sequence[Sheet], rater: str | None, raters: Mapping[str, str]
) -> Iterator[Given]:
    match tool:
        case Tool.CSV:
            return read_csv(data, path.name, rater)
        case Tool.LABEL_STUDIO:
            return read_annotations(data, path.name, raters)
        case Tool.ELAN:
            return read_labels_elan(data, path.name, _turns_of(path, sheets))
        case Tool.TEXTGRID:
            return read_labels_textgrid(data, path.name, _turns_of(path, sheets))


def _turns_of(path: Path, sheets: Sequence[Sheet]) -> Sequence[Utterance]:
    """The turns that a file of tiers is about: its name is that of a session, or its id."""
    sheet = next((one for one in sheets if path.stem in (one.session.name, one.session.id)), None)
    if sheet is None:
        raise RequestError(f"{path.name}: no session has the name or id {path.stem!r}: name the file after its session")
    return sheet.turns
