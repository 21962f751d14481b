"""A workspace as the rooms before evaluation leave it, made from gold transcripts without running any of them."""

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ai_therapist.evaluation.gold import GoldSession, GoldUtterance, GoldWord
from ai_therapist.records import (
    Abstention,
    Annotation,
    Clip,
    Example,
    Label,
    Labels,
    Media,
    Modality,
    Provenance,
    Role,
    Session,
    Speaker,
    Split,
    Task,
    TimeSpan,
    Transcript,
    Turn,
    Utterance,
    VideoStream,
    Word,
    load_codebook,
)
from ai_therapist.store.codec import canonical_json, encode, encode_all
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from ai_therapist.testing import make_digest, make_session

FPS = Fraction(16)
_WORDS = ["evening", "garden", "letter", "winter", "kitchen", "brother", "worry", "quiet", "river", "morning"]


def make_gold(name: str, turns: int = 6, seed: int = 0, traits: Sequence[str] = ("clean",)) -> GoldSession:
    """A gold transcript of alternating turns of six words, therapist first, with labels from the codebook."""
    rng = random.Random(f"{name}{seed}")
    book = load_codebook()
    utterances = []
    for index in range(turns):
        texts = [rng.choice(_WORDS) for _ in range(6)]
        words = tuple(
            GoldWord(text=text, start_ms=500 + 4000 * index + 500 * at, end_ms=900 + 4000 * index + 500 * at)
            for at, text in enumerate(texts)
        )
        therapist = index % 2 == 0
        utterances.append(
            GoldUtterance(
                speaker="AB"[index % 2],
                role=Role.THERAPIST if therapist else Role.CLIENT,
                start_ms=words[0].start_ms,
                end_ms=words[-1].end_ms,
                text=" ".join(texts),
                words=words,
                emotion=rng.choice(book.names(Task.EMOTION)),
                strategy=rng.choice(book.names(Task.STRATEGY)) if therapist else None,
            )
        )
    return GoldSession(
        session=name,
        traits=frozenset(traits),
        fps="25/1",
        duration_ms=4000 * turns + 1000,
        utterances=tuple(utterances),
    )


def heard_as(gold: GoldSession, label_of: Callable[[str], str] = lambda speaker: f"voice {speaker}") -> Transcript:
    """The transcript of a recogniser that gets every word, time and speaker right, under labels of its own."""
    session = make_session(gold.session).id
    ordered = sorted(gold.utterances, key=lambda each: each.start_ms)
    return Transcript(
        session=session,
        transcriber="perfect ear",
        utterances=tuple(
            Utterance.of(
                session,
                index,
                label_of(each.speaker),
                each.span,
                each.text,
                tuple(Word(text=word.text, span=word.span) for word in each.words),
            )
            for index, each in enumerate(ordered)
        ),
    )


def session_of(gold: GoldSession, label_of: Callable[[str], str] = lambda speaker: f"voice {speaker}") -> Session:
    """The session whose voices carry the roles of gold."""
    roles = {each.speaker: each.role for each in gold.utterances}
    speakers = tuple(
        Speaker(label=label_of(name), role=role, decided_by="test", confidence=None) for name, role in roles.items()
    )
    return make_session(gold.session, gold.duration_ms).model_copy(update={"speakers": speakers})


def annotate(turn: Utterance, task: Task, label: str | None) -> Annotation:
    """An annotation by a scripted annotator; None is an abstention."""
    outcome = Abstention(reason="scripted") if label is None else Label(value=label)
    digest = make_digest(f"{turn.id}{task}")
    provenance = Provenance(
        annotator="scripted-1",
        prompt_sha256=digest,
        codebook="1.0",
        modalities=frozenset({Modality.TEXT}),
        route="test",
        request_sha256=digest,
        at="2026-01-01T00:00:00Z",
    )
    return Annotation.of(turn.id, task, outcome, provenance)


def labels_said(gold: GoldSession, turns: Transcript, right_every: int = 3) -> list[Annotation]:
    """Annotations equal to gold, but for an abstention at every `right_every`-th turn."""
    ordered = sorted(gold.utterances, key=lambda each: each.start_ms)
    notes = []
    for index, (said, turn) in enumerate(zip(ordered, turns.utterances, strict=True)):
        for task in (Task.EMOTION, Task.STRATEGY):
            if (label := said.label(task)) is not None:
                notes.append(annotate(turn, task, None if index % right_every == right_every - 1 else label))
    return notes


def write_clip(path: Path, frames: int, gap: int | None = None) -> None:
    """A small H.264 video of `frames` frames at 16 FPS; the frame numbered `gap` is left out."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"threads": "1", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            if number == gap:
                continue
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number % 255, dtype=np.uint8), format="rgb24")
            frame.pts = number
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def clip_of(turn: Utterance, path: Path) -> Clip:
    """The record of a clip of one turn."""
    video = VideoStream(width_px=64, height_px=48, fps="16/1", codec="h264")
    media = Media(
        path=path.name, sha256=make_digest(turn.id), duration_ms=turn.span.duration_ms, video=video, audio=None
    )
    return Clip.of(turn.session, (turn.id,), turn.span, media, frozenset())


def make_examples(golds: Sequence[GoldSession], test: int = 2) -> list[Example]:
    """An example for every therapist reply to a client; the last `test` sessions are held out."""
    examples = []
    for place, gold in enumerate(golds):
        turns = heard_as(gold).utterances
        said = sorted(gold.utterances, key=lambda each: each.start_ms)
        for at in range(1, len(turns)):
            if (said[at - 1].role, said[at].role) != (Role.CLIENT, Role.THERAPIST):
                continue
            examples.append(
                Example(
                    id=Example.id_of(turns[at].session, turns[at - 1].id, turns[at].id),
                    session=turns[at].session,
                    group=gold.session,
                    split=Split.TEST if place >= len(golds) - test else Split.TRAIN,
                    context=tuple(as_turn(turns[i], said[i].role) for i in range(at - 1)),
                    client=as_turn(turns[at - 1], Role.CLIENT),
                    reply=as_turn(turns[at], Role.THERAPIST),
                    labels=Labels(
                        client_emotion=said[at - 1].emotion,
                        strategy=said[at].strategy,
                        therapist_emotion=said[at].emotion,
                    ),
                    clip=None,
                    clip_sha256=None,
                )
            )
    return examples


def as_turn(utterance: Utterance, role: Role) -> Turn:
    """An utterance as an example shows it."""
    span: TimeSpan = utterance.span
    return Turn(utterance=utterance.id, role=role, start_ms=span.start_ms, end_ms=span.end_ms, text=utterance.text)


def done(item: str, name: str, artefacts: dict[str, str]) -> ItemRecord:
    """A complete item of a ledger."""
    return ItemRecord(item=item, name=name, status=Status.DONE, reason=None, artefacts=artefacts, actions=(), counts={})


def make_arc(root: Path, golds: Sequence[GoldSession], *, tuned: bool = False) -> Workspace:
    """A workspace with the ledgers of extraction, annotation and dataset; if `tuned`, of a model that does not open."""
    workspace = Workspace(root)
    store = workspace.store
    extracted, annotated = [], []
    for gold in golds:
        session, turns = session_of(gold), heard_as(gold)
        clip_file = root / "clip.mp4"
        first = turns.utterances[0]
        write_clip(clip_file, len(first.span.frames(FPS)))
        clip = clip_of(first, clip_file)
        artefacts = {
            "session": store.put_bytes(encode(session)),
            "transcript": store.put_bytes(encode(turns)),
            "utterances": store.put_bytes(encode(turns)),
            "clips": store.put_bytes(encode_all([clip])),
            f"clip/{clip.id}": store.put_file(clip_file),
        }
        clip_file.unlink()
        extracted.append(done(session.id, gold.session, artefacts))
        notes = store.put_bytes(encode_all(labels_said(gold, turns)))
        annotated.append(done(session.id, gold.session, artefacts | {"annotations": notes}))
    broken = ItemRecord(
        item="ses_000000000000",
        name="truncated",
        status=Status.QUARANTINED,
        reason="/srv/recordings/truncated.mp4: breaks off",
        artefacts={},
        actions=(),
        counts={},
    )
    examples = store.put_bytes(encode_all(make_examples(golds)))
    _save(workspace, "extraction", [*extracted, broken])
    _save(workspace, "annotation", annotated)
    _save(workspace, "dataset", [done("dataset", "dataset", {"examples": examples})])
    if tuned:
        curve = [{"step": step, "loss": 4.0 / (1 + step / 20) + 1, "learning_rate": 0.001} for step in range(1, 101)]
        training = {"loss_first": 4.8, "loss_last": 1.7, "seconds": 31.5, "steps": 100, "parameters": 1_200_000}
        model = root / "model"
        (model / "merged").mkdir(parents=True)
        (model / "merged" / "config.json").write_text("{}")
        (model / "finetuning.json").write_text("{}")
        artefacts = {
            "examples": examples,
            "model": store.put_tree(model),
            "curve": store.put_bytes(canonical_json(curve)),
            "training": store.put_bytes(canonical_json(training)),
        }
        _save(workspace, "finetuning", [done("model", "model", artefacts)])
    return workspace


def write_golds(folder: Path, golds: Sequence[GoldSession]) -> Path:
    """The gold folder that a user hands in."""
    folder.mkdir()
    for gold in golds:
        (folder / f"{gold.session}.json").write_bytes(encode(gold))
    return folder


def _save(workspace: Workspace, run: str, items: Sequence[ItemRecord]) -> None:
    workspace.save_run(RunRecord(run=run, config={}, read=len(items), items=tuple(items)))
