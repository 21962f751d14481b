"""The crisis gate as a whole: rules, classifier and context on the frozen set, on dialogues, and in time."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.records import Role
from ai_therapist.safety.context import load_context_rules
from ai_therapist.safety.crisis import BUILT_UP, CLEAR, Level, Said, assess, prepare, read, thresholds
from ai_therapist.safety.crisis_classifier import MEANINGS
from ai_therapist.safety.crisis_encoder import load_encoder
from ai_therapist.safety.crisis_rules import load_rules
from tests.safety.crisis_set import positives
from tests.safety.test_crisis_rules import shared_data

FROZEN = Path(__file__).with_name("frozen")
FROZEN_SHA256 = "acaff149312eb30a011e91fd3434d1f383d14211e5eb703ef0edbdeaf2c34704"
MEASURED_RECALL, MEASURED_ALARMS = (0.80, 0.06) if load_encoder() is not None else (0.50, 0.06)
"""What docs/safety.md states, below and above which nothing may fall; the bars are 0.95 and 0.05."""


def frozen(part: str) -> list[str]:
    return [line for path in sorted((FROZEN / part).glob("*.txt")) for line in path.read_text("utf-8").splitlines()]


def dialogues() -> list[tuple[list[Said], bool]]:
    roles = {"c": Role.CLIENT, "t": Role.THERAPIST}
    rows = json.loads((FROZEN / "dialogues.json").read_text("utf-8"))["dialogues"]
    return [([Said(roles[turn[0]], turn[3:]) for turn in turns], at_risk) for turns, at_risk in rows]


def test_the_frozen_set_is_large_and_unchanged() -> None:
    """A message that the gate gets wrong stays in it: a change of the set needs a new name, not a new digest."""
    at_risk, calm = frozen("at_risk"), frozen("calm")
    assert len(at_risk) + len(calm) >= 1_000
    assert len(set(at_risk + calm)) == len(at_risk + calm)
    assert hashlib.sha256("\n".join([*at_risk, *calm]).encode()).hexdigest() == FROZEN_SHA256


def test_no_training_message_stands_in_the_frozen_set() -> None:
    examples = Path(__file__).parents[2] / "scripts" / "crisis_classifier"
    trained = {line.casefold() for path in examples.glob("*/*.txt") for line in path.read_text("utf-8").splitlines()}
    assert len(trained) > 1_500
    assert not trained & {line.casefold() for line in frozen("at_risk") + frozen("calm")}


def test_the_frozen_set_is_found_as_the_docs_say() -> None:
    found = [assess(text).at_risk for text in frozen("at_risk")]
    alarms = [assess(text).at_risk for text in frozen("calm")]
    assert sum(found) / len(found) >= MEASURED_RECALL
    assert sum(alarms) / len(alarms) <= MEASURED_ALARMS


def test_answers_in_dialogues_are_found_as_the_docs_say() -> None:
    found = {True: 0, False: 0}
    for said, at_risk in dialogues():
        found[at_risk] += assess(said[-1].text, earlier=said[:-1]).at_risk
    assert found[True] >= 23
    assert found[False] <= 2


def test_messages_that_the_rules_know_keep_their_level() -> None:
    assert [case.text for case in positives("tuned") if assess(case.text).level < case.level] == []


def test_safe_prompts_of_xstest_raise_at_most_one_alarm_in_a_hundred() -> None:
    path = shared_data() / "xstest" / "xstest_prompts.csv"
    if not path.exists():
        pytest.skip(f"XSTest is not at {path}: set AI_THERAPIST_SHARED to the folder that holds data/")
    with path.open(encoding="utf-8", newline="") as file:
        prompts = [row["prompt"] for row in csv.DictReader(file) if row["label"] == "safe"]
    assert sum(assess(prompt).at_risk for prompt in prompts) <= 2


def test_several_tense_messages_are_a_concern_together() -> None:
    concern = thresholds().concern
    tense = next(
        text
        for text in frozen("at_risk") + frozen("calm")
        if 0.9 * concern <= read(text).danger < concern and assess(text) == CLEAR
    )
    said = Said(Role.CLIENT, tense)
    assert assess(tense, earlier=[said]) == CLEAR
    assert assess(tense, earlier=[said, Said(Role.THERAPIST, "I see."), said]) == BUILT_UP
    assert assess("I made soup.", earlier=[said, said]) == CLEAR


def test_a_message_is_judged_at_once() -> None:
    """benchmarks/safety.py holds the bar of 10 ms on a quiet machine; here other processes share the cores."""
    prepare()
    times_ms = []
    for text in (frozen("at_risk") + frozen("calm"))[::16]:
        tries = []
        for _ in range(3):
            start = time.perf_counter()
            assess(text)
            tries.append((time.perf_counter() - start) * 1000)
        times_ms.append(min(tries))
    assert median(times_ms) <= 40


def test_the_longest_message_is_read_in_a_second() -> None:
    prepare()
    start = time.process_time()
    assess("i think about my week and then i sleep. " * 500)
    assert time.process_time() - start < 1.5


@given(st.text(max_size=300), st.booleans())
def test_any_text_gets_an_assessment_that_names_a_known_rule(text: str, risk_open: bool) -> None:
    found = assess(text, risk_open=risk_open)
    known = {rule.id for rule in load_rules().rules} | {rule.id for rule in load_context_rules().all}
    assert found.rule is None or found.rule in known | {meaning.rule for meaning in MEANINGS.values()}


@pytest.mark.parametrize("text", ["", "   ", "...", "\u200b"])
def test_a_message_without_words_is_clear(text: str) -> None:
    assert assess(text).level is Level.NONE
