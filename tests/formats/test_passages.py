"""Passages, transcripts and tiers turn into each other, and nothing that a file does not say is added."""

import pytest

from ai_therapist.errors import InvalidRecord
from ai_therapist.formats.passages import (
    UNKNOWN_SPEAKER,
    from_tiers,
    make_passage,
    make_word,
    passages_of,
    to_tiers,
    to_transcript,
    with_speakers,
)
from ai_therapist.formats.rttm import read_rttm
from ai_therapist.formats.text import clean
from ai_therapist.formats.tiers import make_tier
from ai_therapist.testing import make_session

SESSION = make_session().id


def test_who_is_not_named_is_unknown_and_stays_nameless() -> None:
    spoken = (make_passage((0, 500), "x", None, "hello"),)
    transcript = to_transcript(spoken, SESSION, "vtt", "x")
    assert [one.speaker for one in transcript.utterances] == [UNKNOWN_SPEAKER]
    assert transcript.utterances[0].words == ()
    assert passages_of(transcript) == spoken


def test_turns_without_words_are_no_transcript() -> None:
    with pytest.raises(InvalidRecord, match="not a word"):
        to_transcript((make_passage((0, 500), "x", "A"),), SESSION, "rttm", "one.rttm")
    assert to_transcript((), SESSION, "vtt", "x").utterances == ()


def test_another_file_can_say_who_spoke() -> None:
    spoken = (
        make_passage((0, 1000), "x", None, "hello"),
        make_passage((1000, 2000), "x", "Ben", "hi"),
        make_passage((9000, 9500), "x", None, "far away"),
    )
    turns = read_rttm(b"SPEAKER s 1 0.0 0.3 <NA> <NA> B <NA> <NA>\nSPEAKER s 1 0.3 2.0 <NA> <NA> A <NA> <NA>\n", "x")
    assert [one.speaker for one in with_speakers(spoken, turns)] == ["A", "Ben", None]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("SPEAKER s 1 nan 1 <NA> <NA> A <NA> <NA>", "is no number"),
        ("SPEAKER s 1 0 1e99 <NA> <NA> A <NA> <NA>", "is no number"),
        ("SPEAKER s 1 0 0 <NA> <NA> A <NA> <NA>", "not after its start"),
        ("SPEAKER s 1 0 1", "5 columns instead of 10"),
        ("LEXEME s 1 0 1 so lex A <NA> <NA>", "no line begins with SPEAKER"),
        (
            "SPEAKER s 1 0 1 <NA> <NA> A <NA> <NA>\nSPEAKER t 1 0 1 <NA> <NA> A <NA> <NA>",
            "2 recordings",
        ),
    ],
)
def test_a_wrong_rttm_is_told_in_one_line(line: str, message: str) -> None:
    with pytest.raises(InvalidRecord, match=message):
        read_rttm(line.encode(), "one.rttm")


def test_tiers_of_labels_are_no_speech_and_word_tiers_alone_are() -> None:
    talk = make_tier("A", [(0, 1000, "so it goes")], "x")
    words = make_tier("A - words", [(0, 200, "so"), (300, 400, "it"), (1500, 1600, "goes")], "x")
    label = make_tier("A - emotion", [(0, 1000, "joy")], "x", ("joy",))
    (one,) = from_tiers((talk, words, label), "x")
    assert [word.text for word in one.words] == ["so", "it"]
    assert [passage.text for passage in from_tiers((words, label), "x")] == ["so it", "goes"]
    with pytest.raises(InvalidRecord, match="no tier holds speech"):
        from_tiers((label,), "x")


def test_one_voice_cannot_overlap_itself_in_a_tier() -> None:
    spoken = (make_passage((0, 900), "x", "A", "one"), make_passage((500, 1200), "x", "A", "two"))
    with pytest.raises(InvalidRecord, match=r"'A'.*overlap at 00:00:00\.500"):
        to_tiers(spoken)
    with pytest.raises(InvalidRecord, match="rename"):
        to_tiers((make_passage((0, 900), "x", "A - B", "one"),))


def test_words_that_reach_out_of_a_passage_widen_it() -> None:
    word = make_word("so", 80, 1200)
    assert word is not None
    span = make_passage((100, 900), "x", "A", "so", [word]).span
    assert (span.start_ms, span.end_ms) == (80, 1200)
    assert make_word("so", 5, 5) is None
    assert make_word(" \x00", 5, 9) is None


def test_text_is_one_clean_line() -> None:
    assert clean(" a\n\tb\x00\x0bc\ud800 \ufffe d") == "a b c d"
