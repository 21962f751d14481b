"""The two stages of an evaluation: one system's predictions, and one session against its gold transcript."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

from pydantic import Field

from ai_therapist.errors import InvalidRecord
from ai_therapist.evaluation.agreement import LabelPairs, pair_labels
from ai_therapist.evaluation.baselines import Majority, TextOnly
from ai_therapist.evaluation.clips import ClipCounts, count_clips
from ai_therapist.evaluation.config import EvaluationConfig, SystemName
from ai_therapist.evaluation.extraction import GoldComparison, compare
from ai_therapist.evaluation.gold import GoldSession
from ai_therapist.evaluation.predictions import Prediction, System, predictions_of
from ai_therapist.evaluation.tuned import Tuned
from ai_therapist.pipeline.stage import Job, Stage, StageConfig
from ai_therapist.records import Annotation, Clip, Example, Session, Split, Task, Transcript
from ai_therapist.records.base import Record
from ai_therapist.records.ids import RecordId

_CLIPS = "clip/*"


class SystemRecord(Record):
    """Which system predicts: an input like any other, so that each has its own action."""

    name: SystemName


class PredictConfig(StageConfig):
    """What determines the predictions beside the examples and the model."""

    reply_tokens: Annotated[int, Field(ge=0)]
    """Longest reply in tokens; 0 asks for no reply."""


class MeasureConfig(StageConfig):
    """Measuring has no settings."""


class SessionQuality(Record):
    """All that is measured about one session; comparisons are None without a gold transcript."""

    session: RecordId
    clips: ClipCounts
    comparison: GoldComparison | None
    emotion: LabelPairs | None
    """None without a gold transcript or without annotations; the same for `strategy`."""
    strategy: LabelPairs | None


def predict_stage(config: EvaluationConfig) -> Stage:
    """Predictions of one system for the held-out split; opens the model only where the system is the tuned one."""
    return Stage(
        name="evaluation.predict",
        version=1,
        run=predict,
        needs=("examples", "system", "model*"),
        gives=("predictions",),
        config=PredictConfig(reply_tokens=config.reply_tokens),
        tools=("scikit-learn", "torch", "transformers"),
        timeout_s=24 * 3600,
        attempts=1,
    )


def measure_stage() -> Stage:
    """One session against its gold transcript, and its clips counted anew."""
    return Stage(
        name="evaluation.measure",
        version=2,
        run=measure,
        needs=("session", "transcript", "utterances", "clips", _CLIPS, "annotations*", "gold*"),
        gives=("quality",),
        config=MeasureConfig(),
        tools=("av",),
    )


def predict(job: Job) -> None:
    """Gives `predictions`: for every example of the test split, one record per field."""
    examples = job.record_list(Example, "examples")
    name = job.record(SystemRecord, "system").name
    held_out = [example for example in examples if example.split is Split.TEST]
    system = _open_system(name, job, [example for example in examples if example.split is Split.TRAIN])
    predictions: list[Prediction] = []
    for number, example in enumerate(held_out, start=1):
        predictions += predictions_of(name, system, example)
        job.progress(number, len(held_out), name)
    job.give_records("predictions", predictions)
    job.count(predictions=len(predictions))


def _open_system(name: SystemName, job: Job, train: Sequence[Example]) -> System:
    match name:
        case "majority":
            return Majority(train)
        case "text-only":
            return TextOnly(train)
        case "tuned":
            from ai_therapist.models.local import open_tuned

            folder = job.scratch / "model"
            job.checkout("model", folder)
            settings = cast(PredictConfig, job.config)
            return Tuned(
                open_tuned(folder),
                lambda example: None if example.clip_sha256 is None else job.blob(example.clip_sha256),
                settings.reply_tokens,
            )


def measure(job: Job) -> None:
    """Gives `quality`, a SessionQuality. Raises InvalidRecord for a gold transcript of another session."""
    session = job.record(Session, "session")
    turns = job.record(Transcript, "utterances")
    clips = job.record_list(Clip, "clips")
    gold = _gold_of(session, job)
    annotations = job.record_list(Annotation, "annotations") if "annotations" in job.names() else None
    pairs: dict[Task, LabelPairs] = {}
    if gold is not None and annotations is not None:
        pairs = {task: pair_labels(gold, turns, annotations, task) for task in (Task.EMOTION, Task.STRATEGY)}
    quality = SessionQuality(
        session=session.id,
        clips=count_clips(clips, {name.removeprefix("clip/"): job.path(name) for name in job.names(_CLIPS)}),
        comparison=None if gold is None else compare(gold, session, job.record(Transcript, "transcript"), turns),
        emotion=pairs.get(Task.EMOTION),
        strategy=pairs.get(Task.STRATEGY),
    )
    job.give_record("quality", quality)


def _gold_of(session: Session, job: Job) -> GoldSession | None:
    if "gold" not in job.names():
        return None
    gold = job.record(GoldSession, "gold")
    if gold.session != session.name:
        raise InvalidRecord(f"gold of {job.item}: it is of session {gold.session!r}, not {session.name!r}")
    return gold
