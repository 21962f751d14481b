"""Word error rate: the edit distance against its textbook form, and what counts as the same word."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_therapist.evaluation.word_errors import WordErrors, edit_distance, normalised_words, word_errors

words = st.lists(st.sampled_from(("a", "b", "c")), max_size=12)


def textbook(one: list[str], other: list[str]) -> int:
    """Wagner and Fischer 1974, cell by cell."""
    table = [[i + j if not (i and j) else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i, left in enumerate(one, start=1):
        for j, right in enumerate(other, start=1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (left != right))
    return table[-1][-1]


@settings(deadline=None, max_examples=50)
@given(words, words)
def test_the_distance_is_that_of_the_textbook(one: list[str], other: list[str]) -> None:
    assert edit_distance(one, other) == textbook(one, other) == edit_distance(other, one)


@settings(deadline=None, max_examples=50)
@given(words, words, words)
def test_the_distance_is_a_metric(one: list[str], other: list[str], third: list[str]) -> None:
    assert (edit_distance(one, other) == 0) == (one == other)
    assert edit_distance(one, third) <= edit_distance(one, other) + edit_distance(other, third)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Well-known, isn't it?", ["well", "known", "isnt", "it"]),
        ("Don’t  —  stop…", ["dont", "stop"]),
        ("Café NO 3", ["café", "no", "3"]),
        ("under_score", ["underscore"]),
        ("?!", []),
    ],
)
def test_words_are_compared_without_case_and_punctuation(text: str, expected: list[str]) -> None:
    assert normalised_words(text) == expected


def test_errors_count_every_kind_of_change() -> None:
    assert word_errors("the long week", "the week was over") == WordErrors(errors=3, words=3)
    assert word_errors("", "something") == WordErrors(errors=1, words=0)


def test_long_talks_are_compared_row_by_row() -> None:
    said = [str(place % 977) for place in range(3000)]
    assert edit_distance(said, said[:1000] + said[1010:]) == 10
