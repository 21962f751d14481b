"""A stream is cut into sentences and loses nothing but white space."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.inference.sentences import MAX_CHARS, Sentences


def cut(*pieces: str) -> list[str]:
    sentences = Sentences()
    return [sentence for piece in pieces for sentence in sentences.feed(piece)] + sentences.rest()


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (("I see. ", "Go on."), ["I see.", "Go on."]),
        (("I s", "ee", ". Go", " on"), ["I see.", "Go on"]),
        (('"Really?" she asked. Yes',), ['"Really?"', "she asked.", "Yes"]),
        (("At 3.5 degrees. Cold.",), ["At 3.5 degrees.", "Cold."]),
        (("one line\ntwo lines",), ["one line", "two lines"]),
        (("Hm… yes",), ["Hm…", "yes"]),
        (("   ", "\n\n"), []),
    ],
)
def test_a_sentence_ends_where_white_space_follows_its_mark(pieces: tuple[str, ...], expected: list[str]) -> None:
    assert cut(*pieces) == expected


def test_nothing_is_given_before_its_end_is_sure() -> None:
    sentences = Sentences()
    assert sentences.feed("I am 3.") == []
    assert sentences.feed("5 years") == []


def test_text_without_an_end_is_cut_at_a_space() -> None:
    parts = cut("word " * 300)
    assert max(len(part) for part in parts) <= MAX_CHARS
    assert all(set(part.split()) == {"word"} for part in parts)


def test_text_without_a_space_is_cut_too() -> None:
    assert [len(part) for part in cut("x" * 1000)] == [MAX_CHARS, MAX_CHARS, 200]


@given(st.lists(st.text(alphabet='ab .!?\n"', max_size=60), max_size=20))
def test_all_that_came_in_goes_out(pieces: list[str]) -> None:
    assert "".join("".join(cut(*pieces)).split()) == "".join("".join(pieces).split())
