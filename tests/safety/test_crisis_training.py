"""scripts/train_crisis_classifier.py: what it reads and refuses, and that the shipped weights are of its inputs."""

import importlib.util
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ai_therapist.safety.crisis_classifier import CALM, LABELS, load_classifier
from ai_therapist.safety.crisis_encoder import CARD_FILE, EncoderCard
from ai_therapist.safety.crisis_second import second_card
from ai_therapist.safety.rules import read_data

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "train_crisis_classifier.py"
ENCODER_SCRIPT = ROOT / "scripts" / "train_crisis_encoder.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_crisis_classifier", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_shipped_weights_were_made_of_the_present_script_and_examples(script: ModuleType) -> None:
    assert load_classifier().card.inputs_sha256 == script.inputs_digest(SCRIPT), "train again"


def test_the_shipped_change_of_the_encoder_was_made_of_the_present_scripts_and_examples(script: ModuleType) -> None:
    card = EncoderCard.model_validate_json(read_data(CARD_FILE))
    assert card.inputs_sha256 == script.inputs_digest(ENCODER_SCRIPT, SCRIPT), "train again"


@pytest.fixture
def second_script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("train_crisis_second")


def test_the_shipped_change_of_the_larger_encoder_was_made_of_the_present_scripts_and_examples(
    second_script: ModuleType,
) -> None:
    assert second_card().inputs_sha256 == second_script.present_inputs(), "train again"


def test_no_further_message_shares_eight_words_in_a_row_with_what_is_held_out(
    script: ModuleType, second_script: ModuleType
) -> None:
    more = script.written(second_script.MORE)
    assert {sample.label for sample in more} == set(LABELS)
    assert len(more) > 15_000
    script.refuse_held_out(more)


def test_a_buried_danger_stands_among_calm_sentences(
    second_script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_script, "BURIED", {"at_risk": 100, CALM: 140})
    samples = [second_script.Sample(f"danger{n}", "abuse", "written", "x") for n in range(9)]
    samples += [second_script.Sample(f"calm{n}", CALM, "written", "x") for n in range(9)]
    made = second_script.buried(samples, random.Random(1))
    assert [one.label != CALM for one in made] == [True] * 100 + [False] * 140
    for one in made:
        assert one.text.count("danger") == (one.label != CALM)
        assert 2 <= one.text.count(".") <= 7


def test_written_messages_cover_every_label_and_both_sides(script: ModuleType) -> None:
    samples = script.written()
    assert {sample.label for sample in samples} == set(LABELS)
    assert sum(sample.label == CALM for sample in samples) >= 800
    assert sum(sample.label != CALM for sample in samples) >= 1_200


def test_every_family_of_templates_is_filled_completely(script: ModuleType) -> None:
    samples = script.grammar(random.Random(1))
    assert not [sample.text for sample in samples if "{" in sample.text or "  " in sample.text]
    assert {sample.label for sample in samples} <= set(LABELS)
    assert len({sample.family for sample in samples}) >= 15


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        (lambda script: script.MEASURED[0], "calm/everyday.txt"),
        (lambda script: script.MEASURED[1], "calm/mixed_2.txt"),
        (lambda script: script.DEVELOPMENT, "calm/mixed.txt"),
    ],
)
def test_a_message_that_is_held_out_is_refused(
    script: ModuleType, folder: Callable[[ModuleType], Path], file: str
) -> None:
    line = next(line for line in script.lines_of(folder(script) / file) if len(line.split()) > 8)
    with pytest.raises(ValueError, match="words in a row with what is held out"):
        script.refuse_held_out([script.Sample(f"Well. {line}", CALM, "written", "x")])
    script.refuse_held_out([script.Sample("The kettle sang a song about trains.", CALM, "written", "x")])


def test_no_training_message_shares_eight_words_in_a_row_with_the_unseen_set(script: ModuleType) -> None:
    files = sorted((ROOT / "tests" / "safety" / "unseen").glob("*/*.txt"))
    held = {run for path in files for line in script.lines_of(path) for run in script._runs(line)}
    assert len(held) > 5_000
    assert [sample.family for sample in script.written() if not held.isdisjoint(script._runs(sample.text))] == []


def test_comments_that_may_speak_of_a_danger_are_left_out(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ["I want to kill myself\t1\tx", "Lovely weather, [NAME]\t2\tx", "He beats me every day\t3\tx"]
    (tmp_path / "original_train.tsv").write_text("\n".join(rows))
    monkeypatch.setattr(script, "COMMENTS", 1)
    assert [sample.text for sample in script.comments(tmp_path, random.Random(1))] == ["Lovely weather, john"]


def test_a_composed_message_holds_one_danger_or_none(script: ModuleType) -> None:
    single = [*script.written(), *script.talk()]
    dangers = {sample.text.rstrip(".!?") for sample in single if sample.label != CALM and len(sample.text.split()) > 6}
    made = script.composed(single, random.Random(1))
    assert {sample.label == CALM for sample in made} == {True, False}
    for sample in made[::50]:
        held = [text for text in dangers if text in sample.text]
        assert len(held) <= (sample.label != CALM)


def test_thresholds_let_the_allowed_share_of_calm_messages_through(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    weighing = importlib.import_module("weigh_crisis_gate")
    samples = [script.Sample(str(number), CALM, "written", "x") for number in range(1_000)]
    samples += [script.Sample(str(number), "abuse", "written", "x") for number in range(100)]
    log_odds = [number / 100 - 5 for number in range(1_000)] + [4.9] * 100
    found = weighing.thresholds_on(samples, np.array(log_odds))
    danger = [1 / (1 + math.exp(-each)) for each in log_odds[:1_000]]
    assert sum(each >= found.concern for each in danger) == pytest.approx(1_000 * weighing.ALARMS["concern"], abs=1)
    assert sum(each >= found.risk for each in danger) == pytest.approx(1_000 * weighing.ALARMS["risk"], abs=1)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_style_keeps_a_message_a_message(script: ModuleType, place: int) -> None:
    rng = random.Random(3)
    for text in ("I don't want to be here.", "Please help me, I'm scared!", "abcdef"):
        assert script.STYLES[place](text, rng).strip()
