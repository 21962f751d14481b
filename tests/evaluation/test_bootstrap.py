"""Intervals resample sessions, are seeded, and are left out where nothing is known of the spread."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from ai_therapist.evaluation.bootstrap import score_all
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import ratio
from ai_therapist.records import Scored, Unscored

FEW = Resampling(resamples=2000, seed=1)


def share(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return ratio(sums[..., 0], sums[..., 1])


def score(rows: list[tuple[int, int]], resampling: Resampling = FEW) -> Scored | Unscored:
    counts = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return score_all(counts, {"share": share}, int(counts[:, 1].sum()), resampling)["share"]


def test_the_interval_equals_a_plain_loop_over_resamples() -> None:
    rng = np.random.default_rng(5)
    counts = np.column_stack([rng.integers(0, 10, 12), np.full(12, 10)]).astype(np.float64)
    loop = np.random.default_rng(FEW.seed)
    drawn = [counts[loop.integers(0, 12, size=12)].sum(0) for _ in range(FEW.resamples)]
    low, high = np.quantile([sums[0] / sums[1] for sums in drawn], (0.025, 0.975))
    found = score([(int(a), int(b)) for a, b in counts])
    assert isinstance(found, Scored)
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)
    assert found.value == pytest.approx(counts[:, 0].sum() / counts[:, 1].sum())


def test_sessions_are_resampled_not_items() -> None:
    alike = score([(5, 10)] * 20)
    apart = score([(10, 10)] * 10 + [(0, 10)] * 10)
    assert isinstance(alike, Scored)
    assert isinstance(apart, Scored)
    assert alike.value == apart.value == 0.5
    assert alike.low == alike.high == 0.5
    assert apart.low is not None
    assert apart.high is not None
    assert apart.high - apart.low > 0.3


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    rows = [(place, 11 + 3 * place) for place in range(15)]
    assert score(rows) == score(rows)
    assert score(rows) != score(rows, Resampling(resamples=2000, seed=2))


def test_a_single_session_has_a_value_and_no_interval() -> None:
    assert score([(3, 4)]) == Scored(value=0.75, low=None, high=None, n=4)


def test_nothing_is_unscored_with_a_reason() -> None:
    assert score([]) == Unscored(reason="there is nothing to score")
    assert score([(0, 0), (0, 0)]) == Unscored(reason="undefined for these counts")


def test_a_figure_that_most_resamples_leave_undefined_has_no_interval() -> None:
    found = score([(1, 2)] + [(0, 0)] * 9)
    assert found == Scored(value=0.5, low=None, high=None, n=2)


def test_blocks_do_not_change_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(place % 5, 10) for place in range(40)]
    whole = score(rows)
    monkeypatch.setattr("ai_therapist.evaluation.bootstrap._BLOCK_DRAWS", 4000)
    assert score(rows) == whole


def test_ten_thousand_resamples_of_a_hundred_sessions_take_seconds_at_most() -> None:
    counts = np.ones((100, 10, 11))
    start = time.process_time()
    score_all(counts, {"sum": lambda sums: sums.sum((-2, -1))}, 1, Resampling())
    assert time.process_time() - start < 5
