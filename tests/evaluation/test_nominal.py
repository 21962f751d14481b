"""Agreement on labels: published worked examples, scikit-learn, and a defined outcome where there is nothing to say."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.nominal import (
    Rated,
    agree_in_group,
    agree_in_pair,
    fleiss_kappa,
    nominal_alpha,
    pairs_of,
)
from ai_therapist.evaluation.scores import shown
from ai_therapist.records import Scored, Unscored

FEW = Resampling(resamples=200, seed=1)


def rated(*columns: str, per_session: int = 1) -> list[Rated]:
    """One string for each rater, one character for each item; "." is no answer, "-" an abstention."""
    found = []
    for place, labels in enumerate(zip(*columns, strict=True)):
        named = {f"r{number}": None if label == "-" else label for number, label in enumerate(labels) if label != "."}
        found.append(Rated(session=f"s{place // per_session}", item=str(place), labels=named))
    return found


def test_cohens_own_example() -> None:
    # J. Cohen, "A Coefficient of Agreement for Nominal Scales" (1960): 200 cases, p_o .70, p_c .41, kappa .492.
    counts = [[88, 10, 2], [14, 40, 6], [18, 10, 12]]
    cells = [("abc"[row], "abc"[column]) for row in range(3) for column in range(3) for _ in range(counts[row][column])]
    found = agree_in_pair(rated(*("".join(each) for each in zip(*cells, strict=True))), "r0", "r1", FEW).kappa
    assert shown(found) == pytest.approx((0.70 - 0.41) / (1 - 0.41))
    assert shown(found) == pytest.approx(0.492, abs=5e-4)


TEN_SUBJECTS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
"""The worked example of Wikipedia's article "Fleiss' kappa": 14 raters, 10 subjects, 5 categories; kappa 0.210."""


def test_the_worked_example_of_fleiss_kappa() -> None:
    table = np.array(TEN_SUBJECTS, float)
    counts = np.array([*table.sum(0), len(table), (table**2).sum(), table.sum()])
    assert float(fleiss_kappa(counts)) == pytest.approx(0.210, abs=5e-4)
    subjects = ["".join(c * n for c, n in zip("abcde", row, strict=True)) for row in TEN_SUBJECTS]
    columns = ["".join(labels) for labels in zip(*subjects, strict=True)]
    assert shown(agree_in_group(rated(*columns), [f"r{n}" for n in range(14)], FEW).fleiss) == pytest.approx(
        float(fleiss_kappa(counts))
    )


def test_krippendorffs_example_of_two_observers() -> None:
    # K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), A: two observers, two values; alpha .095.
    found = agree_in_group(rated("0100000010", "1110010000"), ["r0", "r1"], FEW)
    assert shown(found.alpha) == pytest.approx(0.095, abs=5e-4)


def test_krippendorffs_example_with_missing_data() -> None:
    # The same source, C: four observers, twelve units, values missing; nominal alpha .743.
    observers = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    found = agree_in_group(rated(*observers), ["r0", "r1", "r2", "r3"], FEW)
    assert shown(found.alpha) == pytest.approx(0.743, abs=5e-4)
    assert found.items == 11


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=40))
def test_kappa_of_two_equals_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    one, other = ("".join(column) for column in zip(*pairs, strict=True))
    found = agree_in_pair(rated(one, other), "r0", "r1", Resampling(resamples=10))
    if len(set(one + other)) == 1:
        assert found.kappa == Unscored(reason="only one label was given")
    else:
        assert shown(found.kappa) == pytest.approx(cohen_kappa_score(list(one), list(other)))
    assert shown(found.same) == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))


@given(st.lists(st.tuples(*[st.sampled_from("ab")] * 3), min_size=3, max_size=30))
def test_alpha_comes_near_fleiss_where_nothing_is_missing(triples: list[tuple[str, str, str]]) -> None:
    # Krippendorff (2011): alpha = 1 - (1 - kappa)(N·n - 1) / (N·n) for nominal data without gaps.
    columns = ["".join(column) for column in zip(*triples, strict=True)]
    found = agree_in_group(rated(*columns), ["r0", "r1", "r2"], Resampling(resamples=10))
    if len({label for triple in triples for label in triple}) == 1:
        assert found.alpha == found.fleiss == Unscored(reason="only one label was given")
        return
    kappa, n = shown(found.fleiss), 3 * len(triples)
    assert kappa is not None
    assert shown(found.alpha) == pytest.approx(1 - (1 - kappa) * (n - 1) / n)


def test_full_agreement_is_one_and_random_labels_are_near_zero() -> None:
    same = agree_in_group(rated("abcabc", "abcabc"), ["r0", "r1"], FEW)
    assert shown(same.alpha) == shown(same.fleiss) == pytest.approx(1)
    rng = random.Random(0)
    columns = ["".join(rng.choice("abc") for _ in range(3000)) for _ in range(3)]
    noise = agree_in_group(rated(*columns), ["r0", "r1", "r2"], FEW)
    assert shown(noise.alpha) == pytest.approx(0, abs=0.04)
    assert shown(noise.fleiss) == pytest.approx(0, abs=0.04)


def test_a_class_against_all_others_is_alpha_of_two_classes() -> None:
    one, other = "aabbccabcc", "abbbcaabca"
    found = agree_in_group(rated(one, other), ["r0", "r1"], FEW)
    for each in found.per_class:
        two = ["".join(c if c == each.name else "x" for c in column) for column in (one, other)]
        expected = agree_in_group(rated(*two), ["r0", "r1"], FEW).alpha
        assert shown(each.alpha) == pytest.approx(shown(expected))
    assert sum(each.given for each in found.per_class) == 20


def test_intervals_come_from_whole_sessions() -> None:
    columns = ("aabbabab" * 10, "aabbabba" * 10)
    by_item = agree_in_pair(rated(*columns), "r0", "r1", FEW)
    by_session = agree_in_pair(rated(*columns, per_session=8), "r0", "r1", FEW)
    alone = agree_in_pair(rated(*columns, per_session=80), "r0", "r1", FEW)
    assert isinstance(by_item.kappa, Scored)
    assert isinstance(by_session.kappa, Scored)
    assert isinstance(alone.kappa, Scored)
    assert by_item.kappa.low is not None
    assert by_item.kappa.low < by_item.kappa.value
    # Every session is the same here, so nothing varies between them; of a single one nothing is known.
    assert by_session.kappa.low == by_session.kappa.high == pytest.approx(by_session.kappa.value)
    assert alone.kappa.low is None


def test_where_there_is_nothing_to_say_the_reason_is_said() -> None:
    assert agree_in_pair([], "r0", "r1", FEW).kappa == Unscored(reason="no item was labelled by both")
    assert agree_in_pair(rated("a.", ".b"), "r0", "r1", FEW).n == 0
    nothing = agree_in_group([], ["r0", "r1"], FEW)
    assert nothing.alpha == Unscored(reason="no item was labelled by two")
    assert nothing.fleiss == Unscored(reason="no item was labelled by all 2")
    lonely = agree_in_group(rated("ab"), ["r0"], FEW)
    assert lonely.alpha == lonely.fleiss == Unscored(reason="agreement needs at least two raters")
    one = agree_in_group(rated("aa", "aa"), ["r0", "r1"], FEW)
    assert one.alpha == one.fleiss == one.per_class[0].alpha == Unscored(reason="only one label was given")


def test_abstentions_are_counted_and_in_no_figure() -> None:
    found = agree_in_group(rated("ab-b", "aba-"), ["r0", "r1"], FEW)
    assert (found.items, found.complete, found.abstentions) == (2, 2, 2)
    assert shown(found.alpha) == pytest.approx(1)


def test_pairs_and_undefined_counts() -> None:
    assert pairs_of(["b", "a", "c"]) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert np.isnan(nominal_alpha(np.zeros((2, 2))))
    assert np.isnan(fleiss_kappa(np.zeros(5)))
