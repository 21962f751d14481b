"""The notation of the rule files."""

import pytest

from ai_therapist.safety.rules import compiled, read_data

WORDS = {"colour": ["red", "dark {shade}"], "shade": ["green", "blue"]}


@pytest.mark.parametrize("text", ["a red house", "a dark green house", "a dark blue house"])
def test_a_fragment_stands_for_its_alternatives_and_may_refer_to_others(text: str) -> None:
    assert compiled(["a {colour} house"], WORDS).search(text)


def test_a_gap_takes_up_to_three_words() -> None:
    pattern = compiled(["i … sleep"], {})
    assert pattern.search("i sleep")
    assert pattern.search("i really want to sleep")
    assert not pattern.search("i really want so much to sleep")


def test_a_gap_never_skips_a_denial() -> None:
    pattern = compiled(["i … sleep"], {})
    assert not pattern.search("i do not sleep")
    assert not pattern.search("i never sleep")


def test_a_pattern_matches_whole_words_only() -> None:
    assert not compiled(["red"], {}).search("bored")


def test_an_unknown_fragment_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fragment 'sound'"):
        compiled(["{sound}"], WORDS)


def test_a_data_file_of_the_package_is_read() -> None:
    assert '"version"' in read_data("crisis_rules.json")
