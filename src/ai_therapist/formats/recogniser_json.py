"""What recognisers give as JSON: AssemblyAI (times in milliseconds) and WhisperX or Whisper (times in seconds)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from ai_therapist.errors import InvalidRecord
from ai_therapist.formats.passages import Passage, by_pauses, in_order, make_passage, make_word
from ai_therapist.formats.text import checked_ms, decode_json, milliseconds
from ai_therapist.records import Word

_Json = Mapping[str, object]
_Time = Callable[[object, str], int]


def read_assemblyai(data: bytes, where: str) -> tuple[Passage, ...]:
    """The utterances of an AssemblyAI transcript; its words at pauses where it was made without speaker labels.

    Raises InvalidRecord that names the place, also for a transcript that is not completed.
    """
    return assemblyai_passages(_object(decode_json(data, where), where), where)


def assemblyai_passages(value: _Json, where: str) -> tuple[Passage, ...]:
    """The same from the JSON object itself."""
    status = value.get("status", "completed")
    if status != "completed":
        raise InvalidRecord(f"{where}: the transcript is not completed")
    utterances = value.get("utterances")
    if utterances is None:
        found = _list(value, "words", where)
        words = [_word(word, "text", "confidence", checked_ms, f"{where}, words") for word in found]
        return by_pauses([(speaker, word) for speaker, word in words if word is not None], where)
    passages = []
    for place, entry in enumerate(_list(value, "utterances", where)):
        here = f"{where}, utterances[{place}]"
        one = _object(entry, here)
        words = [_word(word, "text", "confidence", checked_ms, here) for word in _list(one, "words", here)]
        passages.append(
            make_passage(
                (checked_ms(one.get("start"), here), checked_ms(one.get("end"), here)),
                here,
                _text_or_none(one.get("speaker"), here),
                _text(one.get("text"), here),
                [word for _, word in words if word is not None],
                _share(one.get("confidence"), here),
            )
        )
    return in_order(passages)


def write_assemblyai(passages: Sequence[Passage]) -> bytes:
    """Passages as an AssemblyAI transcript: everything they hold."""
    utterances = [
        {
            "speaker": one.speaker,
            "start": one.span.start_ms,
            "end": one.span.end_ms,
            "text": one.text,
            "confidence": one.confidence,
            "words": [
                {
                    "text": word.text,
                    "start": word.span.start_ms,
                    "end": word.span.end_ms,
                    "confidence": word.confidence,
                    "speaker": one.speaker,
                }
                for word in one.words
            ],
        }
        for one in in_order(passages)
    ]
    text = " ".join(one.text for one in in_order(passages))
    return _encoded({"status": "completed", "text": text, "utterances": utterances})


def read_whisperx(data: bytes, where: str) -> tuple[Passage, ...]:
    """The segments of a WhisperX or Whisper result. Words that it could not align have no time and stay in the text.

    Raises InvalidRecord that names the place.
    """
    value = _object(decode_json(data, where), where)
    passages = []
    for place, entry in enumerate(_list(value, "segments", where)):
        here = f"{where}, segments[{place}]"
        one = _object(entry, here)
        words = [_word(word, "word", "score", milliseconds, here) for word in _list(one, "words", here)]
        passages.append(
            make_passage(
                (milliseconds(one.get("start"), here), milliseconds(one.get("end"), here)),
                here,
                _text_or_none(one.get("speaker"), here),
                _text(one.get("text"), here),
                [word for _, word in words if word is not None],
            )
        )
    return in_order(passages)


def write_whisperx(passages: Sequence[Passage]) -> bytes:
    """Passages as a WhisperX result: all but the confidence of a whole passage."""
    segments = []
    for one in in_order(passages):
        speaker = {} if one.speaker is None else {"speaker": one.speaker}
        words = [
            {
                "word": word.text,
                "start": word.span.start_ms / 1000,
                "end": word.span.end_ms / 1000,
                **({} if word.confidence is None else {"score": word.confidence}),
                **speaker,
            }
            for word in one.words
        ]
        span = {"start": one.span.start_ms / 1000, "end": one.span.end_ms / 1000}
        segments.append({**span, "text": one.text, "words": words, **speaker})
    return _encoded({"segments": segments})


def _word(entry: object, text: str, score: str, time: _Time, where: str) -> tuple[str | None, Word | None]:
    """Speaker and word of an entry; no word where it has no times."""
    one = _object(entry, where)
    speaker = _text_or_none(one.get("speaker"), where)
    if one.get("start") is None or one.get("end") is None:
        return speaker, None
    sure = _share(one.get(score, one.get("probability")), where)
    return speaker, make_word(
        _text(one.get(text), where), time(one.get("start"), where), time(one.get("end"), where), sure
    )


def _object(value: object, where: str) -> _Json:
    if not isinstance(value, dict):
        raise InvalidRecord(f"{where}: an object should stand here")
    return value


def _list(value: _Json, name: str, where: str) -> list[object]:
    found = value.get(name)
    if found is None and name == "words":
        return []
    if not isinstance(found, list):
        raise InvalidRecord(f"{where}: the list {name!r} is missing")
    return found


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidRecord(f"{where}: a text is missing")
    return value


def _text_or_none(value: object, where: str) -> str | None:
    return None if value is None else _text(value, where)


def _share(value: object, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidRecord(f"{where}: a confidence is not a number from 0 to 1")
    return float(value)


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"
