"""faster-whisper hears the words, a diariser tells the voices apart, and each word goes to the voice that spoke then.

    speech     ████████████░░░░░███████████░░██████      Silero VAD, ten minutes of sound at a time
    chunks     [────────────────────────]  [──────]      up to 30 s each, what Whisper was made for
    words       so how was  the week       fine I
    voices     AAAAAAAAAAAAAAAAAAAAAAAAA   BBBBBB        over the whole recording, so A stays A

Memory does not grow with the recording but for what the diariser keeps. The same sound gives the same transcript.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ai_therapist.errors import ItemError, MissingExtra, MissingInput
from ai_therapist.extraction.config import ResolvedWhisper, WhisperConfig
from ai_therapist.extraction.transcribers.diarisers import BLOCK_MS, Diariser, open_diariser
from ai_therapist.extraction.transcribers.speakers import Voiced, find_speech_in_blocks
from ai_therapist.formats.passages import UNKNOWN_SPEAKER, make_passage, make_word, to_transcript
from ai_therapist.formats.text import clean
from ai_therapist.media.sound import load_part, read_speech
from ai_therapist.records import TimeSpan, Transcript
from ai_therapist.store.blobs import hash_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOOLS = ("faster-whisper", "ctranslate2", "onnxruntime", "kaldi-native-fbank", "scikit-learn", "numpy")
"""Distributions whose version can change what is heard."""

_CHUNK_MS = 30_000
_LONGEST_MS = 60_000
"""Longest utterance."""


@dataclass(frozen=True)
class HeardWord:
    """A word and its time in the session; the end may equal the start."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float | None


class Recogniser(Protocol):
    """Hears words in up to half a minute of 16 kHz sound."""

    @property
    def name(self) -> str:
        """Name and revision."""

    def words(self, samples: NDArray[np.float32]) -> Iterator[HeardWord]:
        """Words with their times from the beginning of the samples."""


class FasterWhisper:
    """A Whisper model that CTranslate2 runs."""

    def __init__(self, config: ResolvedWhisper) -> None:
        self._config = config
        self.name = f"whisper {config.revision}"

    def words(self, samples: NDArray[np.float32]) -> Iterator[HeardWord]:
        """Words as the model hears them, without sampling and without what it heard before."""
        config = self._config
        segments, _ = _model(config.model, config.device, config.compute_type).transcribe(
            samples,
            language=None if config.language == "auto" else config.language,
            beam_size=config.beam_size,
            temperature=0.0,
            word_timestamps=True,
            condition_on_previous_text=False,
            vad_filter=False,
        )
        for segment in segments:
            for word in segment.words or ():
                start_ms, end_ms = round(word.start * 1000), round(word.end * 1000)
                yield HeardWord(word.word, start_ms, end_ms, round(min(1.0, max(0.0, float(word.probability))), 4))


def resolve(config: WhisperConfig) -> ResolvedWhisper:
    """The settings with the model found on this machine, or downloaded where that is allowed.

    Raises MissingExtra without faster-whisper, MissingInput where the model is not here, and what opening the diariser
    raises.
    """
    try:
        from faster_whisper.utils import download_model
    except ImportError:
        raise MissingExtra("the transcriber whisper", "faster-whisper", "speech") from None
    folder = Path(config.model)
    if not folder.is_dir():
        try:
            folder = Path(download_model(config.model, local_files_only=not config.download))
        except (OSError, ValueError):
            raise MissingInput(
                f"the Whisper model {config.model!r} is not on this machine: name a folder that CTranslate2 converted, "
                "or let it be fetched with  --set extraction.whisper.download=true"
            ) from None
    weights = folder / "model.bin"
    if not weights.is_file():
        raise MissingInput(f"{folder} holds no model.bin: convert the model with ct2-transformers-converter")
    revision = f"{Path(config.model).name} {_digest(weights, weights.stat().st_size, weights.stat().st_mtime_ns)[:12]}"
    voices = open_diariser(config.diariser).name
    return ResolvedWhisper(
        **config.model_dump()
        | {
            "model": str(folder),
            "diariser": config.diariser,
            "device": config.device,
            "revision": revision,
            "voices": voices,
        }
    )


def transcribe(sound: Path, session: str, config: ResolvedWhisper) -> Transcript:
    """What is said in a 16 kHz mono WAV file. Raises MissingExtra, and ItemError for a model that cannot be run."""
    return hear(sound, session, config, FasterWhisper(config), open_diariser(config.diariser))


def hear(sound: Path, session: str, config: WhisperConfig, recogniser: Recogniser, diariser: Diariser) -> Transcript:
    """The same with any recogniser and diariser."""
    name = f"{recogniser.name}, {diariser.name}"
    speech = find_speech_in_blocks(read_speech(sound, BLOCK_MS), config.min_silence_ms, config.speech_pad_ms)
    turns = diariser.turns(sound, speech, config.speakers) if speech else []
    words = [word for chunk in chunks(speech) for word in _heard(recogniser, sound, chunk)]
    passages = [
        make_passage(
            (group[0].start_ms, max(group[-1].end_ms, group[0].start_ms + 1)),
            "what Whisper heard",
            UNKNOWN_SPEAKER if voice is None else chr(ord("A") + voice),
            "".join(word.text if word.text[:1].isspace() else f" {word.text}" for word in group),
            [timed for word in group if (timed := make_word(word.text, word.start_ms, word.end_ms, word.confidence))],
            _mean([word.confidence for word in group if word.confidence is not None]),
        )
        for voice, group in _utterances(words, turns, config.join_pause_ms)
    ]
    return to_transcript([one for one in passages if one.text], session, name, "what Whisper heard")


def chunks(speech: Sequence[TimeSpan]) -> list[TimeSpan]:
    """Stretches of speech joined up to half a minute; one that is longer is cut."""
    joined: list[TimeSpan] = []
    for span in speech:
        if joined and span.end_ms - joined[-1].start_ms <= _CHUNK_MS:
            joined[-1] = joined[-1].joined(span)
            continue
        for start_ms in range(span.start_ms, span.end_ms, _CHUNK_MS):
            joined.append(TimeSpan(start_ms=start_ms, end_ms=min(span.end_ms, start_ms + _CHUNK_MS)))
    return joined


def voice_at(word: HeardWord, turns: Sequence[Voiced]) -> int | None:
    """The voice that speaks during most of a word, or the one nearest in time; None where there are no turns."""
    span = TimeSpan(start_ms=word.start_ms, end_ms=max(word.end_ms, word.start_ms + 1))
    shares: dict[int, int] = {}
    for turn in turns:
        shares[turn.voice] = shares.get(turn.voice, 0) + span.overlap_ms(turn.span)
    best = max(shares, key=lambda voice: shares[voice], default=None)
    if best is None or shares[best]:
        return best
    return min(turns, key=lambda turn: max(turn.span.start_ms - span.end_ms, span.start_ms - turn.span.end_ms)).voice


def _heard(recogniser: Recogniser, sound: Path, chunk: TimeSpan) -> Iterator[HeardWord]:
    """Words of a chunk with times in the session. Those beyond the sound, which Whisper pads, nobody said."""
    for word in recogniser.words(load_part(sound, chunk)):
        if clean(word.text) and word.start_ms < chunk.duration_ms:
            start_ms = chunk.start_ms + max(0, word.start_ms)
            end_ms = min(max(chunk.start_ms + word.end_ms, start_ms), chunk.end_ms)
            yield HeardWord(word.text, start_ms, end_ms, word.confidence)


def _utterances(
    words: Sequence[HeardWord], turns: Sequence[Voiced], join_pause_ms: int
) -> Iterator[tuple[int | None, list[HeardWord]]]:
    """Words of one voice without a long pause, each group with its voice numbered by appearance."""
    order: dict[int, int] = {}
    group: list[HeardWord] = []
    speaking: int | None = None
    first, starts = 0, [turn.span.start_ms for turn in turns]
    for word in sorted(words, key=lambda one: (one.start_ms, one.end_ms)):
        # Turns are in order of time, so an hour of them is not searched for each word.
        while first + 1 < len(turns) and turns[first].span.end_ms < word.start_ms - _CHUNK_MS:
            first += 1
        voice = voice_at(word, turns[first : max(first + 1, bisect_left(starts, word.end_ms + _CHUNK_MS))])
        number = None if voice is None else order.setdefault(voice, len(order))
        pause_ms = word.start_ms - group[-1].end_ms if group else 0
        too_long = bool(group) and word.end_ms - group[0].start_ms > _LONGEST_MS
        if group and (number != speaking or pause_ms > join_pause_ms or too_long):
            yield speaking, group
            group = []
        group.append(word)
        speaking = number
    if group:
        yield speaking, group


def _mean(numbers: Sequence[float]) -> float | None:
    return round(sum(numbers) / len(numbers), 4) if numbers else None


@cache
def _digest(weights: Path, size: int, mtime_ns: int) -> str:
    """Sha256 of a model's weights, once for each process and state of the file."""
    return hash_file(weights)


class _Model(Protocol):
    def transcribe(self, audio: object, **options: object) -> tuple[Iterator[_Segment], object]: ...


class _Segment(Protocol):
    words: Sequence[_Word] | None


class _Word(Protocol):
    word: str
    start: float
    end: float
    probability: float


@cache
def _model(folder: str, device: str, compute_type: str) -> _Model:
    """One model per process; loading it takes longer than a minute of talk."""
    from faster_whisper import WhisperModel

    try:
        # One thread computes the same sums in the same order everywhere.
        model: _Model = WhisperModel(folder, device=device, compute_type=compute_type, cpu_threads=1, num_workers=1)
    except (RuntimeError, ValueError) as error:
        reason = clean(str(error))[:200]
        raise ItemError(f"the Whisper model cannot be run with device {device}, {compute_type}: {reason}") from None
    return model
