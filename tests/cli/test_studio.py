"""`studio` and `review`: what they refuse, and a real process that opens the page and stops when asked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ai_therapist.store.workspace import Workspace
from tests.cli.conftest import Cli


@pytest.fixture
def study(tmp_path: Path) -> Path:
    workspace = Workspace(tmp_path / "study")
    workspace.index.close()
    return workspace.root


@pytest.mark.parametrize("command", ["studio", "review"])
def test_a_pseudonym_that_cannot_stand_in_a_record_is_refused(run_cli: Cli, study: Path, command: str) -> None:
    shown = run_cli(command, "-w", study, "--rater", "Ann Smith")
    assert shown.code == 2
    assert "--rater ann" in shown.err


def test_review_wants_to_know_who_labels(run_cli: Cli, study: Path) -> None:
    shown = run_cli("review", "-w", study)
    assert shown.code == 2
    assert "--rater" in shown.err


def test_a_folder_that_is_no_workspace_is_refused(run_cli: Cli, tmp_path: Path) -> None:
    shown = run_cli("studio", "-w", tmp_path / "nothing")
    assert shown.code == 2
    assert "ai-therapist extract" in shown.err


def test_an_address_that_other_machines_reach_needs_a_password_and_tls(run_cli: Cli, study: Path) -> None:
    shown = run_cli("studio", "-w", study, "--host", "0.0.0.0", "--port", "0")
    assert shown.code == 2
    assert "SERVE_PASSWORD" in shown.err


def test_a_port_that_is_taken_is_said(run_cli: Cli, study: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        shown = run_cli("studio", "-w", study, "--port", str(other.getsockname()[1]))
    assert shown.code == 2
    assert "--port" in shown.err


def test_the_page_is_open_until_the_process_is_interrupted(study: Path) -> None:
    command = [sys.executable, "-m", "ai_therapist", "review", "-w", str(study), "--rater", "ann", "--port", "0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        words = (word for line in process.stdout for word in line.split())
        address = next(word for word in words if word.startswith("http://127.0.0.1:"))
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert "studio-" in answer.headers["set-cookie"]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(address.partition("?")[0], timeout=20)
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert "what was decided is kept" in rest
    assert "Traceback" not in rest
