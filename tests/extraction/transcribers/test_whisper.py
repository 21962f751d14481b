"""faster-whisper with a tiny random model; words and voices joined with a recogniser that is told what to hear."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from numpy.typing import NDArray

from ai_therapist.errors import ConfigError, ItemError, MissingInput
from ai_therapist.extraction.config import ClipsConfig, ExtractionConfig, ResolvedWhisper, WhisperConfig
from ai_therapist.extraction.run import extract
from ai_therapist.extraction.transcribers import diarisers, whisper
from ai_therapist.extraction.transcribers.speakers import Voiced
from ai_therapist.extraction.transcribers.whisper import HeardWord, chunks, hear, resolve, transcribe, voice_at
from ai_therapist.media.cut import cut
from ai_therapist.media.sound import extract_speech
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import TimeSpan, Transcript
from ai_therapist.store.codec import decode
from ai_therapist.store.workspace import Status, Workspace
from ai_therapist.testing import make_session
from tests.extraction.excerpts import SAMPLES, make_excerpts
from tests.extraction.transcribers.tiny_whisper import make_tiny_whisper

SESSION = make_session().id


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty seconds of two voices in turn."""
    folder = tmp_path_factory.mktemp("sound")
    cut(SAMPLES / "exams.mp4", folder / "part.mp4", range(16 * 20))
    extract_speech(folder / "part.mp4", folder / "part.wav")
    return folder / "part.wav"


def span(start_ms: int, end_ms: int) -> TimeSpan:
    return TimeSpan(start_ms=start_ms, end_ms=end_ms)


class Metronome:
    """Hears a word every 400 ms of whatever it is given."""

    name = "metronome"

    def __init__(self) -> None:
        self.longest = 0

    def words(self, samples: NDArray[np.float32]) -> Iterator[HeardWord]:
        self.longest = max(self.longest, len(samples))
        for start_ms in range(0, len(samples) // 16 + 2000, 400):
            yield HeardWord(f" w{start_ms}", start_ms, start_ms + 300, 0.5)


class Fixed:
    """Tells voices apart as it was told to."""

    name = "fixed"

    def __init__(self, *turns: tuple[int, int, int]) -> None:
        self._turns = [Voiced(span(start, end), voice) for start, end, voice in turns]

    def turns(self, sound: Path, speech: Sequence[TimeSpan], speakers: int) -> list[Voiced]:
        return self._turns


def test_a_real_model_runs_through_the_whole_of_extraction(model: Path, tmp_path: Path) -> None:
    folder = make_excerpts(tmp_path / "in", 6, "exams")
    config = ExtractionConfig(
        transcriber="whisper",
        whisper=WhisperConfig(model=str(model), beam_size=1),
        clips=ClipsConfig(min_clip_ms=60_000),
    )
    found = []
    for name in ("one", "two"):
        workspace = Workspace(tmp_path / name)
        (item,) = extract(workspace, config, folder, InlineExecutor(workspace.store)).items
        assert item.status is Status.DONE
        found.append(decode(Transcript, workspace.store.read(item.artefacts["transcript"]), "x"))
        (action,) = (one for one in workspace.store.actions() if one.stage == "transcribe-whisper")
        assert str(model) not in json.dumps(action.config)
        assert "faster-whisper" in action.tools
    assert found[0] == found[1]
    assert found[0].transcriber.startswith("whisper tiny-random ")
    words = [word for one in found[0].utterances for word in one.words]
    assert words and all(word.confidence is not None for word in words)


def test_the_key_follows_the_weights_and_not_the_folder(model: Path, tmp_path: Path) -> None:
    first = resolve(WhisperConfig(model=str(model)))
    moved = copytree(model, tmp_path / "tiny-random")
    assert resolve(WhisperConfig(model=str(moved))).model_dump() == first.model_dump()
    weights = bytearray((moved / "model.bin").read_bytes())
    weights[-1] ^= 1
    (moved / "model.bin").write_bytes(weights)
    assert resolve(WhisperConfig(model=str(moved))).model_dump() != first.model_dump()


def test_what_is_missing_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingInput, match="'no-such-size' is not on this machine"):
        resolve(WhisperConfig(model="no-such-size"))
    with pytest.raises(MissingInput, match=r"holds no model\.bin"):
        resolve(WhisperConfig(model=str(tmp_path)))


def test_a_model_that_is_none_costs_its_item(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"no model")
    with pytest.raises(ItemError, match="cannot be run with device cpu"):
        transcribe(sound, SESSION, resolve(WhisperConfig(model=str(tmp_path))))


def test_each_word_goes_to_the_voice_that_spoke_then(sound: Path) -> None:
    config = WhisperConfig(join_pause_ms=5000)
    found = hear(sound, SESSION, config, Metronome(), Fixed((0, 5000, 7), (5000, 9000, 3), (9000, 20_000, 7)))
    assert [one.speaker for one in found.utterances] == ["A", "B", "A"]
    assert found.transcriber == "metronome, fixed"
    for one in found.utterances:
        assert one.text == " ".join(word.text for word in one.words)
        assert all(5000 <= word.span.start_ms + 150 < 9000 + 300 for word in one.words) is (one.speaker == "B")
    assert found.utterances[-1].span.end_ms <= 20_000


def test_without_voices_nobody_is_named(sound: Path) -> None:
    found = hear(sound, SESSION, WhisperConfig(), Metronome(), Fixed())
    assert {one.speaker for one in found.utterances} == {"UNKNOWN"}


def test_a_long_pause_ends_an_utterance(sound: Path) -> None:
    once = hear(sound, SESSION, WhisperConfig(join_pause_ms=5000), Metronome(), Fixed((0, 20_000, 0)))
    often = hear(sound, SESSION, WhisperConfig(join_pause_ms=50), Metronome(), Fixed((0, 20_000, 0)))
    assert len(once.utterances) < len(often.utterances)


def test_speakers_keep_their_names_across_windows_and_memory_stays_small(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = WhisperConfig(join_pause_ms=300)
    whole = hear(sound, SESSION, config, Metronome(), diarisers.Embedded())
    for room in (whisper, diarisers):
        monkeypatch.setattr(room, "BLOCK_MS", 4000)
    ear = Metronome()
    windowed = hear(sound, SESSION, config, ear, diarisers.Embedded())
    assert {one.speaker for one in windowed.utterances} == {"A", "B"} == {one.speaker for one in whole.utterances}
    assert ear.longest <= 30 * 16_000

    def voices(transcript: Transcript) -> list[str]:
        """Who speaks at every tenth of a second."""
        at = ["-"] * 200
        for one in transcript.utterances:
            for tenth in range(one.span.start_ms // 100, min(200, one.span.end_ms // 100)):
                at[tenth] = one.speaker
        return at

    same = [a == b for a, b in zip(voices(whole), voices(windowed), strict=True) if "-" not in a + b]
    assert sum(same) >= 0.95 * len(same) > 0


def test_chunks_are_half_a_minute_at_most() -> None:
    speech = [span(0, 10_000), span(11_000, 29_000), span(31_000, 32_000), span(40_000, 110_000)]
    assert chunks(speech) == [
        span(0, 29_000),
        span(31_000, 32_000),
        span(40_000, 70_000),
        span(70_000, 100_000),
        span(100_000, 110_000),
    ]


def test_a_word_between_turns_goes_to_the_nearer_one() -> None:
    turns = [Voiced(span(0, 1000), 0), Voiced(span(2000, 3000), 1)]
    assert voice_at(HeardWord("x", 1100, 1200, None), turns) == 0
    assert voice_at(HeardWord("x", 1800, 1900, None), turns) == 1
    assert voice_at(HeardWord("x", 900, 2500, None), turns) == 1
    assert voice_at(HeardWord("x", 0, 1, None), []) is None


def test_the_settings_that_change_no_word_stay_out_of_the_key(model: Path) -> None:
    config = WhisperConfig(model=str(model))
    other = config.model_copy(update={"device": "auto", "download": True})
    assert resolve(config).model_dump() == resolve(other).model_dump()
    assert isinstance(resolve(other), ResolvedWhisper)
    assert resolve(other).device == "auto"
    with pytest.raises(ConfigError, match="no diariser"):
        resolve(config.model_copy(update={"diariser": "other"}))
