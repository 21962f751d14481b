"""All that a report rests on, as records: what the runs left behind and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ConfigDict

from ai_therapist.evaluation.audit import LeakAudit
from ai_therapist.evaluation.gold import GoldSession
from ai_therapist.evaluation.nominal import Rated
from ai_therapist.evaluation.predictions import Prediction
from ai_therapist.evaluation.replies import ReplyTable
from ai_therapist.evaluation.stages import SessionQuality
from ai_therapist.records import Annotation, Example, Session, Transcript
from ai_therapist.records.base import Record
from ai_therapist.store.workspace import RunRecord


class _Foreign(Record):
    """A record of another room, of which only the named fields are read."""

    model_config = ConfigDict(extra="ignore")


class CurvePoint(_Foreign):
    """Training loss at an optimiser step."""

    step: int
    loss: float


class Training(_Foreign):
    """What the training says of itself."""

    loss_first: float
    """Mean loss per target token over the training examples before the first step; `loss_last` after the last."""
    loss_last: float
    validation_loss_first: float | None = None
    validation_loss_last: float | None = None
    seconds: float
    steps: int | None = None
    examples: int | None = None
    parameters: int | None = None
    """Parameters of the model that was tuned, frozen ones included."""
    trained_parameters: int | None = None


@dataclass(frozen=True)
class SessionEvidence:
    """One session as it was understood, and what was measured about it."""

    session: Session
    turns: Transcript
    annotations: tuple[Annotation, ...]
    gold: GoldSession | None
    quality: SessionQuality | None
    """None where measuring failed."""
    clips: Mapping[str, str] = field(default_factory=dict)
    """Path of the clip of each turn that has one, as a link from the report; by utterance id."""


@dataclass(frozen=True)
class Evidence:
    """Everything that a report is made of."""

    runs: tuple[RunRecord, ...]
    """Ledgers in the order of the arc; those that do not exist are left out."""
    sessions: tuple[SessionEvidence, ...]
    examples: tuple[Example, ...]
    predictions: Mapping[str, tuple[Prediction, ...]]
    """By system, in the order of the tables."""
    replies: Mapping[str, ReplyTable]
    """Counts of the replies of each system that wrote any."""
    audit: LeakAudit
    training: Training | None
    curve: tuple[CurvePoint, ...]
    seconds: Mapping[str, float]
    """Seconds of each stage before this one, as the caller measured them."""
    not_run: tuple[str, ...]
    """What could have been measured and was not, and why, one sentence each."""
    rated: Mapping[str, Sequence[Rated]] = field(default_factory=dict)
    """What annotators and people said of every turn, by task."""
