"""Real speech is heard, with times, and the same way whatever was heard before."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ai_therapist.extraction.config import TranscribeConfig
from ai_therapist.extraction.transcribers.embedded import transcribe
from ai_therapist.extraction.transcribers.speakers import find_speech
from ai_therapist.media.sound import read_sound
from ai_therapist.records import TimeSpan, Transcript
from ai_therapist.testing import make_session
from tests.extraction.excerpts import SAMPLES

SESSION = make_session().id
SECONDS = 10


@pytest.fixture(scope="module")
def samples() -> NDArray[np.float32]:
    """The first seconds of a session in which the client speaks first."""
    return np.concatenate(list(read_sound(SAMPLES / "exams.mp4")))[: SECONDS * 16_000]


@pytest.fixture(scope="module")
def heard(samples: NDArray[np.float32]) -> Transcript:
    return transcribe(samples, SESSION, TranscribeConfig())


def gold() -> list[dict[str, object]]:
    path: Path = SAMPLES.parent / "gold" / "exams.json"
    lines: list[dict[str, object]] = json.loads(path.read_text())["utterances"]
    return [line for line in lines if isinstance(line["end_ms"], int) and line["end_ms"] < SECONDS * 1000]


def test_most_words_are_right(heard: Transcript) -> None:
    spoken = [word for line in gold() for word in re.findall(r"[a-z']+", str(line["text"]).lower())]
    words = [word.text for utterance in heard.utterances for word in utterance.words]
    assert len(set(spoken) & set(words)) >= 0.8 * len(set(spoken))


def test_utterances_start_when_people_start_and_voices_alternate(heard: Transcript) -> None:
    for line, utterance in zip(gold(), heard.utterances, strict=False):
        assert isinstance(line["start_ms"], int)
        assert abs(utterance.span.start_ms - line["start_ms"]) < 150
        assert utterance.speaker == line["speaker"]


def test_words_have_times_and_confidences(heard: Transcript) -> None:
    for utterance in heard.utterances:
        starts = [word.span.start_ms for word in utterance.words]
        assert starts == sorted(starts)
        assert all(word.confidence is not None for word in utterance.words)
        assert utterance.text == " ".join(word.text for word in utterance.words)
        assert not re.search(r"[<\[(+]", utterance.text)


def test_what_was_heard_before_changes_nothing(samples: NDArray[np.float32], heard: Transcript) -> None:
    transcribe(samples[5 * 16_000 :], SESSION, TranscribeConfig())
    assert transcribe(samples, SESSION, TranscribeConfig()) == heard


@pytest.mark.parametrize("length", [0, 100, 32_000])
def test_silence_gives_no_utterance(length: int) -> None:
    assert transcribe(np.zeros(length, np.float32), SESSION, TranscribeConfig()).utterances == ()


def test_speech_is_found_where_it_is(samples: NDArray[np.float32]) -> None:
    quiet = np.zeros(2 * 16_000, np.float32)
    (first, *_) = find_speech(np.concatenate([quiet, samples]), 200, 50)
    (plain, *_) = find_speech(samples, 200, 50)
    assert abs(first.start_ms - plain.start_ms - 2000) <= 64
    assert first.overlap_ms(TimeSpan(start_ms=0, end_ms=2000)) == 0
