"""Speak one line with Debian's `flite` and say when each word is heard.

The times come from flite's own segment output (`flite -psdur`), never from a recogniser: flite prints each phone it
spoke with the second at which the phone ends. A word owns the phones that flite gives it when the word is spoken
alone; the two phone strings are matched by smallest edit distance, because flite changes a few phones in connected
speech ("the" before a vowel) and adds pauses at commas.

    phones   pau | ay | f  iy  l | t  ay er d | pau | ae n d | ...
    words          I    feel       tired              and

All audio here is 16 kHz mono `float64` in -1 .. 1; all times are integer milliseconds.
"""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000
"""The rate of the flite voices used here."""

SAMPLES_PER_MS = RATE_HZ // 1000

VOICE_OF_ROLE = {"THERAPIST": "rms", "CLIENT": "slt", "OTHER": "awb"}
"""rms and awb are men, slt is a woman; rms and slt are the two that PocketSphinx hears best."""

LEVEL_DBFS = -21.0
"""Root mean square of a spoken line against full scale: the level of a calm room recording."""

EDGE_MS = 30
"""What is kept before the first and after the last phone, so that no onset or release is clipped."""

PAUSE = "pau"


@dataclass(frozen=True)
class Manner:
    """How an emotion colours a voice."""

    stretch: float
    """Factor on every phone's duration; above 1 is slower."""
    pitch: float
    """Factor on the pitch (flite's `f0_shift`; rms ignores it)."""
    gain_db: float
    """Added to the level of the line."""


MANNERS = {
    "anger": Manner(0.98, 1.04, 1.5),
    "sadness": Manner(1.06, 0.96, -1.0),
    "disgust": Manner(1.03, 0.98, 0.0),
    "depression": Manner(1.08, 0.94, -2.0),
    "neutral": Manner(1.00, 1.00, 0.0),
    "joy": Manner(0.99, 1.05, 0.5),
    "fear": Manner(0.98, 1.06, -0.5),
}
"""Small on purpose: a listener hears them, and speakers stay further apart than the moods of one speaker."""


@dataclass(frozen=True)
class Word:
    """One spoken word; times count from the first phone of its line."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Phone:
    """One phone or pause; times count from the first phone of its line."""

    name: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Speech:
    """One spoken line without the silence around it."""

    samples: NDArray[np.float64]
    """`EDGE_MS` before the first phone, the speech, and at most `EDGE_MS` after the last phone."""
    duration_ms: int
    """From the first phone to the end of the last one."""
    words: tuple[Word, ...]
    phones: tuple[Phone, ...]


def spoken_words(text: str) -> list[str]:
    """The words of a line as written, without punctuation: `"Yes, I'm fine."` gives `["Yes", "I'm", "fine"]`."""
    return re.findall(r"[A-Za-z]+(?:'[A-Za-z]+)*", text)


def speak(text: str, role: str, emotion: str, pitch: float = 1.0) -> Speech:
    """The line spoken in the voice of `role`, coloured by `emotion`; `pitch` is the speaker's own pitch factor.

    Raises RuntimeError when flite fails or speaks at another rate, and KeyError for an unknown role or emotion.
    """
    voice, manner = VOICE_OF_ROLE[role], MANNERS[emotion]
    samples, phones = _run_flite(voice, text, manner.stretch, pitch * manner.pitch)
    spoken = [phone for phone in phones if phone.name != PAUSE]
    first_ms, last_ms = spoken[0].start_ms, spoken[-1].end_ms
    cut = samples[max(0, first_ms - EDGE_MS) * SAMPLES_PER_MS : (last_ms + EDGE_MS) * SAMPLES_PER_MS].copy()
    if first_ms < EDGE_MS:
        cut = np.concatenate([np.zeros((EDGE_MS - first_ms) * SAMPLES_PER_MS), cut])
    shifted = tuple(
        Phone(phone.name, phone.start_ms - first_ms, phone.end_ms - first_ms)
        for phone in phones
        if phone.end_ms > first_ms and phone.start_ms < last_ms
    )
    return Speech(
        samples=_levelled(cut, LEVEL_DBFS + manner.gain_db),
        duration_ms=last_ms - first_ms,
        words=_word_times(spoken_words(text), voice, shifted),
        phones=shifted,
    )


def _levelled(samples: NDArray[np.float64], level_dbfs: float) -> NDArray[np.float64]:
    """The samples at the wanted root mean square, faded over the outer 10 ms so that no cut clicks."""
    scaled: NDArray[np.float64] = samples * (10 ** (level_dbfs / 20) / np.sqrt(np.mean(samples**2)))
    ramp = np.linspace(0.0, 1.0, 10 * SAMPLES_PER_MS)
    scaled[: ramp.size] *= ramp
    scaled[-ramp.size :] *= ramp[::-1]
    return scaled


def _run_flite(voice: str, text: str, stretch: float, pitch: float) -> tuple[NDArray[np.float64], tuple[Phone, ...]]:
    """Samples and phones of one flite run, silence included; times from the start of the audio."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.wav"
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={stretch:.4f}"]
        command += ["--setf", f"f0_shift={pitch:.4f}", "-psdur", "-t", text, "-o", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not path.exists():
            raise RuntimeError(f"flite -voice {voice} failed: {done.stderr.strip()}")
        with wave.open(str(path)) as audio:
            if audio.getframerate() != RATE_HZ or audio.getnchannels() != 1:
                raise RuntimeError(f"flite -voice {voice} did not give 16 kHz mono")
            samples = np.frombuffer(audio.readframes(audio.getnframes()), np.int16).astype(np.float64) / 32768
    phones: list[Phone] = []
    clock_ms = 0
    for item in done.stdout.split():
        name, end_s = item.rsplit(":", 1)
        end_ms = round(float(end_s) * 1000)
        phones.append(Phone(name, clock_ms, end_ms))
        clock_ms = end_ms
    return samples, tuple(phones)


@functools.cache
def _phones_alone(voice: str, word: str) -> tuple[str, ...]:
    """The phones of one word spoken alone."""
    _, phones = _run_flite(voice, word, 1.0, 1.0)
    return tuple(phone.name for phone in phones if phone.name != PAUSE)


def _word_times(words: list[str], voice: str, phones: tuple[Phone, ...]) -> tuple[Word, ...]:
    """Each word with the span of the phones that it owns."""
    spoken = [phone for phone in phones if phone.name != PAUSE]
    expected = [(name, index) for index, word in enumerate(words) for name in _phones_alone(voice, word)]
    owners = _owners([name for name, _ in expected], [phone.name for phone in spoken])
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for phone, position in zip(spoken, owners, strict=True):
        word = expected[position][1]
        starts.setdefault(word, phone.start_ms)
        ends[word] = phone.end_ms
    missing = [word for index, word in enumerate(words) if index not in starts]
    if missing:
        raise RuntimeError(f"no phone was spoken for {missing}")
    return tuple(Word(text, starts[index], ends[index]) for index, text in enumerate(words))


def _owners(expected: list[str], spoken: list[str]) -> list[int]:
    """For each spoken phone the position of its expected phone, by smallest edit distance; never decreasing."""
    rows, columns = len(spoken) + 1, len(expected) + 1
    cost = np.zeros((rows, columns), dtype=np.int64)
    cost[0, :] = np.arange(columns)
    cost[:, 0] = np.arange(rows)
    for row in range(1, rows):
        for column in range(1, columns):
            swap = cost[row - 1, column - 1] + (spoken[row - 1] != expected[column - 1])
            cost[row, column] = min(swap, cost[row - 1, column] + 1, cost[row, column - 1] + 1)
    owners = [0] * len(spoken)
    row, column = rows - 1, columns - 1
    while row > 0:
        differs = column > 0 and spoken[row - 1] != expected[column - 1]
        if column > 0 and cost[row, column] == cost[row - 1, column - 1] + differs:
            row, column = row - 1, column - 1
            owners[row] = column
        elif cost[row, column] == cost[row - 1, column] + 1:
            row -= 1
            owners[row] = max(0, column - 1)
        else:
            column -= 1
    return owners
