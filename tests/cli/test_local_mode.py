"""Commands whose every part runs here are kept here; naming one part elsewhere, or asking for it, lets them out."""

import os
from pathlib import Path

import click
import pytest

from ai_therapist.cli.local_mode import WITHOUT_PARTS, is_here, keep_local
from ai_therapist.cli.settings import resolve
from ai_therapist.errors import MissingInput
from ai_therapist.pipeline import local_only
from ai_therapist.store.workspace import Workspace
from tests.cli.conftest import Cli


def kept(command: str, *assignments: str, **arguments: object) -> bool:
    local_only.end()
    keep_local(resolve(None, assignments).settings, command, arguments)
    on = local_only.MARK in os.environ
    local_only.end()
    return on


@pytest.mark.parametrize(
    "command", ["demo", "extract", "annotate", "dataset", "finetune", "evaluate", "chat", "serve", "studio"]
)
def test_the_defaults_keep_every_command_here(command: str) -> None:
    assert kept(command)


@pytest.mark.parametrize(
    "assignment",
    [
        "extraction.transcriber=assemblyai",
        "extraction.roles.model=gemini",
        "annotation.annotator=gemini",
        "annotation.annotator=openai:gpt",
        "annotation.panel=['embedded','gemini']",
        "evaluation.models=['causal:Some/Hub-Model']",
        "inference.model=nonsense:x",
        "pipeline.executor=ray",
        "pipeline.network=open",
        "pipeline.store=s3://bucket/study",
    ],
)
def test_a_part_elsewhere_lets_a_command_out(assignment: str) -> None:
    more = ("annotation.annotator=scripted:x",) if "panel" in assignment else ()
    assert not kept("annotate", *more, assignment)


@pytest.mark.parametrize("source", ["gs://bucket/x", "s3://bucket/x", "youtube:PLx", "https://youtube.com/x"])
def test_a_source_elsewhere_lets_extract_out(source: str) -> None:
    assert not kept("extract", source=source)
    assert kept("extract", source="recordings")


def test_a_start_of_a_fine_tuning_that_is_no_folder_lets_it_out(tmp_path: Path) -> None:
    assert not kept("finetune", start="someone/tuned")
    assert not kept("finetune", start="x" * 300)
    assert kept("finetune", start=str(tmp_path))
    assert kept("finetune", start=None)
    assert kept("finetune", "pipeline.network=closed", start="someone/tuned")


def test_commands_that_send_are_let_out_and_closed_closes_them_too() -> None:
    assert not kept("publish")
    assert not kept("sync")
    assert kept("publish", "pipeline.network=closed")
    assert not kept("chat", model="gemini")


def test_models_on_this_machine_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in ("embedded", "scripted:a.json", "tuned:folder", f"causal:{tmp_path}", f"videollama2:{tmp_path}"):
        assert is_here(spec)
    for spec in ("causal:Qwen/Qwen2.5-7B", "gemini", "openai:m", "unknown", f"causal:{'x' * 300}"):
        assert not is_here(spec)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    assert is_here("openai:m")


def test_a_refused_connection_is_explained_and_the_guard_ends_with_the_command(
    run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ai_therapist.cli import status
    from ai_therapist.errors import MissingInput

    def reach_out(workspace: Path) -> None:
        import socket

        try:
            socket.getaddrinfo("hub.invalid", 443)
        except OSError:
            raise MissingInput("the model cannot be had") from None

    monkeypatch.setattr(status, "command", click.Command("status", params=[], callback=lambda: reach_out(tmp_path)))
    shown = run_cli("status")
    assert shown.code == 2
    assert "no connection to hub.invalid" in shown.err
    assert "pipeline.network=open" in shown.err
    assert local_only.MARK not in os.environ
    assert "status" in WITHOUT_PARTS


def test_a_workspace_whose_store_is_elsewhere_lets_its_commands_out(
    tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[bool] = []

    def look(root: Path) -> None:
        marks.append(local_only.MARK in os.environ)
        raise MissingInput("only looking")

    monkeypatch.setattr(Workspace, "existing", look)
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "store.json").write_text('{"url":"s3://bucket/study"}')
    (tmp_path / "here" / "store.json").unlink()
    for command in ("verify", "status", "annotate"):
        for name in ("here", "there"):
            run_cli(command, "-w", name)
    assert marks == [True, False] * 3
    assert kept("annotate", "pipeline.network=closed", workspace=tmp_path / "there")
