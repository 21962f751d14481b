"""Sessions as strips for the page: who speaks when, with which label, and the clip one step away."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ai_therapist.evaluation import charts
from ai_therapist.evaluation.charts import Bar
from ai_therapist.evaluation.evidence import SessionEvidence
from ai_therapist.records import Annotation, Label, Task, Utterance


@dataclass(frozen=True)
class Strip:
    """A session's picture with the line above it."""

    name: str
    id: str
    facts: str
    chart: Markup


def session_strip(each: SessionEvidence) -> Strip:
    """Who speaks when in a session, above its facts; a turn with a clip at hand opens it."""
    notes: dict[tuple[str, Task], Annotation] = {(note.utterance, note.task): note for note in each.annotations}
    turns = [_bar(turn, each, notes) for turn in each.turns.utterances]
    gold = (
        []
        if each.gold is None
        else [
            Bar(
                said.role,
                said.start_ms,
                said.end_ms,
                said.emotion,
                _joined("gold", said.role.value, said.emotion, said.strategy),
            )
            for said in each.gold.utterances
        ]
    )
    duration_ms = max([each.session.media.duration_ms, *(bar.end_ms for bar in (*turns, *gold))])
    facts = [f"{duration_ms / 1000:.0f} s", f"{len(turns):,} turn{'' if len(turns) == 1 else 's'}"]
    if each.gold is not None:
        facts += sorted(each.gold.traits)
    if each.quality is not None and each.quality.comparison is not None:
        words = each.quality.comparison.words
        facts.append(f"{words.errors} of {words.words} words wrong")
    title = f"Who speaks when in {each.session.name}"
    if each.clips:
        facts.append(f"{len(each.clips)} clip{'' if len(each.clips) == 1 else 's'} at hand")
    return Strip(each.session.name, each.session.id, " · ".join(facts), charts.strip(title, duration_ms, turns, gold))


def _bar(turn: Utterance, each: SessionEvidence, notes: dict[tuple[str, Task], Annotation]) -> Bar:
    role = each.session.role_of(turn.speaker)
    emotion, strategy = (_said(notes.get((turn.id, task))) for task in (Task.EMOTION, Task.STRATEGY))
    label = notes.get((turn.id, Task.EMOTION))
    hover = _joined(
        turn.id, role.value, f"{turn.span.start_ms / 1000:.1f} to {turn.span.end_ms / 1000:.1f} s", emotion, strategy
    )
    given = None if label is None else label.label
    return Bar(role, turn.span.start_ms, turn.span.end_ms, given, hover, each.clips.get(turn.id))


def _said(note: Annotation | None) -> str | None:
    """A label with its probability for a hover text."""
    if note is None:
        return None
    if not isinstance(note.outcome, Label):
        return f"no {note.task.value}"
    weights = note.outcome.probabilities
    return note.outcome.value if weights is None else f"{note.outcome.value} {100 * weights[note.outcome.value]:.0f} %"


def _joined(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)
