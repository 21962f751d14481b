"""Subtitles: what other programs write is read, what they read is written, and a wrong line is named."""

import pysubs2
import pytest

from ai_therapist.errors import InvalidRecord
from ai_therapist.formats.cues import read_srt, read_webvtt, write_srt, write_webvtt
from ai_therapist.formats.passages import Passage, make_passage

SPOKEN = (
    make_passage((0, 900), "x", "Anna", "how was the <week> & so on"),
    make_passage((3_600_000, 3_601_500), "x", None, "good"),
)


def said(passages: tuple[Passage, ...]) -> list[tuple[str | None, str]]:
    return [(one.speaker, one.text) for one in passages]


@pytest.mark.parametrize(("data", "kind"), [(write_srt(SPOKEN), "srt"), (write_webvtt(SPOKEN), "vtt")])
def test_pysubs2_reads_what_we_write(data: bytes, kind: str) -> None:
    events = pysubs2.SSAFile.from_string(data.decode(), kind).events
    assert [(event.start, event.end) for event in events] == [(0, 900), (3_600_000, 3_601_500)]
    assert events[1].plaintext == "good"


def test_we_read_what_pysubs2_writes() -> None:
    lines = pysubs2.SSAFile()
    lines.append(pysubs2.SSAEvent(start=1500, end=2750, text="[A]: {\\i1}well{\\i0}\\Nyes"))
    assert read_srt(lines.to_string("srt").encode(), "x") == (make_passage((1500, 2750), "x", "A", "well yes"),)
    lines[0].text = "well"
    assert read_webvtt(lines.to_string("vtt").encode(), "x") == (make_passage((1500, 2750), "x", None, "well"),)


def test_webvtt_with_everything_in_it() -> None:
    text = """WEBVTT - a talk
Kind: captions

STYLE
::cue { color: red }

NOTE nothing --> here

intro
00:01.000 --> 00:02.500 align:start position:10%
<v.loud Anna B>so <i>how</i> was<00:00:01.800> it &amp; all</v>

2
00:00:02.000 --> 00:00:03.000
<v Ben>- well</v>
<v Anna B>- yes</v>
"""
    assert said(read_webvtt(text.encode(), "x")) == [("Anna B", "so how was it & all"), (None, "- well - yes")]


def test_labels_before_a_colon_are_speakers_only_where_all_cues_have_one() -> None:
    block = "{n}\n00:00:0{n},000 --> 00:00:0{n},900\n{text}\n"

    def read(*texts: str) -> list[tuple[str | None, str]]:
        return said(read_srt("\n".join(block.format(n=n, text=text) for n, text in enumerate(texts)).encode(), "x"))

    assert read("Anna: hello", "Ben: hi", "Anna: so") == [("Anna", "hello"), ("Ben", "hi"), ("Anna", "so")]
    assert read("Anna: hello", "well hi", "Anna: so")[0] == (None, "Anna: hello")
    assert read("First: hello", "Then: hi")[0] == (None, "First: hello")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n00:00:01,000 -> 00:00:02,000\nx", "line 2: times should stand here"),
        ("1\n00:00:01,000 --> 00:00:02,000\nx\n\n2\nno times\nx", "line 6: times should stand here"),
        ("1\n00:00:02,000 --> 00:00:01,000\nx", "line 2: it ends at 00:00:01.000, not after its start"),
        ("1\n00:00:02,000 --> 00:00:02,000\nx", "not after its start"),
        ("1\nNaN --> inf\nx", "times should stand here"),
        ("1\n9999:00:02,000 --> 9999:00:03,000\nx", "not a time between"),
        ("1\n00:00:01,000 --> 00:00:02,000\n" + "x" * 1_000_000, "more than 100,000 characters"),
        ("1\n00:00:01,000 --> 00:00:02,000\n[" + "a" * 100 + "]: x", None),
    ],
)
def test_a_wrong_line_is_named(text: str, message: str | None) -> None:
    if message is None:
        assert len(read_srt(text.encode(), "x")[0].speaker or "") == 100
        return
    with pytest.raises(InvalidRecord, match=message):
        read_srt(text.encode(), "talk.srt")


def test_a_wrong_webvtt_line_is_named() -> None:
    text = "WEBVTT\nKind: x\n\n00:01.000 --> 00:02.000\nx\n\n\n\n00:01.000 --> soon\nx"
    with pytest.raises(InvalidRecord, match=r"talk\.vtt, line 9"):
        read_webvtt(text.encode(), "talk.vtt")
    assert read_webvtt(b"WEBVTT", "x") == ()


def test_cues_that_overlap_are_two_who_speak_at_once() -> None:
    text = "WEBVTT\n\n00:01.000 --> 00:04.000\n<v A>x\n\n00:02.000 --> 00:03.000\n<v B>y\n"
    assert said(read_webvtt(text.encode(), "x")) == [("A", "x"), ("B", "y")]


def test_a_label_that_srt_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidRecord, match="square bracket"):
        write_srt((make_passage((0, 1), "x", "a]b", "y"),))
