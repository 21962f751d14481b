"""Fault schedules: all end, all complete when the server recovers, no label is made up, the ceiling is never passed."""

import pytest

from tests.annotation.faults import check, play


def run_schedules(seeds: range) -> None:
    for seed in seeds:
        told = play(seed)
        assert told.runs < 100, f"seed {seed} did not end"
        check(told)
        ceiling = 0.02 * (1 + seed % 12)
        poor = play(seed, ceiling_usd=ceiling)
        assert poor.runs < 100, f"seed {seed} did not end"
        assert poor.charged_usd <= poor.spent_usd + 1e-9 <= ceiling + 2e-9, f"seed {seed} passed the ceiling"
        if poor.labelled is not None:
            check(poor)


def test_schedules_end_complete_and_stay_below_the_ceiling() -> None:
    run_schedules(range(150))


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_ten_thousand_schedules() -> None:
    run_schedules(range(10_000))
