"""Every transcript format by name and suffix: how it is read and written, and what it can hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ai_therapist.errors import ConfigError, InvalidRecord
from ai_therapist.formats.cues import read_srt, read_webvtt, write_srt, write_webvtt
from ai_therapist.formats.elan import read_elan, write_elan
from ai_therapist.formats.passages import Passage, from_tiers, to_tiers
from ai_therapist.formats.recogniser_json import read_assemblyai, read_whisperx, write_assemblyai, write_whisperx
from ai_therapist.formats.rttm import read_rttm, write_rttm
from ai_therapist.formats.text import decode_json
from ai_therapist.formats.textgrid import read_textgrid, write_textgrid

TEXT, WORDS, WORD_CONFIDENCE, CONFIDENCE = "text", "word times", "confidence of words", "confidence"

_SPOKEN = frozenset({TEXT})
_TIMED = frozenset({TEXT, WORDS})


@dataclass(frozen=True)
class Format:
    """A transcript format. Every one holds spans and speakers."""

    name: str
    suffixes: tuple[str, ...]
    about: str
    holds: frozenset[str]
    """What it keeps beside spans and speakers."""
    read: Callable[[bytes, str], tuple[Passage, ...]]
    write: Callable[[Sequence[Passage]], bytes]


def _read_textgrid(data: bytes, where: str) -> tuple[Passage, ...]:
    return from_tiers(read_textgrid(data, where), where)


def _read_elan(data: bytes, where: str) -> tuple[Passage, ...]:
    return from_tiers(read_elan(data, where), where)


def _write_textgrid(passages: Sequence[Passage]) -> bytes:
    return write_textgrid(to_tiers(passages))


def _write_elan(passages: Sequence[Passage]) -> bytes:
    return write_elan(to_tiers(passages))


FORMATS = (
    Format("vtt", (".vtt",), "WebVTT", _SPOKEN, read_webvtt, write_webvtt),
    Format("srt", (".srt",), "SubRip", _SPOKEN, read_srt, write_srt),
    Format(
        "assemblyai",
        (".assemblyai.json",),
        "AssemblyAI JSON",
        _TIMED | {WORD_CONFIDENCE, CONFIDENCE},
        read_assemblyai,
        write_assemblyai,
    ),
    Format("whisperx", (".whisperx.json",), "WhisperX JSON", _TIMED | {WORD_CONFIDENCE}, read_whisperx, write_whisperx),
    Format("textgrid", (".textgrid",), "Praat TextGrid", _TIMED, _read_textgrid, _write_textgrid),
    Format("eaf", (".eaf",), "ELAN", _TIMED, _read_elan, _write_elan),
    Format("rttm", (".rttm",), "RTTM", frozenset(), read_rttm, write_rttm),
)
"""In the order in which they are looked for beside a recording: what holds words before what only says who spoke."""


def format_named(name: str) -> Format:
    """The format of this name. Raises ConfigError that lists all."""
    found = next((one for one in FORMATS if one.name == name), None)
    if found is None:
        raise ConfigError(f"no format {name!r}; there are: {', '.join(one.name for one in FORMATS)}")
    return found


def format_of(path: PurePath, data: bytes | None = None) -> Format:
    """The format that a file's name says, or for a plain .json its content `data`.

    Raises ConfigError for a suffix of no format, and InvalidRecord for JSON that is none of them.
    """
    name = path.name.lower()
    for one in FORMATS:
        if name.endswith(one.suffixes):
            return one
    if name.endswith(".json") and data is not None:
        value = decode_json(data, path.name)
        keys = value.keys() if isinstance(value, dict) else set()
        for kind, key in (("whisperx", "segments"), ("assemblyai", "utterances"), ("assemblyai", "words")):
            if key in keys:
                return format_named(kind)
        raise InvalidRecord(f"{path.name}: JSON of no known recogniser: neither 'utterances' nor 'segments' is in it")
    suffixes = ", ".join(suffix for one in FORMATS for suffix in one.suffixes)
    raise ConfigError(f"{path.name}: its name says no format; known are {suffixes}")


def lost(passages: Sequence[Passage], target: Format) -> tuple[str, ...]:
    """What of these passages `target` cannot hold, as lines with counts; nothing where all of it is kept."""
    counts = {
        TEXT: sum(bool(one.text) for one in passages),
        WORDS: sum(len(one.words) for one in passages),
        WORD_CONFIDENCE: sum(word.confidence is not None for one in passages for word in one.words),
        CONFIDENCE: sum(one.confidence is not None for one in passages),
    }
    return tuple(f"{what}: {number}" for what, number in counts.items() if number and what not in target.holds)
