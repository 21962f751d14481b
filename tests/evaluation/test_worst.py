"""The surest errors: of whom, in which order, and when there are none."""

from ai_therapist.dataset.render import Field
from ai_therapist.evaluation.audit import Leak, LeakAudit
from ai_therapist.evaluation.evidence import Evidence
from ai_therapist.evaluation.predictions import Prediction
from ai_therapist.evaluation.worst import worst_cases
from ai_therapist.records import Abstention, Label
from tests.evaluation.test_report import evidence, predictions


def sure_of(system: str, *sureness: float) -> tuple[Prediction, ...]:
    """Wrong answers, as sure as asked."""
    rows = [row for row in predictions(system) if row.field is Field.CLIENT_EMOTION]
    return tuple(
        row.model_copy(update={"outcome": Label(value=given, probabilities={given: sure, "surprise": 1 - sure})})
        for row, sure in zip(rows, sureness, strict=False)
        for given in ("anger" if row.gold == "disgust" else "disgust",)
    )


def with_predictions(**systems: tuple[Prediction, ...]) -> Evidence:
    return Evidence(**{**vars(evidence()), "predictions": systems})


def test_the_surest_error_comes_first_and_right_answers_are_none() -> None:
    rows = sure_of("tuned", 0.6, 0.9)
    right = rows[0].model_copy(
        update={"outcome": Label(value=str(rows[0].gold), probabilities={str(rows[0].gold): 1.0})}
    )
    found = worst_cases(with_predictions(tuned=(*rows, right)))
    assert [each.probability for each in found] == [0.9, 0.6]
    assert {each.system for each in found} == {"tuned"}
    assert all(each.given != each.gold for each in found)


def test_the_tuned_model_stands_for_itself_and_a_leak_for_nothing() -> None:
    other = with_predictions(**{"copy-gold": sure_of("copy-gold", 0.99), "base": sure_of("base", 0.7)})
    assert {each.system for each in worst_cases(other)} == {"base"}
    leaking = LeakAudit(checked=1, leaks=(Leak(kind="group in two splits", count=1, named=("a",)),))
    assert worst_cases(Evidence(**{**vars(other), "audit": leaking})) == ()


def test_answers_without_probabilities_are_never_sure() -> None:
    silent = tuple(row.model_copy(update={"outcome": Abstention(reason="silent")}) for row in sure_of("tuned", 0.9))
    assert worst_cases(with_predictions(tuned=silent, other=predictions("other"))) == ()
