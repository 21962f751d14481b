"""A disk that cannot be used, and anything unforeseen, is told in one line, with what to do; nobody is quoted."""

import errno
import os
from pathlib import Path

import click
import pytest

from ai_therapist.cli import status
from tests.cli.conftest import Cli

SECRET = "mister quincy said it"
LONG = "x" * 300


def test_a_workspace_that_cannot_be_made_is_one_line(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "anna.mp4").write_text("anna")
    (tmp_path / "blocked").write_text("a file stands where the folder should be")
    shown = run_cli("extract", tmp_path / "recordings", "-w", tmp_path / "blocked" / "study")
    assert shown.code == 1
    assert shown.err.count("\n") == 1
    assert "cannot open the store" in shown.err
    assert "run the same command again" in shown.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_is_read_only_is_one_line(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "anna.mp4").write_text("anna")
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


def raising(error: BaseException) -> click.Command:
    def fall() -> None:
        raise error

    return click.Command("status", callback=fall)


def test_an_unforeseen_error_is_its_type_in_one_line(
    run_cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "command", raising(ValueError(SECRET)))
    shown = run_cli("status")
    assert shown.code == 1
    assert shown.err == (
        "ai-therapist: ValueError: run again with --debug for more; tracebacks may quote what people said\n"
    )


def test_debug_shows_an_unforeseen_error_whole(run_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "command", raising(ValueError(SECRET)))
    monkeypatch.setenv("AI_THERAPIST_DEBUG", "1")
    with pytest.raises(ValueError, match=SECRET):
        run_cli("status")


@pytest.mark.parametrize(
    ("number", "code", "remedy"),
    [(errno.EACCES, 2, "see to the rights on it"), (errno.ENAMETOOLONG, 2, "another path"), (errno.EIO, 1, "--debug")],
)
def test_an_error_of_the_system_is_its_path_and_reason(
    run_cli: Cli, monkeypatch: pytest.MonkeyPatch, number: int, code: int, remedy: str
) -> None:
    monkeypatch.setattr(status, "command", raising(OSError(number, os.strerror(number), "runs/extraction.json")))
    shown = run_cli("status")
    assert shown.code == code
    assert shown.err.count("\n") == 1
    assert f"ai-therapist: runs/extraction.json: {os.strerror(number)}: " in shown.err
    assert remedy in shown.err


def test_a_stop_by_the_user_stays_a_stop(run_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "command", raising(KeyboardInterrupt()))
    shown = run_cli("status")
    assert (shown.code, "run the same command to go on" in shown.err) == (130, True)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["status", "-w", LONG], f"--workspace {LONG}: File name too long: name a folder"),
        (["annotate", "-w", LONG], f"--workspace {LONG}: File name too long: name a folder"),
        (["extract", LONG], f"{LONG}: File name too long: name another folder"),
        (["convert", "a.vtt", f"{LONG}.srt"], "File name too long"),
    ],
)
def test_a_name_that_no_file_system_holds_is_told_with_its_reason(run_cli: Cli, args: list[str], message: str) -> None:
    shown = run_cli(*args)
    assert shown.code == 2
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_a_model_with_such_a_name_is_one_line(run_cli: Cli) -> None:
    shown = run_cli("suite", "goemotions", "file.tsv", "--model", f"tuned:{LONG}")
    assert (shown.code, "File name too long" in shown.err) == (2, True)
    assert shown.err.count("\n") == 1


def test_a_ledger_that_cannot_be_looked_at_is_one_line(
    run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study" / "store").mkdir(parents=True)
    look = Path.exists

    def exists(path: Path) -> bool:
        if path.parent.name == "runs":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(Path, "exists", exists)
    for command in ("status", "annotate", "dataset"):
        shown = run_cli(command, "-w", "study")
        assert shown.code == 2
        assert shown.err.count("\n") == 1
        assert ".json: Permission denied" in shown.err
