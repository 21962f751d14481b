"""Seeded builders of records, for tests and examples."""

import hashlib
import random
from collections.abc import Sequence
from datetime import date

from ai_therapist.records import (
    AudioStream,
    Basis,
    Consent,
    Media,
    Role,
    Session,
    SourceRecord,
    Speaker,
    TimeSpan,
    Transcript,
    Use,
    Utterance,
    VideoStream,
    Word,
)

_WORDS = (
    "we",
    "talked",
    "about",
    "the",
    "long",
    "week",
    "and",
    "how",
    "the",
    "garden",
    "helps",
    "when",
    "evenings",
    "feel",
)


def make_consent(*uses: Use) -> Consent:
    """A rights record for a fictional role-play; all uses unless some are named."""
    return Consent(
        basis=Basis.FICTIONAL_ROLE_PLAY,
        permitted_uses=frozenset(uses or Use),
        evidence="invented for a test",
        recorded_on=date(2026, 1, 1),
    )


def make_source(name: str = "one", uses: Sequence[Use] = ()) -> SourceRecord:
    """A source record whose digest and group follow from its name."""
    return SourceRecord(name=name, sha256=make_digest(name), group=f"group-{name}", consent=make_consent(*uses))


def make_digest(seed: str) -> str:
    """A digest that follows from `seed`."""
    return hashlib.sha256(seed.encode()).hexdigest()


def make_session(name: str = "one", duration_ms: int = 60_000) -> Session:
    """A session with a therapist "A" and a client "B"."""
    source = make_source(name)
    return Session(
        id=source.session_id,
        name=name,
        media=Media(
            path=f"{name}.mp4",
            sha256=source.sha256,
            duration_ms=duration_ms,
            video=VideoStream(width_px=320, height_px=240, fps="25/1", codec="h264"),
            audio=AudioStream(rate_hz=48_000, channels=1),
        ),
        consent=source.consent,
        group=source.group,
        speakers=(
            Speaker(label="A", role=Role.THERAPIST, decided_by="test", confidence=1.0),
            Speaker(label="B", role=Role.CLIENT, decided_by="test", confidence=1.0),
        ),
    )


def make_transcript(session: Session, turns: int = 8, seed: int = 0) -> Transcript:
    """A transcript of alternating turns of four to ten words, one word every 400 ms, starting with "A"."""
    rng = random.Random(seed)
    utterances = []
    now_ms = 500
    for index in range(turns):
        texts = [rng.choice(_WORDS) for _ in range(rng.randint(4, 10))]
        words = tuple(
            Word(text=text, span=TimeSpan(start_ms=now_ms + 400 * place, end_ms=now_ms + 400 * place + 350))
            for place, text in enumerate(texts)
        )
        span = words[0].span.joined(words[-1].span)
        utterances.append(
            Utterance.of(session.id, index, "AB"[index % 2], span, " ".join(texts), words, confidence=0.9)
        )
        now_ms = span.end_ms + 600
    return Transcript(session=session.id, transcriber="test", utterances=tuple(utterances))
