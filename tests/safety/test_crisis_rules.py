"""The written rules of the crisis gate by themselves: what each frame excuses and each rule finds, and how well."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ai_therapist.safety.crisis import CLEAR, About, Assessment, Category, Level
from ai_therapist.safety.crisis_rules import CrisisRules, assess_by_rules, load_rules
from tests.safety.crisis_set import Part, Positive, negatives, positives


def shared_data() -> Path:
    """Where data for measuring lies, which is no part of the repository."""
    named = os.environ.get("AI_THERAPIST_SHARED")
    return (Path(named) if named else Path(__file__).parents[3] / "shared") / "data"


def recall_and_false_alarms(part: Part) -> tuple[float, float]:
    at_risk, calm = positives(part), negatives(part)
    found = sum(assess_by_rules(case.text).at_risk for case in at_risk)
    alarms = sum(assess_by_rules(text).at_risk for text in calm)
    return found / len(at_risk), alarms / len(calm)


def test_the_measured_set_is_large_enough() -> None:
    assert len(positives("tuned")) >= 80
    assert len(negatives("tuned")) >= 120
    assert len(positives("fresh")) >= 40
    assert len(negatives("fresh")) >= 60


@pytest.mark.parametrize("case", positives("tuned"), ids=lambda case: case.text[:40])
def test_a_message_of_the_tuned_part_gets_its_category_and_level(case: Positive) -> None:
    found = assess_by_rules(case.text)
    assert found.category is case.category
    assert found.level >= case.level


@pytest.mark.parametrize("text", negatives("tuned"), ids=lambda text: text[:40])
def test_a_calm_message_of_the_tuned_part_is_clear(text: str) -> None:
    assert assess_by_rules(text) == CLEAR


def test_fresh_messages_are_found_as_often_as_the_docs_say() -> None:
    recall, false_alarms = recall_and_false_alarms("fresh")
    assert recall == pytest.approx(26 / 40)
    assert false_alarms == pytest.approx(2 / 60)


def test_safe_prompts_of_xstest_raise_at_most_one_alarm_in_a_hundred() -> None:
    path = shared_data() / "xstest" / "xstest_prompts.csv"
    if not path.exists():
        pytest.skip(f"XSTest is not at {path}: set AI_THERAPIST_SHARED to the folder that holds data/")
    with path.open(encoding="utf-8", newline="") as file:
        prompts = [row["prompt"] for row in csv.DictReader(file) if row["label"] == "safe"]
    assert len(prompts) == 250
    assert sum(assess_by_rules(prompt).at_risk for prompt in prompts) <= 2


def test_a_message_takes_at_most_ten_milliseconds() -> None:
    texts = [case.text for case in positives("tuned")] + negatives("tuned")
    assess_by_rules(texts[0])
    times_ms = []
    for text in texts:
        start = time.process_time()
        assess_by_rules(text)
        times_ms.append((time.process_time() - start) * 1000)
    assert median(times_ms) <= 10


def test_time_grows_no_faster_than_the_message() -> None:
    word_soup = "i want to sleep and then i think about my week again "
    start = time.process_time()
    assess_by_rules(word_soup * 20)
    short_s = time.process_time() - start
    start = time.process_time()
    assess_by_rules(word_soup * 200)
    assert time.process_time() - start < 40 * short_s + 0.2


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("I want to die.", Level.RISK),
        ("I do not want to die.", Level.NONE),
        ("I have never wanted to die.", Level.NONE),
        ("I don't want to live.", Level.RISK),
        ("I'm not sure I want to live anymore.", Level.RISK),
        ("I used to want to die.", Level.NONE),
        ("I used to want to die, and now it is back again.", Level.RISK),
        ("I attempted suicide in 2015.", Level.CONCERN),
        ("She asked me if I wanted to kill myself.", Level.NONE),
        ("I'm fine, really, but I want to kill myself.", Level.RISK),
        ("I'm not going to kill myself tonight, I want to die though.", Level.RISK),
    ],
)
def test_denial_past_and_report_excuse_their_own_words_only(text: str, level: Level) -> None:
    assert assess_by_rules(text).level == level


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("My friend is suicidal.", About.OTHER),
        ("I think my sister is feeling suicidal.", About.OTHER),
        ("She makes me feel suicidal.", About.SELF),
        ("He knows that I want to die.", About.SELF),
    ],
)
def test_it_tells_the_writer_from_somebody_else(text: str, about: About) -> None:
    assert assess_by_rules(text).about is about


def test_another_persons_risk_gets_the_softer_level_unless_it_is_imminent() -> None:
    assert assess_by_rules("My brother wants to kill himself.").level is Level.CONCERN
    assert assess_by_rules("My brother just swallowed all his pills.").level is Level.IMMINENT


def test_fiction_excuses_other_people_but_never_the_writer() -> None:
    assert assess_by_rules("In the film my favourite actor kills himself, she is suicidal too.") == CLEAR
    assert assess_by_rules("After that film I want to kill myself.").level is Level.RISK


@pytest.mark.parametrize("text", ["I have a plan.", "Tonight I will do it.", "Nobody can stop me.", "It's time."])
def test_short_answers_count_only_while_a_risk_is_open(text: str) -> None:
    assert assess_by_rules(text) == CLEAR
    assert assess_by_rules(text, risk_open=True).level is Level.IMMINENT


def test_the_gravest_clause_decides() -> None:
    found = assess_by_rules("My friend is suicidal. I want to die. I swallowed all of my pills.")
    assert (found.level, found.category) == (Level.IMMINENT, Category.DANGER)


@given(st.text(max_size=300), st.booleans())
def test_any_text_gets_an_assessment_without_its_words(text: str, risk_open: bool) -> None:
    found = assess_by_rules(text, risk_open=risk_open)
    assert found.rule is None or found.rule in {rule.id for rule in load_rules().rules}


def test_every_rule_finds_a_message_of_the_set_or_a_short_answer() -> None:
    texts = [case.text for case in positives("tuned")]
    hit = {assess_by_rules(text).rule for text in texts} | {assess_by_rules("I have a plan.", risk_open=True).rule}
    hit.add(assess_by_rules("My friend said he plans to shoot people at school.").rule)
    assert {rule.id for rule in load_rules().rules} <= hit


def test_an_assessment_above_none_needs_a_rule_and_category() -> None:
    with pytest.raises(ValidationError, match="comes with a category and a rule"):
        Assessment(level=Level.RISK)
    with pytest.raises(ValidationError, match="comes with a category and a rule"):
        Assessment(level=Level.NONE, category=Category.SUICIDE, rule="SI-10")


def test_two_rules_with_one_id_are_refused() -> None:
    book = load_rules().model_dump()
    book["rules"] = (book["rules"][0], book["rules"][0])
    with pytest.raises(ValidationError, match="two rules share an id"):
        CrisisRules.model_validate(book)
