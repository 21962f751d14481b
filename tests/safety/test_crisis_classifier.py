"""The learned half of the crisis gate: its file is the one its card names, and it hears a danger in a long text."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.errors import StoreError
from ai_therapist.safety.assessment import CLEAR, About, Category
from ai_therapist.safety.crisis_classifier import CARD_FILE, LABELS, WEIGHTS_FILE, Reading, load_classifier
from ai_therapist.safety.crisis_features import FEATURES_VERSION, NORMS, clause_features, values_of, windows

CALM_TEXT = (
    "We went to the lake on Sunday. The children built a boat. My sister brought a cake. In the evening we sang. "
    "On Monday I was back at work. The meeting was long. I bought new shoes."
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package's weights and card that may be damaged; what is loaded is forgotten before and after."""
    source = resources.files("ai_therapist.safety")
    for name in (WEIGHTS_FILE, CARD_FILE):
        (tmp_path / name).write_bytes(source.joinpath(name).read_bytes())
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    load_classifier.cache_clear()
    yield tmp_path
    load_classifier.cache_clear()


def test_weights_that_are_not_those_of_the_card_are_refused(package: Path) -> None:
    data = bytearray((package / WEIGHTS_FILE).read_bytes())
    data[-1] ^= 1
    (package / WEIGHTS_FILE).write_bytes(bytes(data))
    with pytest.raises(StoreError, match="install the package again"):
        load_classifier()


def test_weights_of_other_features_are_refused(package: Path) -> None:
    card = (package / CARD_FILE).read_text("utf-8")
    (package / CARD_FILE).write_text(card.replace(f'"features": "{FEATURES_VERSION}"', '"features": "0"'), "utf-8")
    with pytest.raises(StoreError, match="belongs to features '0'"):
        load_classifier()


def test_the_weights_ship_in_less_than_five_megabytes() -> None:
    assert len(resources.files("ai_therapist.safety").joinpath(WEIGHTS_FILE).read_bytes()) <= 5_000_000


def test_a_danger_buried_in_a_long_calm_text_is_heard() -> None:
    classifier = load_classifier()
    assert classifier.read(CALM_TEXT).judged(classifier.card.thresholds) == CLEAR
    buried = classifier.read(f"{CALM_TEXT} I want to die and I have the pills here. {CALM_TEXT}")
    assert buried.judged(classifier.card.thresholds).category is Category.SUICIDE
    assert buried.danger > 2 * classifier.read(f"{CALM_TEXT} {CALM_TEXT}").danger


def test_it_tells_the_writer_from_somebody_else() -> None:
    classifier = load_classifier()
    found = classifier.read("My best friend told me that she wants to kill herself and I don't know what to do.")
    assert found.judged(classifier.card.thresholds).about is About.OTHER


def test_a_message_without_words_is_surely_calm() -> None:
    reading = load_classifier().read("…?!")
    assert reading.danger < 1e-9
    assert sum(reading.kinds.values()) == pytest.approx(1.0)


@given(st.floats(-1e6, 1e6), st.lists(st.floats(-50, 50), min_size=7, max_size=7))
def test_any_scores_make_probabilities(log_odds: float, scores: list[float]) -> None:
    reading = Reading.of(log_odds, scores, peak=log_odds, mentions_rules=False)
    assert 0.0 <= reading.danger <= 1.0
    assert sum(reading.kinds.values()) == pytest.approx(1.0)
    assert reading.kinds[reading.label] == reading.kinds[LABELS[1 + scores.index(max(scores))]]


def test_windows_are_one_to_three_neighbouring_clauses() -> None:
    assert list(windows(0)) == []
    assert list(windows(2)) == [(0, 1), (1, 2), (0, 2)]
    assert len(list(windows(10))) == 10 + 9 + 8


def test_features_do_not_depend_on_case_or_disguise_and_are_finite() -> None:
    plain = values_of(clause_features("I want to kill myself"))
    assert plain == values_of(clause_features("i WANT to k1ll myself"))
    assert all(np.isfinite(value) and value > 0 for value in plain.values())
    assert {*NORMS, "cut"} == set(clause_features("yes")[0]._fields)


def test_numpy_is_loaded_only_when_a_message_is_judged() -> None:
    code = "import sys, ai_therapist.safety.crisis; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
