"""A saved model proves to be the trained one, and one that was tampered with does not."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from ai_therapist.errors import MissingInput
from ai_therapist.finetuning.saved_model import save_tuned
from ai_therapist.finetuning.train import tune_on
from ai_therapist.finetuning.verify import PROOF, Check, probe, save_proof, verify_tuned
from tests.finetuning.builders import QUICK, ignore_step, make_examples, make_features


@pytest.fixture(scope="module")
def folder(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("proved")
    examples = make_examples(sessions=1)
    tuned = tune_on(examples, make_features(examples), base, QUICK, target, ignore_step)
    save_tuned(target / "model", base, tuned.model, tuned.processor, QUICK)
    save_proof(tuned.loss, target / "model")
    return target / "model"


def test_trained_equals_reloaded_equals_merged_equals_served(folder: Path) -> None:
    checks = verify_tuned(folder)
    assert [check.name for check in checks] == ["reloaded", "merged", "served"]
    assert all(check.holds for check in checks)
    assert max(check.difference for check in checks) < 1e-3


@pytest.mark.parametrize(("part", "fails"), [("adapter/adapter_model", {"reloaded"}), ("merged/model", {"merged"})])
def test_weights_that_changed_are_found(folder: Path, tmp_path: Path, part: str, fails: set[str]) -> None:
    spoiled = tmp_path / "model"
    shutil.copytree(folder, spoiled)
    path = spoiled / f"{part}.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if "up_proj" in name)
    save_file(weights | {name: weights[name] + 0.1}, path, {"format": "pt"})
    found = {check.name for check in verify_tuned(spoiled) if not check.holds}
    assert found == fails


def test_a_model_without_a_proof_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / PROOF).unlink()
    with pytest.raises(MissingInput, match="ai-therapist finetune"):
        verify_tuned(tmp_path / "model")


def test_a_difference_that_is_expected_is_told_and_not_judged() -> None:
    assert Check("merged", 3.0, None).holds
    assert not Check("merged", 3.0, 1e-4).holds
    assert min(probe(1024).trunk) >= 16
