"""The model that is saved is the model that was trained, whichever way it is loaded."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from ai_therapist.finetuning.saved_model import config_sha256, save_tuned
from ai_therapist.finetuning.train import tune_on
from ai_therapist.models.local import load_videollama2
from ai_therapist.models.tuned_folder import TunedFolder
from ai_therapist.pipeline.stage import ignore_progress
from tests.finetuning.builders import QUICK, make_examples, make_features

IDS = torch.tensor([[1, 40, 50, 60, *[4] * 16, 70, 2]])


@pytest.fixture(scope="module")
def saved(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """The folder of a tuned model, and the logits it gave before it was saved."""
    folder = tmp_path_factory.mktemp("saved")
    examples = make_examples(sessions=1)
    tuned = tune_on(examples, make_features(examples), base, QUICK, folder, ignore_progress)
    with torch.no_grad():
        logits = tuned.model.eval()(input_ids=IDS, video_features=[torch.ones(16, 128)]).logits
    save_tuned(folder / "model", base, tuned.model, tuned.tokenizer, QUICK)
    return folder / "model", logits


def _logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(input_ids=IDS, video_features=[torch.ones(16, 128)]).logits
    return logits


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_trained_equals_merged_equals_base_with_adapter(saved: tuple[Path, torch.Tensor]) -> None:
    folder, trained = saved
    reloaded = PeftModel.from_pretrained(load_videollama2(folder / "base"), str(folder / "adapter"))
    assert torch.allclose(_logits(load_videollama2(folder / "merged")), trained, atol=1e-4)
    assert torch.allclose(_logits(reloaded), trained, atol=1e-4)
    assert not torch.allclose(_logits(load_videollama2(folder / "base")), trained, atol=1e-2)


def test_the_folder_says_what_it_is_and_names_no_path_of_this_machine(saved: tuple[Path, torch.Tensor]) -> None:
    folder, _ = saved
    about = TunedFolder.model_validate_json((folder / TunedFolder.FILE).read_bytes())
    assert about.config == QUICK.model_dump(mode="json")
    assert about.config_sha256 == config_sha256(QUICK)
    assert about.name == f"tiny-toy-videollama2@{about.config_sha256[:12]}"
    for path in folder.rglob("*.json"):
        assert str(folder.parent.parent) not in path.read_text("utf-8")
    assert json.loads((folder / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == "base"


def test_any_other_setting_is_another_revision() -> None:
    assert config_sha256(QUICK) != config_sha256(QUICK.model_copy(update={"epochs": 4}))
