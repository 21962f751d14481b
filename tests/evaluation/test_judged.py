"""A judgement carries its banner until enough of it was compared with people."""

from pathlib import Path

import pytest

from ai_therapist.dataset.render import Field
from ai_therapist.errors import RequestError
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.judge import NOT_CALIBRATED, load_rubric
from ai_therapist.evaluation.judged import Judgement, calibrated, judge_pairs, judge_replies
from ai_therapist.evaluation.predictions import Prediction, Reply
from ai_therapist.evaluation.scores import shown
from ai_therapist.models.scripted import ScriptedGenerator
from ai_therapist.records import Example, Unscored
from tests.evaluation.arc import make_examples, make_gold

EXAMPLES = {each.id: each for each in make_examples([make_gold(f"s{at}") for at in range(6)])}
FEW = Resampling(resamples=1000)
RUBRIC = load_rubric("epitome")


def replies(examples: dict[str, Example]) -> list[Prediction]:
    return [
        Prediction(
            example=each.id,
            session=each.session,
            system="tuned",
            field=Field.REPLY,
            gold=None,
            outcome=Reply(text="So it is hard."),
        )
        for each in examples.values()
    ]


def judged() -> Judgement:
    answers = [f"emotional_reactions: {at % 3}\ninterpretations: 1\nexplorations: 0" for at in range(3)]
    judge = ScriptedGenerator([*answers, "no"], repeat=True, name="judge")
    return judge_replies(judge, RUBRIC, replies(EXAMPLES), EXAMPLES, repeats=1)


def test_ratings_without_people_carry_the_banner() -> None:
    found = judged()
    assert found.banner == NOT_CALIBRATED
    assert found.unscored == len(EXAMPLES) // 4
    assert shown(found.means["interpretations"]) == 1
    assert "hard" not in found.model_dump_json()


def test_a_crashed_judge_leaves_every_mean_unscored() -> None:
    found = judge_replies(ScriptedGenerator([]), RUBRIC, replies(EXAMPLES), EXAMPLES, repeats=2)
    assert found.unscored == len(EXAMPLES)
    assert found.means["explorations"] == Unscored(reason="the judge failed (RequestError)")


def test_two_systems_are_compared_in_both_orders_and_a_crash_is_no_tie() -> None:
    ours = replies(EXAMPLES)
    theirs = [
        each.model_copy(update={"system": "base", "outcome": Reply(text="Others have it worse.")}) for each in ours
    ]
    # The first pair is won in both places, the second by its place, the third never gets a verdict.
    answers: list[str | Exception] = [
        "1",
        "2",
        "1",
        "1",
        RuntimeError("out of memory"),
        "1",
        *["2", "1"] * (len(ours) - 3),
    ]
    found = judge_pairs(ScriptedGenerator(answers), RUBRIC, (ours, theirs), EXAMPLES, FEW)
    assert [each.verdict for each in found.verdicts[:4]] == ["a", "tie", None, "b"]
    assert found.verdicts[2].reason == "the judge failed (RuntimeError)"
    assert (found.a, found.b, found.ties, found.unscored) == ("tuned", "base", 1, 1)
    assert shown(found.a_preferred) == pytest.approx(1.5 / (len(ours) - 1))
    assert found.banner == NOT_CALIBRATED
    crashed = judge_pairs(ScriptedGenerator([]), RUBRIC, (ours, theirs), EXAMPLES, FEW)
    assert crashed.a_preferred == Unscored(reason="the judge gave no verdict")
    with pytest.raises(RequestError, match="no reply to the same turn"):
        judge_pairs(ScriptedGenerator([]), RUBRIC, (ours, []), EXAMPLES, FEW)


def test_the_banner_goes_with_enough_ratings_of_people(tmp_path: Path) -> None:
    found = judged()
    rows = [
        f"{each.example},{rating.item},{shown(rating.score)}\n"
        for each in found.replies
        for rating in each.ratings
        if shown(rating.score) is not None
    ]
    people = tmp_path / "people.csv"
    people.write_text("example,item,rating\n" + "".join(rows), "utf-8")
    measured = calibrated(found, people)
    assert measured.agreement is not None
    assert measured.agreement.n == len(rows)
    assert shown(measured.agreement.icc_2_1) == pytest.approx(1)
    assert (measured.banner is None) == (len(rows) >= 30)
    people.write_text("example,item,rating\n" + "".join(rows[:3]), "utf-8")
    assert "Only 3 ratings were compared" in (calibrated(found, people).banner or "")


def test_wrong_ratings_and_other_data_are_refused(tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("example,item,rating\nexm_000000000000,explorations,much\n", "utf-8")
    with pytest.raises(RequestError, match="row 1: the rating is no number"):
        calibrated(judged(), people)
    people.write_text("example,item,rating\nexm_000000000000,explorations,1\n", "utf-8")
    with pytest.raises(RequestError, match="no rating is of a reply"):
        calibrated(judged(), people)
    with pytest.raises(RequestError, match="no reply to rate"):
        judge_replies(ScriptedGenerator([]), RUBRIC, [], EXAMPLES, repeats=1)
    with pytest.raises(RequestError, match="other data"):
        judge_replies(ScriptedGenerator([]), RUBRIC, replies(EXAMPLES), {}, repeats=1)
