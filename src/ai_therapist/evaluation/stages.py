"""The two stages of an evaluation: one system's predictions, and one session against its gold transcript."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

from pydantic import Field

from ai_therapist.errors import InvalidRecord
from ai_therapist.evaluation.agreement import LabelPairs, pair_labels
from ai_therapist.evaluation.clips import ClipCounts, count_clips
from ai_therapist.evaluation.config import EvaluationConfig
from ai_therapist.evaluation.extraction import GoldComparison, compare
from ai_therapist.evaluation.gold import GoldSession
from ai_therapist.evaluation.opened import Encoder, opened, rate_replies
from ai_therapist.evaluation.predictions import Prediction, PredictionLog, predictions_of
from ai_therapist.pipeline.stage import Job, Stage, StageConfig
from ai_therapist.records import Annotation, Clip, Example, Session, Split, Task, Transcript
from ai_therapist.records.base import Record
from ai_therapist.records.ids import RecordId

_CLIPS = "clip/*"


class SystemRecord(Record):
    """Which system predicts: an input like any other, so that each has its own action."""

    name: Annotated[str, Field(min_length=1)]
    spec: str | None = None
    """KIND or KIND:WHERE of a model, whose own name `name` then is; None for the systems of this package."""


class EncoderRecord(Record):
    """Which encoder compares replies: an input, so that another one counts them anew."""

    folder: str
    revision: str
    layer: int | None


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
        version=2,
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


def rate_stage() -> Stage:
    """The replies of one system, counted against those that were given."""
    return Stage(
        name="evaluation.replies",
        version=2,
        run=rate,
        needs=("examples", "predictions", "encoder*"),
        gives=("reply_table",),
        config=MeasureConfig(),
        tools=("sacrebleu", "rouge-score", "torch", "transformers"),
        timeout_s=24 * 3600,
    )


def predict(job: Job) -> None:
    """Gives `predictions`: for every example of the test split, one record per field.

    A run that was stopped goes on after the last example that it had finished.
    """
    examples = job.record_list(Example, "examples")
    system_record = job.record(SystemRecord, "system")
    name, known_as = system_record.name, system_record.spec or system_record.name
    held_out = [example for example in examples if example.split is Split.TEST]
    finished = PredictionLog(job.work / "predictions.jsonl")
    left = [example for example in held_out if example.id not in finished.examples]
    if left:
        with opened(known_as, job, examples, cast(PredictConfig, job.config).reply_tokens) as system:
            for number, example in enumerate(left, start=len(held_out) - len(left) + 1):
                finished.append(predictions_of(name, system, example))
                job.progress(number, len(held_out), name)
    predictions = [row for example in held_out for row in finished.examples[example.id]]
    job.give_records("predictions", predictions)
    job.count(predictions=len(predictions))


def rate(job: Job) -> None:
    """Gives `reply_table`, a ReplyTable."""
    examples = {example.id: example for example in job.record_list(Example, "examples")}
    predictions = job.record_list(Prediction, "predictions")
    job.give_record("reply_table", rate_replies(examples, predictions, _encoder(job)))


def _encoder(job: Job) -> Encoder | None:
    if "encoder" not in job.names():
        return None
    from ai_therapist.models.contextual import ContextualEncoder

    asked = job.record(EncoderRecord, "encoder")
    return ContextualEncoder(Path(asked.folder), asked.layer)


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
