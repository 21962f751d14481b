"""Disguised spellings are undone, clauses are cut where sense ends."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.safety.normalise import clauses, sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don’t know.", ("i dont know",)),
        ("Fine, thanks. And you?", ("fine thanks", "and you")),
        ("I sleep but I am tired", ("i sleep", "i am tired")),
        ("I want to... sleep… now", ("i want to sleep now",)),
        ("first line\nsecond line", ("first line", "second line")),
        ("MÉLANGE naïve", ("melange naive",)),
        ("zero\u200bwidth soft\u00adhyphen", ("zerowidth softhyphen",)),
        ("wh4t a d4y", ("what a day",)),
        ("h0w 4re you", ("how are you",)),
        ("s l e e p", ("sleep",)),
        ("s-l-e-e-p well", ("sleep well",)),
        ("soooooo tired", ("soo tired",)),
        ("su*cidal", ("suicidal",)),
        ("ｆｕｌｌ width", ("full width",)),
        ("раіn", ("pain",)),
        ("It cost 45 and weighs 30 kg", ("it cost 45 and weighs 30 kg",)),
        ("great!", ("great",)),
        ("   ", ()),
    ],
)
def test_a_message_becomes_plain_clauses(text: str, expected: tuple[str, ...]) -> None:
    assert clauses(text) == expected


def test_a_masked_word_that_is_none_of_the_known_ones_stays_in_pieces() -> None:
    assert clauses("what a d*y") == ("what a d y",)


@pytest.mark.parametrize(
    "hostile",
    [
        "a" + "1" * 20_000 + "2",
        "a" * 20_000 + "!",
        "a1" * 10_000 + "_",
        "a!" * 10_000 + "2",
        "a" + "*" * 20_000,
        "a*" * 10_000 + "b",
        "a " * 10_000,
        "!" * 20_000 + "a_",
    ],
)
def test_no_word_holds_up_everybody_else(hostile: str) -> None:
    # The expressions hold the interpreter while they look: quadratic ones took four seconds for such a word.
    begun = time.thread_time()
    clauses(hostile)
    assert time.thread_time() - begun < 0.5


@given(st.text(max_size=200))
def test_clauses_hold_nothing_but_words_and_stay_as_they_are(text: str) -> None:
    found = clauses(text)
    for clause in found:
        assert clause == " ".join(clause.split())
        assert set(clause) <= set("abcdefghijklmnopqrstuvwxyz0123456789 ")
    assert all(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I slept badly. Then I got up and went out.", ["I slept badly.", "Then I got up and went out."]),
        ("No. I can not go on.\nNot now", ["No. I can not go on. Not now"]),
        ("Well…  it is 3.5 km away! Isn't it far?", ["Well… it is 3.5 km away!", "Isn't it far?"]),
        ("  ", ["  "]),
    ],
)
def test_a_message_is_cut_into_sentences_as_they_stand_there(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(alphabet="ab .!?\n", max_size=600))
def test_sentences_hold_every_word_in_order_and_none_is_endless(text: str) -> None:
    found = sentences(text)
    assert " ".join(found).split() == text.split()
    assert all(len(sentence.split()) < 64 for sentence in found)
