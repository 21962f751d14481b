"""The model that is saved is the model that was trained, whichever way it is loaded."""

import json
from pathlib import Path

import pytest
import torch

from ai_therapist.finetuning.saved_model import config_sha256, save_tuned
from ai_therapist.finetuning.train import tune_on
from ai_therapist.models.base import open_base, put_adapter
from ai_therapist.models.local import open_tuned
from ai_therapist.models.tuned_folder import TunedFolder
from ai_therapist.records.message import Message
from tests.finetuning.builders import QUICK, ignore_step, make_examples, make_features, save_base

IDS = torch.tensor([[1, 40, 50, 60, *[4] * 16, 70, 2]])


@pytest.fixture(scope="module")
def saved(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """The folder of a tuned model, and the logits it gave before it was saved."""
    folder = tmp_path_factory.mktemp("saved")
    examples = make_examples(sessions=1)
    tuned = tune_on(examples, make_features(examples), base, QUICK, folder, ignore_step)
    # The attention of training needs trees.
    tuned.loss.causal.model.language_model.config._attn_implementation = "sdpa"
    with torch.no_grad():
        logits = tuned.model.eval()(input_ids=IDS, video_features=[torch.ones(16, 128)], use_cache=False).logits
    save_tuned(folder / "model", base, tuned.model, tuned.processor, QUICK)
    return folder / "model", logits


def _logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(input_ids=IDS, video_features=[torch.ones(16, 128)]).logits
    return logits


def test_trained_equals_merged_equals_base_with_adapter(saved: tuple[Path, torch.Tensor]) -> None:
    folder, trained = saved
    reloaded = put_adapter(open_base(folder / "base").model, folder / "adapter")
    assert torch.allclose(_logits(open_base(folder / "merged").model), trained, atol=1e-4)
    assert torch.allclose(_logits(reloaded), trained, atol=1e-4)
    assert not torch.allclose(_logits(open_base(folder / "base").model), trained, atol=1e-2)


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
    assert config_sha256(QUICK) != config_sha256(QUICK.model_copy(update={"epochs": 5}))


@pytest.mark.parametrize("media", ["random", "none"])
def test_an_adapter_without_a_merged_model_answers_as_the_merged_one(tmp_path: Path, media: str) -> None:
    config = type(QUICK).model_validate({**QUICK.model_dump(), "base": {**QUICK.base.model_dump(), "media": media}})
    examples = make_examples(sessions=1)
    features = make_features(examples) if media == "random" else {}
    base = save_base(tmp_path / "base", config.base)
    tuned = tune_on(examples, features, base, config, tmp_path, ignore_step)
    asked = [Message.of_text("user", "hello")]
    weights = []
    for merge in (True, False):
        folder = tmp_path / str(merge)
        chosen = config.model_copy(update={"merge": merge})
        save_tuned(folder, base, tuned.model, tuned.processor, chosen)
        assert (folder / "merged").is_dir() is merge
        weights.append(list(open_tuned(folder).score(asked, ["joy", "sadness"]).values()))
    assert weights[0] == pytest.approx(weights[1], abs=1e-5)
    untuned = open_tuned(tmp_path / "False", untuned=True).score(asked, ["joy", "sadness"])
    assert list(untuned.values()) != pytest.approx(weights[0], abs=1e-4)
