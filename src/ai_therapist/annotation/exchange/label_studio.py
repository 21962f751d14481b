"""Label Studio: tasks with the models' answers as predictions out, people's annotations in; plain JSON both ways.

Every task carries the id of its turn in `data.utterance`, and Label Studio gives `data` back as it was, so nothing
hangs on its own numbering. People are numbers there; a mapping gives each a pseudonym.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from ai_therapist.annotation.exchange.answers import CANNOT, Given
from ai_therapist.annotation.exchange.sheet import TASKS, Sheet
from ai_therapist.annotation.review import GUIDE, Question
from ai_therapist.errors import InvalidRecord
from ai_therapist.formats.text import decode_json
from ai_therapist.records import Annotation, Codebook, Label, Task

_EARLIER_TURNS = 6
"""Turns before the labelled one that are shown with it."""


def write_tasks(sheet: Sheet) -> list[dict[str, Any]]:
    """The turns of a session as tasks, each with the turns before it and, unless blind, the models' answers."""
    tasks = []
    for place, turn in enumerate(sheet.turns):
        asked = [question for task in TASKS if (question := sheet.question(turn, task)) is not None]
        talk = [*sheet.turns[max(0, place - _EARLIER_TURNS) : place], turn]
        task: dict[str, Any] = {
            "data": {
                "utterance": turn.id,
                "session": sheet.session.id,
                "index": turn.index,
                "start_ms": turn.span.start_ms,
                "end_ms": turn.span.end_ms,
                "role": sheet.role(turn).value,
                "text": turn.text,
                "talk": [{"author": sheet.role(each).value, "text": each.text} for each in talk],
            }
        }
        predictions = [_prediction(question, vote) for question in asked for vote in sheet.votes(question)]
        tasks.append(task | {"predictions": [each for each in predictions if each is not None]})
    return tasks


def labelling_config(codebook: Codebook) -> str:
    """The labelling interface: the guide, the talk, and one choice for each task with its definitions as hints."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value=GUIDE, size="6")
    ElementTree.SubElement(
        view, "Paragraphs", name="talk", value="$talk", layout="dialogue", nameKey="author", textKey="text"
    )
    ElementTree.SubElement(view, "Text", name="text", value="$text")
    for task in TASKS:
        asked = "the speaker shows" if task is Task.EMOTION else "the therapist uses; leave it empty for a client"
        ElementTree.SubElement(view, "Header", value=f"{task.value.capitalize()} that {asked}", size="5")
        choices = ElementTree.SubElement(view, "Choices", name=task.value, toName="text", choice="single-radio")
        for category in codebook.categories(task):
            ElementTree.SubElement(choices, "Choice", value=category.name, hint=category.definition)
        ElementTree.SubElement(choices, "Choice", value=CANNOT, hint="two fit equally well, or nothing can be told")
    ElementTree.indent(view)
    return ElementTree.tostring(view, "unicode") + "\n"


def tasks_file(tasks: list[dict[str, Any]]) -> bytes:
    """Tasks as the file that Label Studio imports."""
    return json.dumps(tasks, ensure_ascii=False, indent=1).encode() + b"\n"


def read_annotations(data: bytes, where: str, raters: Mapping[str, str]) -> Iterator[Given]:
    """The answers of an export in Label Studio's JSON; those that were skipped there are none.

    `raters` gives the pseudonym of each person by the number or address that Label Studio knows; whom it does not name
    becomes ls-NUMBER. Raises InvalidRecord for what is no such export.
    """
    value = decode_json(data, where)
    if not isinstance(value, list) or not all(isinstance(task, dict) for task in value):
        raise InvalidRecord(f"{where}: not an export of Label Studio: a list of tasks should stand here (choose JSON)")
    for place, task in enumerate(value, start=1):
        here = f"{where}, task {place}"
        told = task.get("data")
        annotations = task.get("annotations", [])
        if not isinstance(told, dict) or not isinstance(annotations, list):
            raise InvalidRecord(f"{here}: has no data or no list of annotations")
        for annotation in annotations:
            if not isinstance(annotation, dict):
                raise InvalidRecord(f"{here}: an annotation is no object")
            if not annotation.get("was_cancelled"):
                rater = _rater(annotation.get("completed_by"), raters)
                yield from _given(annotation.get("result"), str(told.get("utterance", "")), rater, here)


def _given(result: object, utterance: str, rater: str, where: str) -> Iterator[Given]:
    if not isinstance(result, list):
        raise InvalidRecord(f"{where}: an annotation has no list of results")
    for each in result:
        if not isinstance(each, dict) or each.get("from_name") not in {task.value for task in TASKS}:
            continue
        value = each.get("value")
        choices = value.get("choices") if isinstance(value, dict) else None
        single = isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], str)
        shown = choices[0].strip() if single and isinstance(choices, list) else "several or no choices"
        yield Given(where, rater, utterance, str(each["from_name"]), shown)


def _rater(person: object, raters: Mapping[str, str]) -> str:
    """The pseudonym of who answered. An address is looked up and never kept."""
    known = [person.get("id"), person.get("email")] if isinstance(person, dict) else [person]
    for name in known:
        if str(name) in raters:
            return raters[str(name)]
    return "" if known[0] is None else f"ls-{known[0]}"


def _prediction(question: Question, vote: Annotation) -> dict[str, Any] | None:
    """A model's label as a prediction; None for an abstention, which Label Studio cannot show."""
    outcome = vote.outcome
    if not isinstance(outcome, Label):
        return None
    result = {
        "id": vote.id,
        "from_name": question.task.value,
        "to_name": "text",
        "type": "choices",
        "value": {"choices": [outcome.value]},
    }
    score = None if outcome.probabilities is None else outcome.probabilities[outcome.value]
    return {"model_version": vote.provenance.annotator, "score": score, "result": [result]}
