"""The leak audit on real dialogues: a random split of utterances is flagged, one by transcript is not."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.suites.labelled import SUITES
from ai_therapist.evaluation.suites.layout import Row
from ai_therapist.evaluation.suites.run import SuiteReport, run_suite

DATA = Path(__file__).parents[4] / "shared" / "data" / "annomi" / "therapist_train_dev.csv"
SUITE = SUITES["annomi-behaviour"]

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="AnnoMI is not beside the repository")


def split_again(name: Callable[[Row], str]) -> SuiteReport:
    """The rows of the file, every fifth unit held out, where `name` says what a unit is."""
    rows = SUITE.load([DATA])
    units = sorted({name(row) for row in rows})
    random.Random(0).shuffle(units)
    held_out = set(units[::5])
    again = [replace(row, split="dev" if name(row) in held_out else "train") for row in rows]
    return run_suite(SUITE, again, Resampling(1000))


def test_a_random_split_of_utterances_is_flagged_and_its_figures_withheld() -> None:
    found = split_again(lambda row: row.id)

    assert not found.leak_audit.passed
    assert found.evaluation["majority"].accuracy.kind == "unscored"


def test_a_split_by_transcript_is_not_and_copying_gold_stands_marked_beside_it() -> None:
    found = split_again(lambda row: row.group)

    assert found.leak_audit.passed
    assert found.evaluation["majority"].accuracy.kind == "scored"
    assert found.evaluation["copy-gold"].accuracy.kind == "scored"
    assert found.systems["copy-gold"].leaks
