"""A disk that cannot be used is told in one line, with what to do, and exit code 1."""

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_a_workspace_that_cannot_be_made_is_one_line(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "blocked").write_text("a file stands where the folder should be")
    shown = run_cli("extract", tmp_path / "recordings", "-w", tmp_path / "blocked" / "study")
    assert shown.code == 1
    assert shown.err.count("\n") == 1
    assert "cannot open the store" in shown.err
    assert "run the same command again" in shown.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_is_read_only_is_one_line(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    shown = run_cli("extract", tmp_path / "recordings", "-w", locked / "study")
    assert shown.code == 1
    assert "give yourself the right to write there" in shown.err


def test_a_bucket_without_credentials_is_one_line(run_cli: Cli, tmp_path: Path, no_s3_credentials: None) -> None:
    shown = run_cli("extract", "s3://recordings/study", "-w", tmp_path / "study")
    assert shown.code == 2
    assert shown.err.count("\n") == 1
    assert "no credentials" in shown.err
    assert "aws configure" in shown.err
