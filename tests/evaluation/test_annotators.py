"""Annotators against people: what people decided is gold, an abstention is an error, a tie is nobody's label."""

from ai_therapist.evaluation.annotators import HINDSIGHT, annotators_against_people
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.nominal import Rated
from ai_therapist.evaluation.scores import shown
from ai_therapist.records import Task

FEW = Resampling(resamples=1000)
EMOTION = Task.EMOTION.value


def rated(item: int, **labels: str | None) -> Rated:
    """Labels by rater; an underscore in a name stands for a colon."""
    return Rated(
        session=f"s{item % 2}", item=str(item), labels={name.replace("_", ":"): label for name, label in labels.items()}
    )


ROWS = [
    rated(1, person_a="joy", person_b="joy", person_c="fear", m="joy", n="joy"),
    rated(2, person_a="fear", m=None, n="fear"),
    rated(3, person_a="joy", m="fear"),
    rated(4, person_a="joy", person_b="fear", m="joy"),
    rated(5, person_a=None, m="joy"),
    rated(6, m="joy", n="joy"),
]


def test_each_annotator_is_scored_where_it_was_asked_and_people_decided() -> None:
    found = annotators_against_people({EMOTION: ROWS}, FEW)[EMOTION]
    assert (found.decided, found.undecided) == (3, 2)
    assert list(found.annotators) == [HINDSIGHT, "m", "n"]
    m, n = found.annotators["m"], found.annotators["n"]
    assert (m.n, n.n) == (3, 2)
    assert (shown(m.accuracy), shown(m.abstention_rate)) == (1 / 3, 1 / 3)
    assert shown(n.accuracy) == 1
    assert shown(found.annotators[HINDSIGHT].accuracy) == 2 / 3


def test_without_people_there_is_nothing_to_say() -> None:
    assert annotators_against_people({EMOTION: ROWS[5:]}, FEW) == {}
    assert annotators_against_people({EMOTION: ROWS[4:5]}, FEW) == {}
    assert annotators_against_people({}, FEW) == {}


def test_one_label_only_and_only_abstentions_are_defined_outcomes() -> None:
    one = annotators_against_people({EMOTION: [ROWS[0], ROWS[2]]}, FEW)[EMOTION].annotators["m"]
    assert one.macro_f1.kind == "unscored"
    silent = annotators_against_people({EMOTION: [ROWS[1]]}, FEW)[EMOTION].annotators["m"]
    assert (shown(silent.abstention_rate), silent.accuracy.kind) == (1.0, "unscored")
