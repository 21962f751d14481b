"""The run goes from a dataset to a model that can be opened, keeps what it can, and goes on after a failure."""

import importlib.util
import json
import multiprocessing
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.read import read_training_examples
from ai_therapist.dataset.run import build_dataset
from ai_therapist.errors import ConfigError, MissingExtra, MissingInput
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.run import finetune, stages, verify_model
from ai_therapist.models.base import open_base
from ai_therapist.models.local import open_tuned
from ai_therapist.models.tuned_folder import TunedFolder
from ai_therapist.pipeline.driver import Unobserved
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.pipeline.stage import Progress, ignore_progress
from ai_therapist.records import Split
from ai_therapist.records.message import Message
from ai_therapist.store.workspace import RunRecord, Status, Workspace
from ai_therapist.testing import RecordingSpec, make_recording
from tests.dataset.builders import make_clips, make_parts, save_annotated
from tests.finetuning.builders import QUICK
from tests.finetuning.train_in_processes import finetune_as_one_of_two


class _Recorder(Unobserved):
    def __init__(self) -> None:
        self.stages: dict[str, bool] = {}
        self.encoded = 0
        """Clips that were encoded, not taken from the store."""
        self.failures: list[str] = []

    def finished(self, stage: str, item: str, *, reused: bool) -> None:
        self.stages[stage] = reused
        self.encoded += stage == "finetuning.features" and not reused

    def failed(self, stage: str, item: str, reason: str, *, final: bool) -> None:
        self.failures.append(reason)


def _prepare(workspace: Workspace, extra: Path | None = None) -> None:
    """Four annotated sessions whose clips are two real recordings, and their dataset; `extra` is the clip of more."""
    sessions = []
    for seed in range(4 if extra is None else 8):
        path = workspace.root / f"clip-{seed}.mp4"
        if not path.exists() and seed < 4:
            make_recording(path, RecordingSpec(tone_hz=None if seed % 2 else 440.0))
        digest = workspace.store.put_file(extra if extra is not None and seed >= 4 else path)
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


def _clips(workspace: Workspace) -> set[str]:
    """The clips that training is shown."""
    examples = read_training_examples(workspace)
    return {one.clip_sha256 for one in examples if one.clip_sha256 is not None and one.split is not Split.TEST}


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
    assert any(
        note.startswith(f"loss {curve[0]['loss']:.3f}, ") and " tokens/s, " in note and note.endswith(" GiB")
        for note in notes
    )
    workspace.store.checkout(item.artefacts["model"], tmp_path / "model")
    about = TunedFolder.model_validate_json((tmp_path / "model" / TunedFolder.FILE).read_bytes())
    assert about.context_turns == training["context_turns"] == item.counts["context_turns"] > 0
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
    page = (workspace.root / "view" / "finetuning" / "curve.html").read_text("utf-8")
    assert f"{after['loss_last']:.2f}" in page
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


def test_a_new_clip_encodes_one_clip(workspace: Workspace, tmp_path: Path) -> None:
    _prepare(workspace)
    first, second, third = _Recorder(), _Recorder(), _Recorder()
    quick = QUICK.model_copy(update={"epochs": 1})
    _finetune(workspace, quick, first)
    before = _clips(workspace)
    assert first.encoded == len(before) > 0
    _prepare(workspace, make_recording(tmp_path / "new.mp4", RecordingSpec(tone_hz=880.0)))
    (item,) = _finetune(workspace, quick, second).items
    after = _clips(workspace)
    assert second.encoded == len(after - before) == 1
    assert item.counts["clips"] == len(after)
    other = quick.model_copy(update={"base": quick.base.model_copy(update={"seed": 4})})
    _finetune(workspace, other, third)
    assert third.encoded == len(after), "an encoder of other weights takes no feature of the old one"


def test_features_of_another_kind_are_other_features() -> None:
    """A stale key misses: of one clip and base, features differ in key by precision and by where they are taken."""
    inputs = {"base": "a" * 64, "clip": "b" * 64}
    changes: list[dict[str, object]] = [{}, {"precision": "bf16"}, {"train_connector": True}, {"learning_rate": 0.1}]
    keys = [stages(QUICK.model_copy(update=change))[1].key(inputs) for change in changes]
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]
    assert stages(QUICK)[1].key(inputs | {"clip": "c" * 64}) not in keys


def test_a_clip_that_cannot_be_encoded_is_set_aside_and_its_words_are_learned(
    workspace: Workspace, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no clip")
    _prepare(workspace, broken)
    run = _finetune(workspace, QUICK.model_copy(update={"epochs": 1}))
    model, clip = run.items
    assert (model.status, clip.status) == (Status.DONE, Status.QUARANTINED)
    assert clip.reason is not None
    account = _json(workspace, "training")
    assert 0 < account["with_clip"] < account["examples"]


def test_connectors_are_trained_on_what_the_towers_gave_and_saved_with_the_adapter(
    workspace: Workspace, tmp_path: Path
) -> None:
    _prepare(workspace)
    (item,) = _finetune(workspace, QUICK.model_copy(update={"train_connector": True, "epochs": 2})).items
    workspace.store.checkout(item.artefacts["model"], tmp_path / "model")
    learned = load_file(tmp_path / "model" / "adapter" / "adapter_model.safetensors")
    before = open_base(tmp_path / "model" / "base", towers=False).model.state_dict()
    merged = open_base(tmp_path / "model" / "merged", towers=False).model.state_dict()
    for part in ("connector", "audio_projector"):
        moved = {name.partition(f".{part}.")[2]: name for name in learned if f".{part}." in name}
        assert moved
        drift = {
            name: float((learned[kept] - before[f"model.{part}.{name}"]).abs().max()) for name, kept in moved.items()
        }
        assert max(drift.values()) > 1e-4, part
        assert all(torch.equal(learned[kept], merged[f"model.{part}.{name}"]) for name, kept in moved.items())
    assert all(check.holds for check in verify_model(workspace))


def test_of_two_processes_the_first_alone_encodes_and_saves(workspace: Workspace) -> None:
    """The whole run twice over gloo, as torchrun starts it; the second waits, trains along and keeps nothing."""
    _prepare(workspace)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quick = QUICK.model_copy(update={"epochs": 1})
    context = multiprocessing.get_context("fork")
    started = [
        context.Process(target=finetune_as_one_of_two, args=(rank, port, workspace.root, quick)) for rank in range(2)
    ]
    for process in reversed(started):
        process.start()
    for process in started:
        process.join(120)
        if process.is_alive():
            process.kill()
    assert [process.exitcode for process in started] == [0, 0]
    first, second = (json.loads((workspace.root.parent / f"rank-{rank}.json").read_bytes()) for rank in range(2))
    assert {"finetuning.base", "finetuning.features", "finetuning.train"} == set(first["ran"])
    assert (first["done"], first["read"]) == (1, 1)
    assert second == {"ran": [], "done": 0, "read": 0}
    assert _json(workspace, "training")["processes"] == 2
    assert all(check.holds for check in verify_model(workspace))


def test_a_tracker_that_is_not_installed_is_named_before_the_work(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _prepare(workspace)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else find(name))
    with pytest.raises(ConfigError, match=r"finetuning\.trackers: 'wandb' is not installed"):
        _finetune(workspace, QUICK.model_copy(update={"trackers": ("wandb",)}))


def test_what_is_missing_is_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingInput, match="ai-therapist dataset"):
        _finetune(workspace)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else find(name))
    with pytest.raises(MissingExtra, match=r"needs 'peft'.*\[train\]"):
        _finetune(workspace)


def test_a_dataset_without_training_examples_is_refused(workspace: Workspace) -> None:
    _prepare(workspace)
    run = workspace.load_run("dataset", "dataset")
    (item,) = run.items
    empty = item.model_copy(update={"artefacts": item.artefacts | {"examples": workspace.store.put_bytes(b"[]")}})
    workspace.save_run(run.model_copy(update={"items": (empty,)}))
    with pytest.raises(MissingInput, match=r"no example in split 'train' \(groups in it: 0\).*at least three groups"):
        _finetune(workspace)
