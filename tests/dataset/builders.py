"""Annotated sessions for the tests of the rooms that follow annotation."""

from collections.abc import Sequence
from pathlib import Path

from ai_therapist.dataset.build import SessionParts
from ai_therapist.records import (
    Abstention,
    Annotation,
    Clip,
    Cues,
    Label,
    Media,
    Modality,
    Provenance,
    Role,
    Session,
    Speaker,
    Task,
    TimeSpan,
    Transcript,
    Use,
    Utterance,
    VideoStream,
    Word,
)
from ai_therapist.store.codec import encode, encode_all
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from ai_therapist.testing import (
    RecordingSpec,
    make_consent,
    make_digest,
    make_recording,
    make_session,
    make_transcript,
)

EMOTIONS = ("sadness", "neutral", "joy", "fear")
STRATEGIES = ("Restatement", "Open questions", "Approval")


def make_talk(session: Session, *turns: tuple[str, int, int, str]) -> Transcript:
    """A transcript of (speaker, start_ms, end_ms, text) with the words spread evenly over each turn."""
    utterances = []
    for index, (speaker, start_ms, end_ms, text) in enumerate(turns):
        texts = text.split()
        edges = [start_ms + (end_ms - start_ms) * place // len(texts) for place in range(len(texts) + 1)]
        words = tuple(
            Word(text=word, span=TimeSpan(start_ms=a, end_ms=b))
            for word, a, b in zip(texts, edges[:-1], edges[1:], strict=True)
        )
        span = TimeSpan(start_ms=start_ms, end_ms=end_ms)
        utterances.append(Utterance.of(session.id, index, speaker, span, text, words))
    return Transcript(session=session.id, transcriber="test", utterances=tuple(utterances))


def make_annotation(utterance: str, task: Task, label: str | None, annotator: str = "annotator-1") -> Annotation:
    """An annotation, or an abstention where `label` is None."""
    provenance = Provenance(
        annotator=annotator,
        prompt_sha256=make_digest("prompt"),
        codebook="1.0",
        modalities=frozenset({Modality.TEXT}),
        route="test",
        request_sha256=make_digest(f"{utterance}{task}"),
        at="2026-01-01T00:00:00Z",
    )
    outcome = Abstention(reason="test") if label is None else Label(value=label)
    return Annotation.of(utterance, task, outcome, provenance)


def make_cues(utterance: str, text: str, annotator: str = "annotator-1") -> Annotation:
    """What is seen and heard of a turn, written down."""
    about = make_annotation(utterance, Task.CUES, None, annotator).provenance
    return Annotation.of(utterance, Task.CUES, Cues(text=text), about)


def make_annotations(session: Session, transcript: Transcript) -> tuple[Annotation, ...]:
    """An emotion for every turn and a strategy for every turn of the therapist."""
    made = []
    for place, utterance in enumerate(transcript.utterances):
        made.append(make_annotation(utterance.id, Task.EMOTION, EMOTIONS[place % len(EMOTIONS)]))
        if session.role_of(utterance.speaker) is Role.THERAPIST:
            made.append(make_annotation(utterance.id, Task.STRATEGY, STRATEGIES[place % len(STRATEGIES)]))
    return tuple(made)


def make_clips(transcript: Transcript, sha256: str | None = None) -> tuple[Clip, ...]:
    """A usable clip for every utterance, of its own span."""
    return tuple(
        Clip.of(
            transcript.session,
            (utterance.id,),
            utterance.span,
            Media(
                path=f"{utterance.id}.mp4",
                sha256=sha256 or make_digest(utterance.id),
                duration_ms=utterance.span.duration_ms,
                video=VideoStream(width_px=64, height_px=64, fps="16/1", codec="h264"),
                audio=None,
            ),
            frozenset(),
        )
        for utterance in transcript.utterances
    )


def make_parts(name: str = "one", transcript: Transcript | None = None, turns: int = 8, seed: int = 0) -> SessionParts:
    """A fully annotated session with clips."""
    session = make_session(name)
    transcript = transcript or make_transcript(session, turns, seed)
    return SessionParts(session, transcript, make_clips(transcript), make_annotations(session, transcript))


def with_speakers(session: Session, **roles: Role) -> Session:
    """The session with these labels and roles."""
    speakers = tuple(
        Speaker(label=label, role=role, decided_by="test", confidence=1.0) for label, role in roles.items()
    )
    return session.model_copy(update={"speakers": speakers})


def with_uses(parts: SessionParts, *uses: Use) -> SessionParts:
    """The session with a consent record that permits only `uses`."""
    session = parts.session.model_copy(update={"consent": make_consent(*uses)})
    return SessionParts(session, parts.transcript, parts.clips, parts.annotations)


def save_annotated(workspace: Workspace, sessions: Sequence[SessionParts]) -> None:
    """Put sessions into a workspace as the annotation run leaves them."""
    items = []
    for parts in sessions:
        store = workspace.store
        artefacts = {
            "session": store.put_bytes(encode(parts.session)),
            "utterances": store.put_bytes(encode(parts.transcript)),
            "clips": store.put_bytes(encode_all(parts.clips)),
            "annotations": store.put_bytes(encode_all(parts.annotations)),
        }
        items.append(
            ItemRecord(
                item=parts.session.id,
                name=parts.session.name,
                status=Status.DONE,
                reason=None,
                artefacts=artefacts,
                actions=(),
                counts={},
            )
        )
    workspace.save_run(RunRecord(run="annotation", config={}, read=len(items), items=tuple(items)))


def save_with_clips(workspace: Workspace, sessions: Sequence[SessionParts], folder: Path) -> list[SessionParts]:
    """Put sessions into a workspace whose clips are real recordings; returns them with the digests of these."""
    recording = make_recording(folder / "clip.mp4", RecordingSpec(duration_ms=500))
    digest = workspace.store.put_file(recording)
    filmed = [
        SessionParts(parts.session, parts.transcript, make_clips(parts.transcript, digest), parts.annotations)
        for parts in sessions
    ]
    save_annotated(workspace, filmed)
    return filmed
