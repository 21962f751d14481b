"""Features: what they ignore, what they keep, and that they never change unnoticed."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.models.text_features import features_of, tokens_of
from ai_therapist.models.turn_lines import TurnLine
from ai_therapist.records import Role

BUCKETS = 1 << 16


def features(*texts: str, role: Role | None = None) -> dict[int, float]:
    return features_of([*(TurnLine(None, text) for text in texts[:-1]), TurnLine(role, texts[-1])], BUCKETS)


def test_case_apostrophes_and_commas_do_not_matter() -> None:
    assert features("I don't know, really.") == features("i dont know really")
    assert features("I don’t know") == features("I don't know")


def test_a_question_mark_matters() -> None:
    assert tokens_of("Why?") == ["why", "?"]
    assert features("and then?") != features("and then")


def test_order_role_and_context_matter() -> None:
    assert features("you hurt me") != features("me hurt you")
    assert features("go on", role=Role.THERAPIST) != features("go on", role=Role.CLIENT)
    assert features("i was there", "you were there") != features("you were there")


def test_only_two_turns_before_count() -> None:
    assert features("long ago", "one", "two", "now") == features("one", "two", "now")


def test_a_repeated_word_counts_once() -> None:
    bucket = zlib.crc32(b"word:no") % BUCKETS

    # "^ no $" makes 1 word, 2 pairs and 1 triple; "^ no no no $" makes 1, 3 and 3.
    assert features("no")[bucket] == pytest.approx(1 / 4**0.5)
    assert features("no no no")[bucket] == pytest.approx(1 / 7**0.5)


@given(st.text(max_size=300))
def test_any_text_has_bounded_features(text: str) -> None:
    values = features(text, text)
    assert all(0 <= bucket < BUCKETS and 0 < value < 4 for bucket, value in values.items())
    assert features(text, text) == values


def test_lone_surrogates_and_long_texts_are_taken() -> None:
    assert features("\ud800 broken")
    assert features("word " * 10_000) == features("word " * 800)
