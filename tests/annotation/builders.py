"""Sessions, clips and workspaces for the tests of annotation."""

from collections.abc import Sequence
from pathlib import Path

from ai_therapist.records import (
    Annotation,
    AudioStream,
    Clip,
    Fault,
    Media,
    Modality,
    Outcome,
    Provenance,
    Session,
    Task,
    TimeSpan,
    Transcript,
    Use,
    Utterance,
    VideoStream,
)
from ai_therapist.store.codec import encode, encode_all
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from ai_therapist.testing import make_consent, make_digest, make_session

VIDEO = VideoStream(width_px=320, height_px=240, fps="16/1", codec="h264")
AUDIO = AudioStream(rate_hz=16_000, channels=1)


def make_turns(session: Session, *texts: str, speakers: str = "AB") -> tuple[Utterance, ...]:
    """Turns of four seconds each, the speakers taking turns."""
    return tuple(
        Utterance.of(
            session.id,
            index,
            speakers[index % len(speakers)],
            TimeSpan(start_ms=5_000 * index, end_ms=5_000 * index + 4_000),
            text,
        )
        for index, text in enumerate(texts)
    )


def make_annotation(turn: str, outcome: Outcome, task: Task = Task.EMOTION) -> Annotation:
    """An annotation of the turn that the seed `turn` names."""
    provenance = Provenance(
        annotator="test",
        prompt_sha256=make_digest("prompt"),
        codebook="1.0",
        modalities=frozenset({Modality.TEXT}),
        route="test",
        request_sha256=make_digest(turn),
        at="2026-01-01T00:00:00+00:00",
    )
    return Annotation.of(f"utt_{make_digest(turn)[:12]}", task, outcome, provenance)


def make_clip(turn: Utterance, *faults: Fault, sound: bool = True, picture: bool = True) -> Clip:
    """The clip of one turn; without media where it has faults."""
    media = Media(
        path=f"{turn.id}.mp4",
        sha256=make_digest(turn.id),
        duration_ms=turn.span.duration_ms,
        video=VIDEO if picture else None,
        audio=AUDIO if sound else None,
    )
    return Clip.of(turn.session, (turn.id,), turn.span, None if faults else media, frozenset(faults))


def make_extraction(root: Path, *names: str, uses: Sequence[Use] = tuple(Use), texts: Sequence[str] = ()) -> Workspace:
    """A workspace whose extraction holds one finished session of each name; every turn has a clip."""
    workspace = Workspace(root)
    items = []
    for name in names:
        session = make_session(name).model_copy(update={"consent": make_consent(*uses)})
        turns = make_turns(session, *(texts or ("What was that like for you?", "I miss her so much, I cried.")))
        store = workspace.store
        media = [store.put_bytes(f"clip of {turn.id}".encode()) for turn in turns]
        clips = [
            clip.model_copy(update={"media": clip.media and clip.media.model_copy(update={"sha256": digest})})
            for clip, digest in zip((make_clip(turn) for turn in turns), media, strict=True)
        ]
        transcript = Transcript(session=session.id, transcriber="test", utterances=turns)
        artefacts = {
            "session": store.put_bytes(encode(session)),
            "utterances": store.put_bytes(encode(transcript)),
            "clips": store.put_bytes(encode_all(clips)),
            **{f"clip/{clip.id}": digest for clip, digest in zip(clips, media, strict=True)},
        }
        items.append(
            ItemRecord(
                item=session.id,
                name=name,
                status=Status.DONE,
                reason=None,
                artefacts=artefacts,
                actions=(make_digest(f"extraction of {name}"),),
                counts={},
            )
        )
    workspace.save_run(RunRecord(run="extraction", config={}, read=len(items), items=tuple(items)))
    return workspace
