"""Seeded builders of records, for tests and examples."""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path

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


@dataclass(frozen=True)
class RecordingSpec:
    """What `make_recording` makes: two seconds of a moving bar and a tone unless told otherwise."""

    duration_ms: int = 2000
    fps: int = 25
    """Rate of the time grid; with `keep` also the finest distance of two frames."""
    size_px: tuple[int, int] = (96, 64)
    picture: bool = True
    tone_hz: float | None = 440.0
    """Pitch of the tone; None for no sound at all."""
    keep: Callable[[int], bool] = lambda number: True
    """Which frames of the grid exist: dropping some makes a variable frame rate."""


def make_recording(path: Path, spec: RecordingSpec | None = None) -> Path:
    """Write a real video with sound to `path`, whose suffix says the container; equal specs give equal bytes.

    Frame k of the grid is red at a brightness of 12·(k modulo 20) with a white bar that moves, so that a frame can be
    told from its neighbours by its colour.
    """
    import av
    import numpy as np

    chosen = spec or RecordingSpec()
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        if chosen.picture:
            width, height = chosen.size_px
            # Neither threads nor the tree: their bytes differ from machine to machine and from run to run.
            video = container.add_stream("libx264", chosen.fps, {"threads": "1", "x264-params": "mbtree=0"})
            video.width, video.height = width, height
            video.pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
        if chosen.tone_hz is not None:
            audio = container.add_stream("aac", 48_000, layout="mono")
        if chosen.picture:
            for number in filter(chosen.keep, range(chosen.duration_ms * chosen.fps // 1000)):
                image = np.zeros((height, width, 3), np.uint8)
                image[:, :, 0] = 12 * (number % 20)
                image[:, (2 * number) % width : (2 * number) % width + 4] = 255
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts = number
                frame.time_base = Fraction(1, chosen.fps)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if chosen.tone_hz is not None:
            times = np.arange(chosen.duration_ms * 48) / 48_000
            tone = (0.3 * np.sin(2 * np.pi * chosen.tone_hz * times)).astype(np.float32)[None]
            sound = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
            sound.sample_rate, sound.pts = 48_000, 0
            resampler = av.AudioResampler("fltp", "mono", 48_000, frame_size=1024)
            for piece in (*resampler.resample(sound), *resampler.resample(None)):
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    return path
