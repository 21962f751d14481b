"""The run goes from a dataset to a model that can be opened, keeps what it can, and goes on after a failure."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.run import build_dataset
from ai_therapist.errors import ConfigError, MissingExtra, MissingInput
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.run import finetune, verify_model
from ai_therapist.models.local import open_tuned
from ai_therapist.models.tuned_folder import TunedFolder
from ai_therapist.pipeline.driver import Unobserved
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.pipeline.stage import Progress, ignore_progress
from ai_therapist.records.message import Message
from ai_therapist.store.workspace import RunRecord, Status, Workspace
from ai_therapist.testing import RecordingSpec, make_recording
from tests.dataset.builders import make_clips, make_parts, save_annotated
from tests.finetuning.builders import QUICK


class _Recorder(Unobserved):
    def __init__(self) -> None:
        self.stages: dict[str, bool] = {}
        self.failures: list[str] = []

    def finished(self, stage: str, item: str, *, reused: bool) -> None:
        self.stages[stage] = reused

    def failed(self, stage: str, item: str, reason: str, *, final: bool) -> None:
        self.failures.append(reason)


def _prepare(workspace: Workspace) -> None:
    """Four annotated sessions whose clips are two real recordings, and their dataset."""
    sessions = []
    for seed in range(4):
        path = workspace.root / f"clip-{seed}.mp4"
        digest = workspace.store.put_file(make_recording(path, RecordingSpec(tone_hz=None if seed % 2 else 440.0)))
        parts = make_parts(f"s{seed}", seed=seed)
        sessions.append(replace(parts, clips=make_clips(parts.transcript, digest)))
    save_annotated(workspace, sessions)
    build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store))


def _finetune(
    workspace: Workspace,
    config: FinetuningConfig = QUICK,
    observer: Unobserved | None = None,
    progress: Progress = ignore_progress,
) -> RunRecord:
    return finetune(workspace, config, InlineExecutor(workspace.store, progress), observer)


def _json(workspace: Workspace, name: str) -> Any:
    (item,) = workspace.load_run("finetuning", "finetune").done
    return json.loads(workspace.store.read(item.artefacts[name]))


def test_a_dataset_becomes_a_model_that_answers(workspace: Workspace, tmp_path: Path) -> None:
    _prepare(workspace)
    notes: list[str] = []
    (item,) = _finetune(workspace, progress=lambda done, total, note: notes.append(note)).items
    assert (item.item, item.status, item.reason) == ("model", Status.DONE, None)
    training, curve = _json(workspace, "training"), _json(workspace, "curve")
    assert training["loss_last"] < 0.6 * training["loss_first"]
    assert training["steps"] == len(curve)
    assert set(curve[0]) == {"step", "loss", "learning_rate", "gradient_norm", "tokens", "learned"}
    assert "clips seen and heard" in notes
    assert any(
        note.startswith(f"loss {curve[0]['loss']:.3f}, ") and " tokens/s, " in note and note.endswith(" GiB")
        for note in notes
    )
    workspace.store.checkout(item.artefacts["model"], tmp_path / "model")
    model = open_tuned(tmp_path / "model")
    assert "tiny-toy" in model.name
    assert "".join(model.generate([Message.of_text("user", "hello")], max_tokens=5))


def test_training_goes_on_from_an_earlier_model_and_remembers_it(workspace: Workspace, tmp_path: Path) -> None:
    _prepare(workspace)
    (first,) = _finetune(workspace).items
    workspace.store.checkout(first.artefacts["model"], tmp_path / "model")
    assert all(check.holds for check in verify_model(workspace))
    name = TunedFolder.model_validate_json((tmp_path / "model" / TunedFolder.FILE).read_bytes()).name
    went_on = finetune(workspace, QUICK, InlineExecutor(workspace.store), start=str(tmp_path / "model"))
    (second,) = went_on.done
    after, before = (json.loads(workspace.store.read(item.artefacts["training"])) for item in (second, first))
    assert after["loss_first"] == pytest.approx(before["loss_last"], rel=1e-4)
    workspace.store.checkout(second.artefacts["model"], tmp_path / "again")
    about = TunedFolder.model_validate_json((tmp_path / "again" / TunedFolder.FILE).read_bytes())
    assert about.lineage == (name,)
    lines = (workspace.root / "view" / "finetuning" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, after["steps"] + 1))
    with pytest.raises(MissingInput, match="no tuned model with an adapter"):
        finetune(workspace, QUICK, InlineExecutor(workspace.store), start=str(tmp_path))


def test_what_did_not_change_is_not_done_again(workspace: Workspace) -> None:
    _prepare(workspace)
    _finetune(workspace)
    again, other = _Recorder(), _Recorder()
    _finetune(workspace, observer=again)
    assert again.stages == {"finetuning.base": True, "finetuning.features": True, "finetuning.train": True}
    _finetune(workspace, QUICK.model_copy(update={"learning_rate": 1e-3}), other)
    assert other.stages == {"finetuning.base": True, "finetuning.features": True, "finetuning.train": False}


def test_a_failed_attempt_is_resumed_from_its_checkpoint(workspace: Workspace) -> None:
    _prepare(workspace)
    taken: list[int] = []

    def fail_once(done: int, total: int, note: str) -> None:
        if note.startswith("loss"):
            taken.append(done)
            if taken == [1, 2, 3]:
                raise OSError("no space left")

    recorder = _Recorder()
    (item,) = _finetune(workspace, observer=recorder, progress=fail_once).items
    assert item.status is Status.DONE
    assert taken[:4] == [1, 2, 3, 3]
    assert taken[3:] == list(range(3, taken[-1] + 1))
    (reason,) = recorder.failures
    assert reason.startswith("finetuning.train failed with OSError")
    assert not list((workspace.store.root / "work").iterdir())


def test_a_connector_that_cannot_be_trained_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"finetuning\.train_connector: .*cannot be trained yet"):
        _finetune(workspace, QUICK.model_copy(update={"train_connector": True}))


def test_what_is_missing_is_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingInput, match="ai-therapist dataset"):
        _finetune(workspace)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else find(name))
    with pytest.raises(MissingExtra, match=r"needs 'peft'.*ai-therapist\[train\]"):
        _finetune(workspace)


def test_a_dataset_without_training_examples_is_refused(workspace: Workspace) -> None:
    _prepare(workspace)
    run = workspace.load_run("dataset", "dataset")
    (item,) = run.items
    empty = item.model_copy(update={"artefacts": item.artefacts | {"examples": workspace.store.put_bytes(b"[]")}})
    workspace.save_run(run.model_copy(update={"items": (empty,)}))
    with pytest.raises(MissingInput, match="no example in split 'train'"):
        _finetune(workspace)
