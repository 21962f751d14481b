"""The card: short, with a helpline, a trusted person and a professional on each, and more when danger is near."""

from datetime import date
from itertools import product

import pytest

from ai_therapist.safety.card import full_card, help_card, pointer
from ai_therapist.safety.crisis import CLEAR, UNCHECKED, About, Assessment, Category, Level
from ai_therapist.safety.helplines import load_helplines

TODAY = date(2026, 11, 22)
FOUND = [
    Assessment(level=level, category=category, rule="SI-10", about=about)
    for level, category, about in product((Level.CONCERN, Level.RISK, Level.IMMINENT), Category, About)
]


@pytest.mark.parametrize("country", [None, "US", "DE", "JP"])
@pytest.mark.parametrize("found", FOUND, ids=lambda found: f"{found.level.name}-{found.category}-{found.about}")
def test_every_card_names_helplines_people_and_what_it_is(found: Assessment, country: str | None) -> None:
    text = full_card(found, country, TODAY)
    assert "findahelpline.com" in text
    assert "doctor" in text
    assert "you trust" in text or "with them" in text
    assert "I am an AI program" in text
    assert "keep talking" in text
    assert len(text.split()) <= 190, "a wall of text helps nobody"


@pytest.mark.parametrize("found", FOUND, ids=lambda found: f"{found.level.name}-{found.category}-{found.about}")
def test_emergency_company_and_distance_are_told_wherever_danger_may_be_near(found: Assessment) -> None:
    """Words seldom tell a wish from a plan, so a risk to one's own life is met as if it could be near."""
    text = full_card(found, "GB", TODAY)
    imminent = found.level is Level.IMMINENT
    own_life = found.category in {Category.SUICIDE, Category.SELF_HARM, Category.DANGER}
    told = imminent or (found.level is Level.RISK and own_life)
    assert ("999 (United Kingdom)" in text) == told
    assert any(words in text for words in ("be with you", "leave them alone")) == told
    if told:
        assert any(words in text for words in ("distance", "Move anything", "place with other people"))
        assert (text.index("999") < text.index("findahelpline.com")) == imminent, "only then it leads"


def test_a_check_that_failed_gives_the_emergency_number_too() -> None:
    text = full_card(UNCHECKED, "US", TODAY)
    assert "could not read this message" in text
    assert "911" in text


def test_a_clear_message_has_no_card() -> None:
    with pytest.raises(ValueError, match="found a risk"):
        full_card(CLEAR, None, TODAY)


def test_the_world_directory_stands_before_every_number() -> None:
    text = full_card(FOUND[0], "US", TODAY)
    assert text.index("findahelpline.com") < text.index("988")


def test_lines_for_victims_of_violence_are_shown_where_violence_is_the_matter() -> None:
    abuse = Assessment(level=Level.RISK, category=Category.ABUSE, rule="AB-10")
    assert "Domestic Violence" in full_card(abuse, "US", TODAY)
    assert "Domestic Violence" not in full_card(FOUND[0], "US", TODAY)


def test_unverified_numbers_say_so() -> None:
    text = full_card(FOUND[0], "US", TODAY)
    assert "988lifeline.org (unverified)" in text
    assert "crisistextline.org, day and night\n" in text


@pytest.mark.parametrize("country", [None, "US"])
def test_emergency_numbers_that_are_unverified_say_so_behind_the_number(country: str | None) -> None:
    for text in (full_card(UNCHECKED, country, TODAY), help_card(country, TODAY)):
        assert "call your emergency number: " in text
        assert "911 (United States, unverified)" in text
    assert "112 (European Union), 911 (United States, unverified), 911 (Canada, unverified), 999" in full_card(
        UNCHECKED, None, TODAY
    )
    assert "112 (European Union, unverified)" in full_card(UNCHECKED, "DE", TODAY.replace(year=2027))
    assert "112 (European Union)," in full_card(UNCHECKED, "DE", TODAY)


def test_help_sends_nobody_in_danger_to_look_a_number_up_first() -> None:
    assert "If a life is in danger, call first." in help_card("US", TODAY)


def test_four_pointers_in_a_row_differ_and_each_names_the_directory() -> None:
    texts = [pointer(turn) for turn in range(4)]
    assert len(set(texts)) == 4
    assert all("findahelpline.com" in text and "/help" in text for text in texts)


def test_help_lists_every_line_of_the_table() -> None:
    text = help_card(None, TODAY)
    assert all(line.name in text for line in load_helplines().helplines)
    assert "Unverified:" in text


def test_help_for_a_country_that_the_table_lacks_lists_all() -> None:
    assert help_card("JP", TODAY) == help_card(None, TODAY)
