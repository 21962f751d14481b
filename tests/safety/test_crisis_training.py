"""scripts/train_crisis_classifier.py: what it reads and refuses, and that the shipped weights are of its inputs."""

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ai_therapist.safety.crisis_classifier import CALM, LABELS, load_classifier

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "train_crisis_classifier.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_crisis_classifier", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_shipped_weights_were_made_of_the_present_script_and_examples(script: ModuleType) -> None:
    assert load_classifier().card.inputs_sha256 == script.inputs_digest(), "train again"


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


def test_a_message_of_the_frozen_set_is_refused(script: ModuleType) -> None:
    line = (script.FROZEN / "calm" / "everyday.txt").read_text("utf-8").splitlines()[1]
    with pytest.raises(ValueError, match="words with the frozen set"):
        script.refuse_frozen([script.Sample(f"Well. {line}", CALM, "written", "x-0")])
    script.refuse_frozen([script.Sample("The kettle sang a song about trains.", CALM, "written", "x-0")])


def test_comments_that_may_speak_of_a_danger_are_left_out(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ["I want to kill myself\t1\tx", "Lovely weather, [NAME]\t2\tx", "He beats me every day\t3\tx"]
    (tmp_path / "original_train.tsv").write_text("\n".join(rows))
    monkeypatch.setattr(script, "COMMENTS", 1)
    assert [sample.text for sample in script.comments(tmp_path, random.Random(1))] == ["Lovely weather, john"]


def test_no_sentence_of_a_composed_message_is_on_both_sides_of_a_check(script: ModuleType) -> None:
    single = [sample for sample in script.written() if len(sample.text.split()) < 40] + script.talk()
    made = script.composed(single, random.Random(1))
    fold = {sample.text.rstrip("."): script.fold_of(sample) for sample in single if len(sample.text.split()) > 6}
    for sample in made[::50]:
        for text, own in fold.items():
            assert text not in sample.text or own == script.fold_of(sample)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_style_keeps_a_message_a_message(script: ModuleType, place: int) -> None:
    rng = random.Random(3)
    for text in ("I don't want to be here.", "Please help me, I'm scared!", "abcdef"):
        assert script.STYLES[place](text, rng).strip()
