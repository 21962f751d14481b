"""Recognisers' JSON: everything they say is taken, what they do not say is not invented."""

import json

import pytest

from ai_therapist.errors import InvalidRecord
from ai_therapist.formats.passages import make_word
from ai_therapist.formats.recogniser_json import read_assemblyai, read_whisperx

WORD = {"text": "so", "start": 100, "end": 300, "confidence": 0.9, "speaker": "A"}
UTTERANCE = {"speaker": "A", "start": 100, "end": 900, "text": "So, 12.", "confidence": 0.8, "words": [WORD]}
SEGMENT = {
    "start": 0.1,
    "end": 0.9004,
    "text": " So, 12.",
    "speaker": "SPEAKER_01",
    "words": [{"word": "So,", "start": 0.1, "end": 0.3, "score": 0.9}, {"word": "12."}],
}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def test_assemblyai_utterances_keep_all_they_say() -> None:
    data = encoded({"id": "x", "status": "completed", "language_code": "en", "utterances": [UTTERANCE]})
    (one,) = read_assemblyai(data, "x")
    assert (one.speaker, one.text, one.confidence) == ("A", "So, 12.", 0.8)
    assert one.words == (make_word("so", 100, 300, 0.9),)


def test_assemblyai_words_without_utterances_are_parted_at_pauses() -> None:
    words = [{**WORD, "speaker": None, "start": start, "end": start + 200} for start in (0, 300, 1300)]
    found = read_assemblyai(encoded({"words": words, "utterances": None}), "x")
    assert [(one.span.start_ms, one.span.end_ms, one.speaker) for one in found] == [(0, 500, None), (1300, 1500, None)]


def test_whisperx_words_without_a_time_stay_in_the_text() -> None:
    (one,) = read_whisperx(encoded({"segments": [SEGMENT]}), "x")
    assert (one.speaker, one.text, one.span.end_ms) == ("SPEAKER_01", "So, 12.", 900)
    assert one.words == (make_word("So,", 100, 300, 0.9),)


def test_whisper_alone_has_neither_speakers_nor_words() -> None:
    (one,) = read_whisperx(encoded({"segments": [{"start": 0, "end": 1, "text": "so"}], "language": "en"}), "x")
    assert (one.speaker, one.words) == (None, ())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[]", "an object should stand here"),
        (b'{"utterances": {}}', "'utterances' is missing"),
        (b'{"utterances": [3]}', r"utterances\[0\]: an object"),
        (encoded({"status": "error", "error": "no"}), "not completed"),
        (encoded({"utterances": [{**UTTERANCE, "start": -1}]}), "not a time"),
        (encoded({"utterances": [{**UTTERANCE, "start": True}]}), "not a time"),
        (encoded({"utterances": [{**UTTERANCE, "end": 1e3}]}), "not a time"),
        (encoded({"utterances": [{**UTTERANCE, "text": None}]}), "a text is missing"),
        (encoded({"utterances": [{**UTTERANCE, "confidence": 7}]}), "from 0 to 1"),
        (encoded({"utterances": [{**UTTERANCE, "end": float("nan")}]}), "not valid JSON"),
        (b'{"utterances": [', "line 1: not valid JSON"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_a_wrong_assemblyai_transcript_is_told_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(InvalidRecord, match=message) as caught:
        read_assemblyai(data, "talk.json")
    assert "So, 12." not in str(caught.value)


@pytest.mark.parametrize("start", [None, "0.1", -0.5, 1e300, True])
def test_a_whisperx_time_that_is_none_is_refused(start: object) -> None:
    with pytest.raises(InvalidRecord, match=r"segments\[0\]: not a time"):
        read_whisperx(encoded({"segments": [{**SEGMENT, "start": start}]}), "talk.json")
