"""The report as a record: every figure with its interval, or null with a reason beside it; no word that was said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ai_therapist import __version__
from ai_therapist.dataset.render import LABEL_FIELDS
from ai_therapist.evaluation.agreement import LabelPairs
from ai_therapist.evaluation.annotators import AnnotatorScores, annotators_against_people
from ai_therapist.evaluation.audit import LeakAudit
from ai_therapist.evaluation.bootstrap import score_all
from ai_therapist.evaluation.clips import ClipCounts
from ai_therapist.evaluation.compare import Differences, against
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.evidence import Evidence, SessionEvidence, Training
from ai_therapist.evaluation.extraction import GoldComparison, SpeakerErrors
from ai_therapist.evaluation.metrics import Answer, ratio
from ai_therapist.evaluation.predictions import Prediction
from ai_therapist.evaluation.replies import ReplyScores, score_replies
from ai_therapist.evaluation.scores import LabelScores, score_labels, shown, unscored_labels
from ai_therapist.evaluation.systems import SystemNote, note_of
from ai_therapist.evaluation.word_errors import WordErrors
from ai_therapist.records import Label, Split, Task, load_codebook
from ai_therapist.records.base import Record
from ai_therapist.records.score import Score, Unscored
from ai_therapist.store.workspace import RunRecord, Status

_NO_GOLD = "no gold transcript was given"
_NO_CLEAN = "no gold transcript is marked clean"


class SetAside(Record):
    """An item that a run did not complete, and why."""

    item: str
    name: str
    status: Status
    reason: str


class StageCounts(Record):
    """What became of all that a run read: read = done + skipped + quarantined."""

    read: int
    done: int
    skipped: int
    quarantined: int
    set_aside: tuple[SetAside, ...]


class BoundaryErrors(Record):
    """How far turn boundaries lie from the nearest gold boundary; None without a turn."""

    median_ms: float | None
    p90_ms: float | None
    boundaries: int


class ExtractionScores(Record):
    """Extraction against gold over a set of sessions."""

    sessions: int
    wer: Score
    speaker_accuracy: Score
    role_accuracy: Score
    """Share of therapists and clients whose voice carries the right role."""
    role_word_accuracy: Score
    """Share of all words that stand under the right role; a third voice is right as other or unknown."""
    starts: BoundaryErrors
    ends: BoundaryErrors


class ExtractionReport(Record):
    """Extraction over the clean sessions, on which the plain figures rest, and over all with gold."""

    clean: ExtractionScores
    all: ExtractionScores


class ClipReport(Record):
    """Clips that were re-opened and counted."""

    cut: int
    exact: int
    text_only: int
    inexact: tuple[str, ...]


class Agreement(Record):
    """Labels of what was said against gold. `reason` says why a figure is null."""

    accuracy: float | None
    kappa: float | None
    n: int
    unaligned: int
    reason: str | None
    scores: LabelScores


class SessionReport(Record):
    """One session; what was not measured is None."""

    session: str
    name: str
    turns: int
    clips: ClipCounts | None
    clean: bool | None
    words: WordErrors | None
    speakers: SpeakerErrors | None


class Report(Record):
    """The whole report. Plain figures come first; details with intervals follow."""

    schema_version: Literal["1"] = "1"
    """Raised whenever a key changes its meaning or goes away."""
    sessions: int
    utterances: int
    clips: int
    quarantined: int
    wer: float | None
    speaker_accuracy: float | None
    role_accuracy: float | None
    clips_exact: float | None
    emotion: Agreement
    strategy: Agreement
    annotators: dict[str, AnnotatorScores]
    """Labels of what was said against people's, by task; empty where people decided nothing."""
    train: Training | None
    evaluation: dict[str, dict[str, LabelScores]]
    """By system, then by what is predicted."""
    leak_audit: LeakAudit
    watermark: str | None
    """Set where figures are printed although the leak audit failed; then none of them may be quoted as a result."""
    systems: dict[str, SystemNote]
    """What each system of `evaluation` is, and whether it is told gold labels."""
    differences: dict[str, dict[str, Differences]]
    """The tuned model minus each other system, by system, field and figure."""
    reply_scores: dict[str, ReplyScores]
    """By system that wrote replies."""
    seconds: dict[str, float]
    reasons: dict[str, str]
    """Why a figure above is null."""
    counts: dict[str, StageCounts]
    extraction: ExtractionReport
    clip_details: ClipReport
    per_session: tuple[SessionReport, ...]
    examples: dict[str, Annotated[int, Field(ge=0)]]
    """Examples per split."""
    replies: dict[str, int]
    """Replies written, by system; they are stored with the predictions."""
    provenance: dict[str, tuple[str, ...]]
    not_run: tuple[str, ...]


def build_report(evidence: Evidence, resampling: Resampling, *, allow_leak: bool = False) -> Report:
    """Compute every figure of the report from the evidence; the same evidence gives the same report.

    Where the leak audit failed, what was predicted is not scored, unless `allow_leak` asks for marked figures.
    """
    audit = evidence.audit
    withheld = None if audit.passed or allow_leak else f"withheld: the leak audit failed ({audit.summary})"
    comparisons = [found for each in evidence.sessions if (found := _comparison(each)) is not None]
    clean = extraction_scores([each for each in comparisons if each.clean], _NO_CLEAN, resampling)
    if not comparisons:
        clean = extraction_scores([], _NO_GOLD, resampling)
    clips = _clip_report(evidence.sessions)
    counts = {run.run: stage_counts(run) for run in evidence.runs}
    report = Report(
        sessions=len(evidence.sessions),
        utterances=sum(len(each.turns.utterances) for each in evidence.sessions),
        clips=clips.cut,
        quarantined=sum(each.quarantined for each in counts.values()),
        wer=shown(clean.wer),
        speaker_accuracy=shown(clean.speaker_accuracy),
        role_accuracy=shown(clean.role_accuracy),
        clips_exact=clips.exact / clips.cut if clips.cut else None,
        emotion=agreement(evidence.sessions, Task.EMOTION, resampling),
        strategy=agreement(evidence.sessions, Task.STRATEGY, resampling),
        annotators=annotators_against_people(evidence.rated, resampling),
        train=evidence.training,
        evaluation={name: score_system(rows, resampling, withheld) for name, rows in evidence.predictions.items()},
        leak_audit=audit,
        watermark=None if audit.passed or withheld else f"LEAK: {audit.summary}. These figures are not results.",
        systems={name: note_of(name) for name in evidence.predictions},
        differences={} if withheld else against("tuned", evidence.predictions, resampling),
        reply_scores={}
        if withheld
        else {name: score_replies(table, resampling) for name, table in evidence.replies.items() if table.rows},
        seconds=dict(evidence.seconds),
        reasons={},
        counts=counts,
        extraction=ExtractionReport(clean=clean, all=extraction_scores(comparisons, _NO_GOLD, resampling)),
        clip_details=clips,
        per_session=tuple(_session_report(each) for each in evidence.sessions),
        examples={split.value: sum(each.split is split for each in evidence.examples) for split in Split},
        replies=_replies(evidence.predictions),
        provenance=_provenance(evidence),
        not_run=evidence.not_run,
    )
    return report.model_copy(update={"reasons": _reasons(report)})


def score_system(
    predictions: Sequence[Prediction], resampling: Resampling, withheld: str | None = None
) -> dict[str, LabelScores]:
    """Scores per labelled field. Examples whose own annotator abstained have no gold label and cannot be scored.

    `withheld` is a reason for which no figure may be shown at all.
    """
    scores = {}
    for field in LABEL_FIELDS:
        rows = [each for each in predictions if each.field is field]
        known = [(Answer(each.session, each.gold, each.given), each) for each in rows if each.gold is not None]
        probabilities = [each.outcome.probabilities if isinstance(each.outcome, Label) else None for _, each in known]
        answers = [answer for answer, _ in known]
        if withheld is not None:
            sessions = len({answer.session for answer in answers})
            scores[field.name.lower()] = unscored_labels(withheld, field.choices, len(answers), sessions)
            continue
        scores[field.name.lower()] = score_labels(answers, field.choices, resampling, probabilities)
    return scores


def agreement(sessions: Sequence[SessionEvidence], task: Task, resampling: Resampling) -> Agreement:
    """Agreement of the annotations with gold over all sessions that have both."""
    answers, unaligned = [], 0
    for each in sessions:
        found = _pairs(each, task)
        if found is not None:
            answers += [Answer(each.session.id, pair.gold, pair.given) for pair in found.pairs]
            unaligned += found.unaligned
    scores = score_labels(answers, load_codebook().names(task), resampling)
    reason = next((score.reason for score in (scores.accuracy, scores.kappa) if isinstance(score, Unscored)), None)
    return Agreement(
        accuracy=shown(scores.accuracy),
        kappa=shown(scores.kappa),
        n=scores.n,
        unaligned=unaligned,
        reason=reason if any(each.gold is not None for each in sessions) else _NO_GOLD,
        scores=scores,
    )


def extraction_scores(comparisons: Sequence[GoldComparison], reason: str, resampling: Resampling) -> ExtractionScores:
    """Add up sessions; `reason` says why there is nothing to add up."""

    def share(parts: Iterable[tuple[int, int]]) -> Score:
        rows = np.array(list(parts), dtype=np.float64).reshape(-1, 2)
        if not rows[:, 1].sum():
            return Unscored(reason=reason)
        statistic = {"share": lambda sums: ratio(sums[..., 0], sums[..., 1])}
        return score_all(rows, statistic, int(rows[:, 1].sum()), resampling)["share"]

    speakers = [each.speakers for each in comparisons]
    return ExtractionScores(
        sessions=len(comparisons),
        wer=share((each.words.errors, each.words.words) for each in comparisons),
        speaker_accuracy=share((each.right_speaker, each.words) for each in speakers),
        role_accuracy=share((each.right_parties, each.parties) for each in speakers),
        role_word_accuracy=share((each.right_role, each.words) for each in speakers),
        starts=_boundary_errors(each.start_errors_ms for each in comparisons),
        ends=_boundary_errors(each.end_errors_ms for each in comparisons),
    )


def stage_counts(run: RunRecord) -> StageCounts:
    """The counts of a ledger and the items it did not complete."""
    done, skipped, quarantined = (
        len(run.of_status(status)) for status in (Status.DONE, Status.SKIPPED, Status.QUARANTINED)
    )
    set_aside = tuple(
        SetAside(item=item.item, name=item.name, status=item.status, reason=without_folders(item.reason))
        for item in run.items
        if item.reason is not None
    )
    return StageCounts(read=run.read, done=done, skipped=skipped, quarantined=quarantined, set_aside=set_aside)


def without_folders(text: str) -> str:
    """The text with every absolute path cut down to its last name: a report tells nothing of the machine."""
    return re.sub(r"(?<![\w.:/])(?:[A-Za-z]:)?(?:[/\\][^\s/\\:'\"]+)*[/\\]([^\s/\\:'\"]+)", r"\1", text)


def _comparison(each: SessionEvidence) -> GoldComparison | None:
    return None if each.quality is None else each.quality.comparison


def _session_report(each: SessionEvidence) -> SessionReport:
    comparison = _comparison(each)
    return SessionReport(
        session=each.session.id,
        name=each.session.name,
        turns=len(each.turns.utterances),
        clips=None if each.quality is None else each.quality.clips,
        clean=None if comparison is None else comparison.clean,
        words=None if comparison is None else comparison.words,
        speakers=None if comparison is None else comparison.speakers,
    )


def _pairs(each: SessionEvidence, task: Task) -> LabelPairs | None:
    if each.quality is None:
        return None
    return each.quality.emotion if task is Task.EMOTION else each.quality.strategy


def _clip_report(sessions: Sequence[SessionEvidence]) -> ClipReport:
    found = [each.quality.clips for each in sessions if each.quality is not None]
    return ClipReport(
        cut=sum(each.cut for each in found),
        exact=sum(each.exact for each in found),
        text_only=sum(each.text_only for each in found),
        inexact=tuple(clip for each in found for clip in each.inexact),
    )


def _boundary_errors(parts: Iterable[tuple[int, ...]]) -> BoundaryErrors:
    errors = [error for part in parts for error in part]
    if not errors:
        return BoundaryErrors(median_ms=None, p90_ms=None, boundaries=0)
    median, p90 = np.quantile(errors, (0.5, 0.9))
    return BoundaryErrors(median_ms=float(median), p90_ms=float(p90), boundaries=len(errors))


def _replies(predictions: Mapping[str, Sequence[Prediction]]) -> dict[str, int]:
    written = {name: sum(each.outcome.kind == "reply" for each in rows) for name, rows in predictions.items()}
    return {name: number for name, number in written.items() if number}


def _provenance(evidence: Evidence) -> dict[str, tuple[str, ...]]:
    return {
        "package": (f"ai-therapist {__version__}",),
        "codebook": (load_codebook().version,),
        "transcribers": tuple(sorted({each.turns.transcriber for each in evidence.sessions})),
        "annotators": tuple(
            sorted({note.provenance.annotator for each in evidence.sessions for note in each.annotations})
        ),
        "consent": tuple(sorted({each.session.consent.basis.value for each in evidence.sessions})),
    }


def _reasons(report: Report) -> dict[str, str]:
    clean = report.extraction.clean
    scores = {"wer": clean.wer, "speaker_accuracy": clean.speaker_accuracy, "role_accuracy": clean.role_accuracy}
    reasons = {name: score.reason for name, score in scores.items() if isinstance(score, Unscored)}
    if report.clips_exact is None:
        reasons["clips_exact"] = "no clip was cut"
    if report.train is None:
        reasons["train"] = "no model was tuned in this workspace"
    return reasons
