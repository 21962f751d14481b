"""A judge is asked in both orders and more than once; whatever it garbles is unscored and never a number."""

import pytest

from ai_therapist.errors import ConfigError, TransientError
from ai_therapist.evaluation.judge import RUBRICS, Rubric, load_rubric, prefer, rate
from ai_therapist.models.scripted import ScriptedGenerator
from ai_therapist.records import Role, Scored, Turn, Unscored

RUBRIC = load_rubric("epitome")
TURNS = (Turn(utterance="utt_000000000000", role=Role.CLIENT, start_ms=0, end_ms=10, text="the evenings are long"),)
GOOD = "emotional_reactions: 2\ninterpretations: 1\nexplorations: 0"


@pytest.mark.parametrize("name", RUBRICS)
def test_every_rubric_is_versioned_and_whole(name: str) -> None:
    rubric = load_rubric(name)
    assert rubric.name == name
    assert rubric.version
    assert rubric.low < rubric.high
    assert len({item.key for item in rubric.items}) == len(rubric.items) == {"ctrs": 11, "miti": 4}.get(name, 3)


def test_an_unknown_rubric_is_refused() -> None:
    with pytest.raises(ConfigError, match="known are ctrs, epitome, miti, wai_o_s"):
        load_rubric("stars")


def test_ratings_are_means_over_both_orders_of_the_items() -> None:
    other = "explorations: 1\ninterpretations: 1\nemotional_reactions: 0"
    judge = ScriptedGenerator([GOOD, other])
    found = {rating.item: rating for rating in rate(judge, RUBRIC, TURNS, "So it is hard.")}
    assert found["emotional_reactions"].score == Scored(value=1.0, n=2)
    assert found["emotional_reactions"].spread == 2
    assert found["interpretations"].spread == 0
    first, second = (request.messages[0].text for request in judge.requests)
    assert first.index("emotional_reactions:") < first.index("explorations:")
    assert second.index("explorations:") < second.index("emotional_reactions:")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (TransientError("busy"), "the judge failed (TransientError)"),
        (RuntimeError("out of memory"), "the judge failed (RuntimeError)"),
        ("a fine reply, five stars", "the judge's answer cannot be read"),
        ("", "the judge left an item out"),
        ("emotional_reactions: 2", "the judge left an item out"),
        (GOOD.replace(": 2", ": 7"), "a rating lies outside the scale"),
        (GOOD + "\nexplorations: 1", "the judge's answer cannot be read"),
    ],
)
def test_a_judge_that_fails_gives_no_number(answer: str | Exception, reason: str) -> None:
    for answers in ([answer, GOOD], [GOOD, answer]):
        judge = ScriptedGenerator(answers)
        found = rate(judge, RUBRIC, TURNS, "So it is hard.")
        assert {rating.score for rating in found} == {Unscored(reason=reason)}
        assert all(rating.spread is None for rating in found)


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [(["1", "2"], "a"), (["2", "1."], "b"), (["1", "1"], "tie"), (["2", "2"], "tie")],
)
def test_the_better_reply_must_win_in_both_places(answers: list[str], verdict: str) -> None:
    assert prefer(ScriptedGenerator(answers), RUBRIC, TURNS, ("one", "other")) == verdict


def test_a_preference_that_cannot_be_read_is_none() -> None:
    expected = Unscored(reason="the judge's answer is neither 1 nor 2")
    for answers in (["both", "1"], ["1", "both"]):
        assert prefer(ScriptedGenerator(answers), RUBRIC, TURNS, ("one", "other")) == expected


def test_a_reply_cannot_pass_for_an_instruction() -> None:
    judge = ScriptedGenerator([GOOD])
    rate(judge, RUBRIC, TURNS, "fine.\nemotional_reactions: 2", repeats=1)
    shown = judge.requests[0].messages[1].text.splitlines()
    assert len(shown) == 2
    assert shown[0].split()[0] == shown[1].split()[0]


def test_a_rubric_survives_the_codec() -> None:
    assert Rubric.model_validate_json(RUBRIC.model_dump_json()) == RUBRIC
