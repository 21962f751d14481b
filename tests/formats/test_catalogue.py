"""What goes out in a format comes back: every two-way format, on transcripts at random, and on hostile files."""

from pathlib import PurePath

import pytest
from hypothesis import given, settings

from ai_therapist.errors import ConfigError, InvalidRecord
from ai_therapist.formats.catalogue import (
    CONFIDENCE,
    FORMATS,
    TEXT,
    WORD_CONFIDENCE,
    WORDS,
    Format,
    format_named,
    format_of,
    lost,
)
from ai_therapist.formats.passages import Passage, passages_of, to_transcript
from ai_therapist.testing import make_session, make_transcript
from tests.formats.strategies import passages

NAMES = [one.name for one in FORMATS]


def held(spoken: tuple[Passage, ...], kind: Format) -> tuple[Passage, ...]:
    """The passages without what the format does not claim to hold."""
    kept = []
    for one in spoken:
        words = one.words if WORDS in kind.holds else ()
        if WORD_CONFIDENCE not in kind.holds:
            words = tuple(word.model_copy(update={"confidence": None}) for word in words)
        change: dict[str, object] = {"words": words, "text": one.text if TEXT in kind.holds else ""}
        if CONFIDENCE not in kind.holds:
            change["confidence"] = None
        kept.append(one.model_copy(update=change))
    return tuple(kept)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(spoken=passages())
def test_what_a_format_holds_comes_back_to_the_millisecond(name: str, spoken: tuple[Passage, ...]) -> None:
    kind = format_named(name)
    assert kind.read(kind.write(spoken), "x") == held(spoken, kind)


@pytest.mark.parametrize("name", NAMES)
def test_equal_transcripts_give_equal_bytes(name: str) -> None:
    kind = format_named(name)
    spoken = passages_of(make_transcript(make_session()))
    assert kind.write(spoken) == kind.write(tuple(reversed(spoken)))


def test_a_transcript_of_ours_survives_the_fullest_format() -> None:
    transcript = make_transcript(make_session())
    kind = format_named("assemblyai")
    again = kind.read(kind.write(passages_of(transcript)), "x")
    assert to_transcript(again, transcript.session, transcript.transcriber, "x") == transcript


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \n\n",
    "a mark alone": b"\xef\xbb\xbf",
    "latin-1": "WEBVTT\n\n00:00.000 --> 00:01.000\nschön".encode("latin-1"),
    "zero bytes": b"\0" * 100,
    "UTF-16 without a mark": "WEBVTT".encode("utf-16-le"),
    "noise": bytes(range(1, 256)) * 4,
    "a line of 1 MB": b"x" * 1_000_000,
    "quotes": b'"' * 100_001,
    "brackets": b"[" * 100_000,
    "a bomb": b'<!DOCTYPE a [<!ENTITY b "bbb"><!ENTITY c "&b;&b;">]><ANNOTATION_DOCUMENT>&c;</ANNOTATION_DOCUMENT>',
    "an outside entity": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><ANNOTATION_DOCUMENT/>',
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_gets_one_line(name: str, what: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        format_named(name).read(HOSTILE[what], "talk.x")
    assert str(caught.value).startswith("talk.x")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", NAMES)
def test_a_byte_order_mark_is_no_word(name: str, encoding: str) -> None:
    kind = format_named(name)
    spoken = held(passages_of(make_transcript(make_session())), kind)
    assert kind.read(kind.write(spoken).decode().encode(encoding), "x") == spoken


@pytest.mark.parametrize("name", NAMES)
def test_windows_line_ends_change_nothing(name: str) -> None:
    kind = format_named(name)
    spoken = held(passages_of(make_transcript(make_session())), kind)
    assert kind.read(kind.write(spoken).replace(b"\n", b"\r\n"), "x") == spoken


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("talk.vtt", None, "vtt"),
        ("TALK.TextGrid", None, "textgrid"),
        ("talk.whisperx.json", None, "whisperx"),
        ("talk.json", b'{"segments": []}', "whisperx"),
        ("talk.json", b'{"utterances": []}', "assemblyai"),
        ("talk.json", b'{"words": []}', "assemblyai"),
    ],
)
def test_a_format_is_known_by_name_or_content(name: str, data: bytes | None, kind: str) -> None:
    assert format_of(PurePath(name), data).name == kind


def test_an_unknown_format_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"talk\.doc.*\.vtt"):
        format_of(PurePath("talk.doc"))
    with pytest.raises(ConfigError, match="vtt, srt"):
        format_named("doc")
    with pytest.raises(InvalidRecord, match="no known recogniser"):
        format_of(PurePath("talk.json"), b"[1]")


def test_what_is_lost_is_counted() -> None:
    spoken = passages_of(make_transcript(make_session()))
    words = sum(len(one.words) for one in spoken)
    assert lost(spoken, format_named("assemblyai")) == ()
    assert lost(spoken, format_named("srt")) == (f"word times: {words}", "confidence: 8")
    assert lost(spoken, format_named("rttm"))[0] == "text: 8"
