"""VERA-MH as far as a program can decide it: item by item, over conversations that its personas' prompts lead.

The published suite lets a model play each persona and a model rate the conversation by 34 questions. Here the sample
prompts of each persona are sent as they stand, one a turn, and `safety.vera_mh` answers the questions that need no
reader. What the others ask is listed and not answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ai_therapist.errors import RequestError
from ai_therapist.evaluation.bootstrap import score_all
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import ratio
from ai_therapist.evaluation.suites.layout import Published, known_label, read_table
from ai_therapist.records.base import Record
from ai_therapist.records.score import Score, Unscored
from ai_therapist.safety.assessment import Level
from ai_therapist.safety.vera_mh import DECIDED, ShownTurn, decided_items

NAME = "vera-mh"
LAYOUT = (
    "two TSV files, rubric.tsv then personas.tsv, as the suite publishes them; with --predictions stored conversations "
    "instead of the shell's: a CSV with the columns persona, role (client or chatbot), text, in the order of the turns"
)

Answering = Callable[[str], tuple[str, ...]]
"""One conversation: takes a message of the client, gives every text that is shown in answer."""

_LEVELS = {"none": Level.NONE, "low": Level.RISK, "high": Level.RISK, "imminent": Level.IMMINENT}
_SOURCE = "VERA-MH v1, all 34 questions, rated by a model, 0 to 100: another protocol"
_PUBLISHED = {
    "GPT-5.2": 65.0,
    "Claude Opus 4.5": 65.0,
    "GPT-5": 60.0,
    "Claude Sonnet 4.5": 55.0,
    "Gemini 3 Pro": 37.0,
    "Grok 4": 29.0,
}


@dataclass(frozen=True)
class Question:
    """One question of the rubric."""

    number: int
    dimension: str
    severity: str
    risk: str
    """Conversations that it is about: "Imminent", "Not Imminent", or "" for all."""
    text: str


@dataclass(frozen=True)
class Persona:
    """A client of the suite: how grave the danger is, and what is said, one message a turn."""

    name: str
    level: Level
    messages: tuple[str, ...]


class ItemRate(Record):
    """Share of conversations that meet an item, over those that give an occasion for it."""

    item: int
    dimension: str
    severity: str
    question: str
    met: Score
    missed: tuple[str, ...]
    """Personas whose conversation does not meet it."""


class VeraReport(Record):
    """The result of the suite."""

    schema_version: str = "1"
    suite: str = NAME
    protocol: str
    speaker: str
    conversations: int
    without_risk: int
    """Conversations of personas without risk, which give no occasion for any item."""
    items: tuple[ItemRate, ...]
    not_decided: dict[int, str]
    """Questions that need a reader."""
    published: tuple[Published, ...]


def read_rubric(path: Path) -> tuple[Question, ...]:
    """The questions of rubric.tsv. Raises RequestError for a file that holds none of the decided ones."""
    rows = read_table(
        path, ("Question ID", "Dimension", "Severity", "Risk Type", "Question"), delimiter="\t", quoted=True
    )
    found = tuple(
        Question(int(row["Question ID"]), row["Dimension"], row["Severity"], row["Risk Type"], row["Question"].strip())
        for row in rows
        if row["Question ID"].strip().isdecimal()
    )
    lost = sorted(set(DECIDED) - {each.number for each in found})
    if lost:
        raise RequestError(f"{path.name} lacks question {lost[0]}: not the rubric of VERA-MH v1")
    return found


def read_personas(path: Path) -> tuple[Persona, ...]:
    """The personas of personas.tsv. Raises RequestError for an unknown risk level or a persona that says nothing."""
    columns = ("Name", "Current Risk Level", "Sample Prompts")
    personas = []
    for number, row in enumerate(read_table(path, columns, delimiter="\t", quoted=True), start=1):
        where = f"{path.name}: row {number}"
        level = known_label(row["Current Risk Level"], {name: name for name in _LEVELS}, where)
        messages = tuple(text for part in row["Sample Prompts"].split(";") if (text := part.strip()))
        if not messages:
            raise RequestError(f"{where}: no sample prompt")
        personas.append(Persona(row["Name"].strip(), _LEVELS[level], messages))
    return tuple(personas)


def converse(personas: Sequence[Persona], opens: Callable[[], Answering]) -> dict[str, tuple[ShownTurn, ...]]:
    """A new conversation with each persona; every turn counts as grave as the persona's danger is."""
    held = {}
    for persona in personas:
        answer = opens()
        held[persona.name] = tuple(ShownTurn(persona.level, answer(message)) for message in persona.messages)
    return held


def stored_conversations(path: Path, personas: Sequence[Persona]) -> dict[str, tuple[ShownTurn, ...]]:
    """Conversations of a CSV, by persona. Raises RequestError for a persona or role that there is not."""
    levels = {persona.name: persona.level for persona in personas}
    turns: dict[str, list[ShownTurn]] = {}
    for number, row in enumerate(read_table(path, ("persona", "role", "text")), start=1):
        where = f"{path.name}: row {number}"
        if row["persona"] not in levels:
            raise RequestError(f"{where}: no persona of this name")
        role = known_label(row["role"], ("client", "chatbot"), where)
        held = turns.setdefault(row["persona"], [])
        if role == "client":
            held.append(ShownTurn(levels[row["persona"]], ()))
        elif not held:
            raise RequestError(f"{where}: a conversation begins with the client")
        elif row["text"].strip():
            held[-1] = held[-1]._replace(texts=(*held[-1].texts, row["text"]))
    return {name: tuple(held) for name, held in turns.items()}


def vera_mh(
    rubric: Sequence[Question],
    personas: Sequence[Persona],
    held: Mapping[str, Sequence[ShownTurn]],
    resampling: Resampling,
    *,
    speaker: str,
) -> VeraReport:
    """Item by item, which conversations meet it; intervals resample personas."""
    levels = {persona.name: persona.level for persona in personas}
    decided = {name: decided_items(turns) for name, turns in held.items()}
    items = []
    for question in rubric:
        if question.number not in DECIDED:
            continue
        met = {
            name: answers[question.number]
            for name, answers in decided.items()
            if question.number in answers and _asked(question.risk, levels[name])
        }
        items.append(
            ItemRate(
                item=question.number,
                dimension=question.dimension,
                severity=question.severity,
                question=question.text,
                met=_share(list(met.values()), resampling),
                missed=tuple(name for name, held_up in met.items() if not held_up),
            )
        )
    return VeraReport(
        protocol="sample prompts as they stand, one a turn; the risk of a turn is the persona's; yes or no by code",
        speaker=speaker,
        conversations=len(held),
        without_risk=sum(levels[name] is Level.NONE for name in held),
        items=tuple(items),
        not_decided={each.number: each.text for each in rubric if each.number not in DECIDED},
        published=tuple(
            Published(system=name, figures={"overall": value}, source=_SOURCE) for name, value in _PUBLISHED.items()
        ),
    )


def _asked(risk: str, level: Level) -> bool:
    """Whether the rubric puts the question to a conversation of this danger."""
    match risk.strip().casefold():
        case "imminent":
            return level is Level.IMMINENT
        case "not imminent":
            return level < Level.IMMINENT
        case _:
            return True


def _share(met: Sequence[bool], resampling: Resampling) -> Score:
    if not met:
        return Unscored(reason="no conversation gives an occasion")
    counts = np.array([[held_up, 1] for held_up in met], dtype=np.float64)
    return score_all(counts, {"share": lambda sums: ratio(sums[..., 0], sums[..., 1])}, len(met), resampling)["share"]
