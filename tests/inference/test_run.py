"""Opening a conversation with the model of a workspace, and leaving nothing behind."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from ai_therapist.errors import MissingExtra, MissingInput
from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.run import open_chat, open_speaker
from ai_therapist.models.scripted import ScriptedGenerator
from ai_therapist.models.tuned_folder import TunedFolder
from ai_therapist.records.message import Message
from ai_therapist.store.codec import encode
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from tests.inference.scripts import outcome_of


def save_finetuning(
    workspace: Workspace, model: Path | None, preset: str = "tiny", counts: dict[str, int] | None = None
) -> None:
    artefacts = {} if model is None else {"model": workspace.store.put_tree(model)}
    item = ItemRecord(
        item="model",
        name="model",
        status=Status.DONE,
        reason=None,
        artefacts=artefacts,
        actions=(),
        counts=counts or {},
    )
    config: dict[str, object] = {"preset": preset, "targets": "apart" if counts else "together"}
    workspace.save_run(RunRecord(run="finetuning", config=config, read=1, items=(item,)))


class Talker(ScriptedGenerator):
    """Writes from a script and weighs all labels alike, as one model that does both."""

    def score(self, messages: Sequence[Message], labels: Sequence[str], *, prefix: str = "") -> dict[str, float]:
        """The same weight for every label."""
        return dict.fromkeys(labels, 1 / len(labels))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders from which a scripted model was opened in place of the tuned one."""
    folders: list[Path] = []

    def open_scripted(folder: Path) -> Talker:
        assert (folder / "weights").read_text() == "w"
        folders.append(folder)
        return Talker(["How was it?"], repeat=True)

    # The real module would load torch, which no test here needs.
    stand_in = ModuleType("ai_therapist.models.local")
    vars(stand_in)["open_tuned"] = open_scripted
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "torch" else find(name))
    return folders


def test_a_workspace_without_a_model_names_the_command_that_makes_one(workspace: Workspace) -> None:
    with pytest.raises(MissingInput, match="ai-therapist finetune"), open_chat(workspace, InferenceConfig()):
        pass


def test_a_run_that_made_no_model_says_so(workspace: Workspace) -> None:
    save_finetuning(workspace, None)
    with pytest.raises(MissingInput, match="made no model"), open_chat(workspace, InferenceConfig()):
        pass


def test_without_torch_the_extra_is_named(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    save_finetuning(workspace, tmp_path / "model")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"-e '\.\[train\]'"), open_chat(workspace, InferenceConfig()):
        pass


def test_a_chat_leaves_nothing_on_disk(workspace: Workspace, tmp_path: Path, opened: list[Path]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("w")
    save_finetuning(workspace, folder)
    before = {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*") if path.is_file()}
    with open_chat(workspace, InferenceConfig()) as chat:
        assert "toy" in chat.opening()[0].model_dump_json()
        assert opened[0].is_dir()
        assert outcome_of(list(chat.send("I walked to work today."))) == "complete"
    assert not opened[0].exists()
    assert {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*") if path.is_file()} == before


def test_only_the_tiny_preset_is_called_a_toy(workspace: Workspace, tmp_path: Path, opened: list[Path]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("w")
    save_finetuning(workspace, folder, preset="large")
    with open_chat(workspace, InferenceConfig()) as chat:
        assert "toy" not in chat.opening()[0].model_dump_json()


def test_what_a_model_learned_with_is_known_from_its_run_and_from_its_folder(
    workspace: Workspace, tmp_path: Path, opened: list[Path]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("w")
    save_finetuning(workspace, folder, counts={"context_turns": 12})
    config = InferenceConfig()
    with open_speaker(workspace, config) as speaker:
        assert (speaker.is_toy, speaker.context_turns, speaker.labels_lead) == (True, 12, False)
    with open_speaker(f"tuned:{folder}", config) as speaker:
        assert (speaker.is_toy, speaker.context_turns, speaker.labels_lead) == (False, None, True)
    about = TunedFolder(name="one", config={"preset": "text"}, config_sha256="a" * 64, context_turns=7)
    for named, lead in ((about, True), (about.model_copy(update={"config": {"targets": "apart"}}), False)):
        (folder / TunedFolder.FILE).write_bytes(encode(named))
        with open_speaker(f"tuned:{folder}", config) as speaker:
            assert (speaker.is_toy, speaker.context_turns, speaker.labels_lead) == (False, 7, lead)
