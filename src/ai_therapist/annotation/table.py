"""Annotations as a table that people read: numbers, roles and labels, no words of the session."""

from __future__ import annotations

from collections.abc import Sequence

from ai_therapist.records import Abstention, Annotation, Label, Session, Task, Utterance

_HEADER = ("turn", "starts", "role", "emotion", "p", "strategy", "p", "why not")


def render_table(session: Session, turns: Sequence[Utterance], annotations: Sequence[Annotation]) -> str:
    """One line for each turn; a dash where nothing was asked, a question mark with the reason for an abstention."""
    by_turn = {(annotation.utterance, annotation.task): annotation.outcome for annotation in annotations}
    rows = [_HEADER]
    for turn in turns:
        outcomes = [by_turn.get((turn.id, task)) for task in (Task.EMOTION, Task.STRATEGY)]
        reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Abstention)]
        (emotion, sure_of_it), (strategy, sure_of_that) = (_cells(outcome) for outcome in outcomes)
        start = f"{turn.span.start_ms / 1000:.1f} s"
        role = session.role_of(turn.speaker).value
        rows.append((str(turn.index), start, role, emotion, sure_of_it, strategy, sure_of_that, "; ".join(reasons)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def _cells(outcome: object) -> tuple[str, str]:
    match outcome:
        case Label(value=value, probabilities=None):
            return value, ""
        case Label(value=value, probabilities=dict(probabilities)):
            return value, f"{probabilities[value]:.2f}"
        case Abstention():
            return "?", ""
        case _:
            return "-", ""
