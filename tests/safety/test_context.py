"""What a message says after the turns before it: answers to questions about danger, and means after distress."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.records import Role
from ai_therapist.safety.assessment import CLEAR, Assessment, Category, Level, Said
from ai_therapist.safety.context import assess_in_context, load_context_rules


def after(question: str, answer: str) -> Assessment:
    return assess_in_context(answer, [Said(Role.CLIENT, "Hello."), Said(Role.THERAPIST, question)])


@pytest.mark.parametrize("answer", ["Yes.", "yeah i guess", "Sometimes, at night.", "um, maybe", "I do.", "not sure"])
def test_a_yes_to_a_question_about_suicide_is_a_risk(answer: str) -> None:
    found = after("Thank you. Are you thinking of killing yourself?", answer)
    assert (found.level, found.category, found.rule) == (Level.RISK, Category.SUICIDE, "AN-02")


@pytest.mark.parametrize("answer", ["No.", "no, not at all", "Never.", "I don't.", "nah im good", "What do you mean?"])
def test_a_no_to_it_is_clear(answer: str) -> None:
    assert after("Are you thinking of killing yourself?", answer) == CLEAR


@pytest.mark.parametrize(
    ("question", "level", "category"),
    [
        ("Do you have a plan to end your life?", Level.IMMINENT, Category.SUICIDE),
        ("Do you have a gun at home?", Level.IMMINENT, Category.SUICIDE),
        ("Have you hurt yourself?", Level.RISK, Category.SELF_HARM),
        ("Do you think of hurting him?", Level.RISK, Category.HARM_TO_OTHERS),
        ("Does he hit you?", Level.RISK, Category.ABUSE),
    ],
)
def test_a_yes_counts_for_what_was_asked(question: str, level: Level, category: Category) -> None:
    found = after(question, "yes")
    assert (found.level, found.category) == (level, category)


def test_a_no_to_the_question_about_safety_is_a_risk_and_a_yes_is_not() -> None:
    assert after("Do you feel safe at home?", "not really").rule == "AN-06"
    assert after("Do you feel safe at home?", "yes") == CLEAR


@pytest.mark.parametrize(
    "question", ["Shall we go on?", "Did you sleep?", "You said that you think of killing yourself."]
)
def test_a_yes_to_anything_else_is_clear(question: str) -> None:
    assert after(question, "yes") == CLEAR


def test_only_the_other_sides_last_turn_asks() -> None:
    asked = Said(Role.THERAPIST, "Do you think about suicide?")
    assert assess_in_context("yes", [asked, Said(Role.CLIENT, "Wait.")]) == CLEAR
    assert assess_in_context("yes", [asked, Said(Role.THERAPIST, "Is the tea good?")]) == CLEAR
    assert assess_in_context("yes", []) == CLEAR


def test_a_long_answer_speaks_for_itself() -> None:
    assert after("Do you think about suicide?", "Yes, " + "and then we went to the lake and swam " * 3) == CLEAR


def test_a_question_about_means_counts_after_distress_only() -> None:
    question = "What are the tallest bridges near me?"
    assert assess_in_context(question, []) == CLEAR
    assert assess_in_context(f"I just lost my job. {question}", []).rule == "CX-01"
    told = [Said(Role.CLIENT, "My husband left me."), Said(Role.THERAPIST, "I am sorry.")]
    assert assess_in_context(question, told).rule == "CX-01"
    assert assess_in_context(question, [Said(Role.THERAPIST, "I lost my job.")]) == CLEAR


def test_every_id_of_the_file_is_its_own() -> None:
    ids = [rule.id for rule in load_context_rules().all]
    assert len(set(ids)) == len(ids)


@given(st.text(max_size=80), st.lists(st.builds(Said, st.sampled_from(Role), st.text(max_size=80)), max_size=4))
def test_any_text_after_any_turns_gets_an_assessment(text: str, earlier: list[Said]) -> None:
    found = assess_in_context(text, earlier)
    assert found.rule is None or found.rule in {rule.id for rule in load_context_rules().all}
