"""What the program says about itself, and when it takes a message for the question."""

import pytest

from ai_therapist.safety import disclosures


@pytest.mark.parametrize(
    "text",
    [
        "Are you human?",
        "are you a real therapist",
        "Wait. Who are you?",
        "Am I talking to a person or a machine?",
        "Is this a bot?",
        "r u real",
        "Do you have a license?",
        "Is this conversation private?",
        "Is this being recorded?",
        "Are you recording me?",
        "Are you a doctor?",
    ],
)
def test_the_question_what_it_is_is_recognised(text: str) -> None:
    assert disclosures.is_asked(text)


@pytest.mark.parametrize(
    "text",
    [
        "Are you there?",
        "What are you doing?",
        "My therapist said so.",
        "I met a real person at last.",
        "Is this normal?",
        "I am only human.",
        "Are you saying I am a bad person?",
    ],
)
def test_other_messages_are_not(text: str) -> None:
    assert not disclosures.is_asked(text)


def test_the_opening_says_all_that_it_must() -> None:
    text = disclosures.opening("tiny-toy@1234", is_toy=True)
    for words in (
        "AI program",
        "not a person",
        "not a therapist",
        "not a medical device",
        "toy",
        "18",
        "recorded",
        "/help",
    ):
        assert words in text
    assert "tiny-toy@1234" in text
    # The dialogues may be the user's own.
    assert "trained in minutes on few dialogues" in text
    assert "invented" not in text


def test_it_says_that_only_what_is_saved_is_recorded() -> None:
    for text in (disclosures.opening("big@1", is_toy=False), disclosures.answer(is_toy=False)):
        assert "Nothing you write is recorded unless you save it" in text


def test_only_a_toy_is_called_one() -> None:
    assert "toy" not in disclosures.opening("big@1", is_toy=False)
    assert "toy" not in disclosures.answer(is_toy=False)
    assert "toy" in disclosures.answer(is_toy=True)


def test_the_reminder_comes_after_three_hours() -> None:
    assert disclosures.REPEAT_AFTER_S == 10_800
    assert "not a therapist" in disclosures.reminder()
