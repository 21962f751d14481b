"""plan, preview and verify-model: what a training will cost and learn, and whether the model is the trained one."""

import re
from pathlib import Path

import pytest

from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.run import build_dataset
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.store.workspace import Workspace
from tests.cli.conftest import Cli
from tests.dataset.builders import make_parts, save_annotated

TEXT = ("--set", "finetuning.base.media=none")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A workspace with a dataset, and no clip in its store."""
    workspace = Workspace(tmp_path / "study")
    save_annotated(workspace, [make_parts(f"s{seed}", seed=seed, turns=12) for seed in range(4)])
    build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store))
    return workspace.root


def test_a_plan_counts_before_anything_is_trained(run_cli: Cli, study: Path) -> None:
    done = run_cli("plan", "-w", study)
    assert done.code == 0, done.err
    assert re.search(r"tokens learned\W+\d", done.out)
    assert "TFLOP" in done.out
    assert "estimate" in done.out
    assert not (study / "runs" / "finetuning.json").exists()


def test_a_preset_of_seven_billion_weights_is_planned_without_them_and_without_the_hub(
    run_cli: Cli, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = {}
    for preset in ("text", "multimodal", "original"):
        done = run_cli("plan", "-w", study, "--set", f"finetuning.preset={preset}")
        assert done.code == 0, done.err
        assert "tokenizer could not be had" in done.out
        read = re.search(r"tokens read, all epochs\W+([\d,]+)", done.out)
        weights = re.search(r"memory, weights \(estimate\)\W+([\d.]+) GiB", done.out)
        assert read is not None
        assert weights is not None
        assert float(weights[1]) == pytest.approx(5.7e9 / 2**30, rel=0.02)
        found[preset] = int(read[1].replace(",", ""))
    assert found["text"] < found["multimodal"]
    assert found["text"] < 2 * found["original"]


def test_a_preview_marks_what_is_learned(run_cli: Cli, study: Path) -> None:
    done = run_cli("preview", "-w", study)
    assert done.code == 0, done.err
    learned = re.findall(r"⟦(.*?)⟧", done.out, flags=re.DOTALL)
    assert learned
    assert all(text.startswith(("Client emotion:", "Strategy:")) for text in learned)
    assert "[clip: 24 tokens]" in done.out
    assert "[clip:" not in run_cli("preview", "-w", study, *TEXT).out


def test_a_model_is_proved_from_the_command_line(run_cli: Cli, study: Path) -> None:
    assert "ai-therapist finetune" in run_cli("verify-model", "-w", study).err
    tuned = run_cli("finetune", "-w", study, *TEXT, "--set", "finetuning.epochs=1")
    assert tuned.code == 0, tuned.err
    done = run_cli("verify-model", "-w", study)
    assert done.code == 0, done.err
    assert [line.split()[:2] for line in done.out.splitlines()] == [
        ["ok", "reloaded"],
        ["ok", "merged"],
        ["ok", "served"],
    ]
