"""The commands that let something out: export, and publish with its questions."""

import io
import sys
from pathlib import Path

import pytest

from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.run import build_dataset
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.store.workspace import Workspace
from tests.cli.conftest import Cli
from tests.dataset.builders import make_parts, save_with_clips
from tests.loopback_hub import CLIENT_WARNING, TOKEN, LoopbackHub, hub

__all__ = ["hub"]

pytestmark = pytest.mark.filterwarnings(CLIENT_WARNING)


@pytest.fixture
def study(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "study")
    save_with_clips(workspace, [make_parts(f"s{seed}", seed=seed) for seed in (1, 2, 3)], tmp_path)
    build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store))
    return workspace


def test_export_says_what_it_made(run_cli: Cli, study: Workspace) -> None:
    shown = run_cli("export", "sharegpt", "-w", "study")
    assert shown.code == 0
    assert "exports/sharegpt-predict: " in shown.out
    assert "0 clips" in shown.out
    assert (study.exports / "sharegpt-predict" / "dataset_info.json").exists()
    assert "1 clips" in run_cli("export", "videofolder", "--media", "-w", "study").out


def test_export_makes_a_task_of_the_held_out_examples(run_cli: Cli, study: Workspace) -> None:
    shown = run_cli("export", "inspect", "-w", "study")
    assert shown.code == 0, shown.err
    assert (study.exports / "inspect" / "task.py").is_file()
    assert run_cli("export", "lmms-eval", "--task", "label", "-w", "study").code == 2


def test_a_layout_of_clips_is_asked_for_in_words(run_cli: Cli, study: Workspace) -> None:
    shown = run_cli("export", "webdataset", "-w", "study")
    assert (shown.code, "--media" in shown.err) == (2, True)
    assert not study.exports.exists()


def test_publish_sends_to_the_repository_of_the_environment(
    run_cli: Cli, study: Workspace, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_REPO_NAME", "lab/talks")
    shown = run_cli("publish", "dataset", "-w", "study")
    assert shown.code == 0
    assert "0 removed, 0 as they were" in shown.out
    assert TOKEN not in shown.out + shown.err
    assert hub.repository("lab/talks").private
    assert "0 files sent" in run_cli("publish", "dataset", "-w", "study").out
    gone = run_cli("forget", "s1", "-w", "study", "--yes")
    assert f"dataset lab/talks at {hub.url}" in gone.out
    assert not study.exports.exists()


def test_a_dry_run_sends_nothing(run_cli: Cli, study: Workspace, hub: LoopbackHub) -> None:
    shown = run_cli("publish", "dataset", "-w", "study", "--dry-run")
    assert (shown.code, "nothing was sent" in shown.out) == (0, True)
    assert not hub.requests


def test_going_public_asks_for_the_name(
    run_cli: Cli, study: Workspace, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("publish", "dataset", "-w", "study", "--repository", "lab/talks", "--public")
    monkeypatch.setattr(sys, "stdin", io.StringIO("lab/talk\n"))
    shown = run_cli(*command)
    assert (shown.code, "typed again in full" in shown.err) == (2, True)
    assert not hub.requests
    monkeypatch.setattr(sys, "stdin", io.StringIO("lab/talks\n"))
    assert run_cli(*command).code == 0
    assert hub.repository("lab/talks").gated == "manual"


def test_a_repository_must_be_named(run_cli: Cli, study: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA_REPO_NAME", raising=False)
    shown = run_cli("publish", "dataset", "-w", "study")
    assert (shown.code, "DATA_REPO_NAME" in shown.err) == (2, True)
