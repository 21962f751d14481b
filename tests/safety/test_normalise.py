"""Disguised spellings are undone, clauses are cut where sense ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.safety.normalise import clauses


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


@given(st.text(max_size=200))
def test_clauses_hold_nothing_but_words_and_stay_as_they_are(text: str) -> None:
    found = clauses(text)
    for clause in found:
        assert clause == " ".join(clause.split())
        assert set(clause) <= set("abcdefghijklmnopqrstuvwxyz0123456789 ")
    assert all(found)
