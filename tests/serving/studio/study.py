"""A small study as the arc leaves it, with real recordings, and with transcripts that try to break the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.run import build_dataset
from ai_therapist.evaluation.config import EvaluationConfig
from ai_therapist.evaluation.run import evaluate
from ai_therapist.media.sound import extract_speech
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import (
    Annotation,
    Clip,
    Fault,
    Label,
    Media,
    Session,
    Task,
    TimeSpan,
    Transcript,
    Use,
    VideoStream,
    load_codebook,
)
from ai_therapist.store.actions import ActionRecord
from ai_therapist.store.codec import canonical_json, encode, encode_all
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from ai_therapist.testing import RecordingSpec, make_consent, make_digest, make_recording, make_session
from tests.dataset.builders import EMOTIONS, STRATEGIES, make_annotation, make_talk

TURN_MS = 2_000
LINES = (
    "good evening how was the week for you",
    "the evenings were long and I miss my sister",
    "you miss her most when the day is over",
    "yes and then I sit in the kitchen and wait",
    "what would help you in such a moment",
    "somebody who calls me without a reason I think",
    "that is a good wish and we can plan it",
)
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    '"><svg onload=alert(3)> javascript:alert(4)',
    "{{7*7}} ${7*7} \u202e rtl \x1b[31m &lt;b&gt;",
)


def make_study(root: Path, names: Sequence[str] = ("one", "two"), *, hostile: bool = False) -> Workspace:
    """A workspace with sessions, labels, a dataset, a training and, over a real evaluation, a report."""
    workspace = Workspace(root)
    film = root.parent / "film.mp4"
    length_ms = TURN_MS * len(LINES) + 500
    make_recording(film, RecordingSpec(duration_ms=length_ms, fps=16, size_px=(160, 90)))
    sound = root.parent / "sound.wav"
    extract_speech(film, sound)
    clip = make_recording(root.parent / "clip.mp4", RecordingSpec(duration_ms=1000, fps=16, size_px=(64, 48)))
    media = {name: workspace.store.put_file(path) for name, path in (("video", film), ("audio", sound), ("clip", clip))}
    items = [_session(workspace, name, media, length_ms, hostile=hostile) for name in names]
    broken = _line("ses_000000000000", "<i>truncated</i>", Status.QUARANTINED, "not a readable <b>recording</b>", {})
    for run, lines in (("extraction", [*items, broken]), ("annotation", items)):
        workspace.save_run(RunRecord(run=run, config={}, read=len(lines), items=tuple(lines)))
    build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store))
    _training(workspace)
    return workspace


def evaluated(workspace: Workspace) -> None:
    """Measure two baselines, so that there is a report."""
    config = EvaluationConfig(systems=("majority", "random"), resamples=1000)
    evaluate(workspace, config, InlineExecutor(workspace.store), None, {})


def _session(workspace: Workspace, name: str, media: dict[str, str], length_ms: int, *, hostile: bool) -> ItemRecord:
    store = workspace.store
    uses = (Use.TRANSCRIBE, Use.ANNOTATE, Use.TRAIN) if name == "words only" else tuple(Use)
    session = make_session(name, length_ms).model_copy(update={"consent": make_consent(*uses)})
    lines = [*HOSTILE, *LINES[len(HOSTILE) :]] if hostile else [f"{line} {name}" for line in LINES]
    talk = make_talk(
        session, *(("AB"[at % 2], 200 + at * TURN_MS, 1900 + at * TURN_MS, line) for at, line in enumerate(lines))
    )
    clips = _clips(session, talk, media["clip"])
    artefacts = {
        "session": store.put_bytes(encode(session)),
        "transcript": store.put_bytes(encode(talk)),
        "utterances": store.put_bytes(encode(talk)),
        "clips": store.put_bytes(encode_all(clips)),
        "annotations": store.put_bytes(encode_all(_labels(session, talk))),
        "video": media["video"],
        "audio": media["audio"],
        **{f"clip/{clip.id}": media["clip"] for clip in clips if clip.media is not None},
    }
    return _line(session.id, name, Status.DONE, None, artefacts)


def _clips(session: Session, talk: Transcript, sha256: str) -> list[Clip]:
    """A clip for every turn; the last one is too short to be shown to a model."""
    video = VideoStream(width_px=64, height_px=48, fps="16/1", codec="h264")
    media = Media(path="clip.mp4", sha256=sha256, duration_ms=1000, video=video, audio=None)
    *long, last = talk.utterances
    clips = [Clip.of(session.id, (turn.id,), turn.span, media, frozenset()) for turn in long]
    span = TimeSpan(start_ms=last.span.start_ms, end_ms=last.span.end_ms)
    return [*clips, Clip.of(session.id, (last.id,), span, None, frozenset({Fault.TOO_SHORT}))]


def _labels(session: Session, talk: Transcript) -> list[Annotation]:
    """Labels of a model that is surer of some turns than of others, and abstains once."""
    notes = []
    for at, turn in enumerate(talk.utterances):
        notes.append(_sure(turn.id, Task.EMOTION, EMOTIONS[at % len(EMOTIONS)] if at != 5 else None, 0.4 + 0.08 * at))
        if at % 2 == 0:
            notes.append(_sure(turn.id, Task.STRATEGY, STRATEGIES[at % len(STRATEGIES)], 0.9))
    return notes


def _sure(utterance: str, task: Task, label: str | None, chance: float) -> Annotation:
    base = make_annotation(utterance, task, label, "embedded@0123456789ab")
    if label is None:
        return base
    others = [name for name in load_codebook().names(task) if name != label]
    probabilities = {label: chance, **dict.fromkeys(others, (1 - chance) / len(others))}
    return Annotation.of(utterance, task, Label(value=label, probabilities=probabilities), base.provenance)


def _training(workspace: Workspace) -> None:
    store = workspace.store
    curve = [{"step": step, "loss": 4 / (1 + step / 20) + 1, "learning_rate": 0.001} for step in range(1, 101)]
    account = {"examples": 6, "steps": 100, "loss_first": 4.8, "loss_last": 1.7, "seconds": 3.5}
    store.commit(
        ActionRecord(
            key=make_digest("training"),
            stage="finetuning.train",
            version=1,
            item="model",
            config={"preset": "tiny"},
            tools={},
            inputs={},
            outputs={
                "curve": store.put_bytes(canonical_json(curve)),
                "training": store.put_bytes(canonical_json(account)),
            },
            records={},
            counts={},
        )
    )


def _line(item: str, name: str, status: Status, reason: str | None, artefacts: dict[str, str]) -> ItemRecord:
    return ItemRecord(item=item, name=name, status=status, reason=reason, artefacts=artefacts, actions=(), counts={})
