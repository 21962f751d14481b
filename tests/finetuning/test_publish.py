"""A model leaves only with its card, evaluated, with a safety report, permitted and private; what arrives opens."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.run import build_dataset
from ai_therapist.errors import MissingInput, NotPermitted
from ai_therapist.finetuning.config import BaseConfig, FinetuningConfig
from ai_therapist.finetuning.publish import publish_model, stage_model
from ai_therapist.finetuning.run import finetune
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import Use
from ai_therapist.store.uploads import load_uploads
from ai_therapist.store.workspace import Workspace
from tests.dataset.builders import make_parts, save_annotated, with_uses
from tests.finetuning.builders import QUICK, TEXT_ONLY, make_chat, make_examples
from tests.loopback_hub import CLIENT_WARNING, LoopbackHub, hub

__all__ = ["hub"]

pytestmark = pytest.mark.filterwarnings(CLIENT_WARNING)

SCORED = {"kind": "scored", "value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
TASK = {"accuracy": SCORED, "macro_f1": {"kind": "unscored", "reason": "too few"}, "n": 9}
REPORT: dict[str, Any] = {"watermark": None, "evaluation": {"tuned": {"client_emotion": TASK}}}
SAFETY = {"suite": "xstest", "protocol": "alarms on safe prompts", "rates": {"safe": SCORED}}


def prepare(workspace: Workspace, folder: Path, base: BaseConfig | None = None) -> Path:
    """A tuned and evaluated model in a workspace; returns its safety report."""
    language = folder / "language"
    torch.manual_seed(1)
    Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=576,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
        )
    ).save_pretrained(language)
    make_chat(make_examples(sessions=1)).tokenizer.save_pretrained(language)
    save_annotated(workspace, [make_parts(f"s{seed}", seed=seed) for seed in range(4)])
    build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store))
    chosen = base or BaseConfig(language=str(language), media="none")
    fields = {**QUICK.model_dump(), "base": chosen.model_dump(), "epochs": 1, "merge": False}
    config = FinetuningConfig.model_validate({**fields, "train_embeddings": chosen.is_random})
    finetune(workspace, config, InlineExecutor(workspace.store))
    workspace.report_json.write_text(json.dumps(REPORT))
    (folder / "safety.json").write_text(json.dumps(SAFETY))
    return folder / "safety.json"


def test_a_merged_model_arrives_with_its_card_and_opens_in_transformers(
    hub: LoopbackHub, workspace: Workspace, tmp_path: Path
) -> None:
    safety = prepare(workspace, tmp_path)
    publish_model(workspace, "lab/model", safety, merged=True)
    there = hub.repository("lab/model", "model")
    assert there.private
    card = there.files["README.md"].decode()
    for heading in ("Intended use", "Prohibited use", "Lineage", "Evaluation", "Safety report"):
        assert f"## {heading}" in card
    assert "| client_emotion | 0.500 [0.400, 0.600] | not scored (too few) | 9 |" in card
    assert "files:" in card
    assert {"evaluation.json", "safety.json", "finetuning.json"} < set(there.files)
    assert not [name for name, data in there.files.items() if str(tmp_path).encode() in data]
    for name, data in there.files.items():
        (tmp_path / "arrived" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "arrived" / name).write_bytes(data)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "arrived" / "merged")
    assert opened.dtype == torch.bfloat16
    (upload,) = load_uploads(workspace.root).uploads
    assert len(upload.sessions) == 4


def test_a_model_without_its_papers_stays_here(workspace: Workspace, tmp_path: Path) -> None:
    safety = prepare(workspace, tmp_path)
    with pytest.raises(MissingInput, match="--safety-report"):
        stage_model(workspace, None, merged=True)
    with pytest.raises(NotPermitted, match="--merged"):
        stage_model(workspace, safety)
    workspace.report_json.write_text(json.dumps({**REPORT, "watermark": "LEAK"}))
    with pytest.raises(NotPermitted, match="marked"):
        stage_model(workspace, safety, merged=True)
    workspace.report_json.write_text(json.dumps({**REPORT, "evaluation": {}}))
    with pytest.raises(MissingInput, match="no figures of the tuned model"):
        stage_model(workspace, safety, merged=True)
    workspace.report_json.unlink()
    with pytest.raises(MissingInput, match="ai-therapist evaluate"):
        stage_model(workspace, safety, merged=True)
    workspace.report_json.write_text(json.dumps(REPORT))
    save_annotated(workspace, [with_uses(make_parts(f"s{seed}", seed=seed), Use.TRAIN) for seed in range(4)])
    with pytest.raises(NotPermitted, match="do not permit 'publish'"):
        stage_model(workspace, safety, merged=True)


def test_a_model_that_learned_from_more_than_the_dataset_of_today_stays_here(
    workspace: Workspace, tmp_path: Path
) -> None:
    safety = prepare(workspace, tmp_path)
    parts = [make_parts(f"s{seed}", seed=seed) for seed in range(4)]
    save_annotated(workspace, [*parts[:3], with_uses(parts[3], Use.TRAIN)])
    build_dataset(workspace, DatasetConfig(permitted_for="publish"), InlineExecutor(workspace.store))
    with pytest.raises(NotPermitted, match="tuned on another dataset"):
        stage_model(workspace, safety, merged=True)


def test_a_toy_stays_here(workspace: Workspace, tmp_path: Path) -> None:
    safety = prepare(workspace, tmp_path, TEXT_ONLY)
    with pytest.raises(NotPermitted, match="vocabulary was learned from what people said"):
        stage_model(workspace, safety, merged=True)
