"""A session's transcript as people and other programs read it."""

from __future__ import annotations

from collections.abc import Sequence

from ai_therapist.records import Clip, Session, Transcript
from ai_therapist.store.codec import canonical_json


def transcript_text(session: Session, turns: Transcript) -> str:
    """One paragraph per turn: time, speaker, role, and what was said.

    [00:01.2 – 00:05.8] A (therapist): how has your week been
    """
    head = [f"Session {session.name} ({session.id}), heard by {turns.transcriber}", ""]
    body = [
        f"[{_clock(turn.span.start_ms)} – {_clock(turn.span.end_ms)}] "
        f"{turn.speaker} ({session.role_of(turn.speaker).value}): {turn.text}"
        for turn in turns.utterances
    ]
    return "\n".join([*head, *body, ""])


def transcript_json(session: Session, turns: Transcript, clips: Sequence[Clip]) -> bytes:
    """The same as JSON, times in milliseconds, each turn with its clip and the faults that keep it from being shown."""
    clip_of = {clip.utterances[0]: clip for clip in clips}
    entries = [
        {
            "utterance": turn.id,
            "speaker": turn.speaker,
            "role": session.role_of(turn.speaker).value,
            "start": turn.span.start_ms,
            "end": turn.span.end_ms,
            "text": turn.text,
            "clip": clip_of[turn.id].id,
            "faults": sorted(clip_of[turn.id].faults),
        }
        for turn in turns.utterances
    ]
    return canonical_json(
        {"session": session.id, "name": session.name, "transcriber": turns.transcriber, "turns": entries}
    )


def clip_names(session: Session, turns: Transcript, clips: Sequence[Clip]) -> dict[str, str]:
    """Readable name of every clip with media, by clip id: "clip_003_client.mp4" is the third turn."""
    speaker_of = {turn.id: (turn.index + 1, session.role_of(turn.speaker)) for turn in turns.utterances}
    names = {}
    for clip in clips:
        number, role = speaker_of[clip.utterances[0]]
        if clip.media is not None:
            names[clip.id] = f"clip_{number:03d}_{role.value}.mp4"
    return names


def _clock(time_ms: int) -> str:
    tenths = time_ms // 100
    return f"{tenths // 600:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"
