"""Runs commands in this process and shows what a user would see."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ai_therapist.cli import console, main


@dataclass(frozen=True)
class Shown:
    """What a command left behind on the screen."""

    code: int
    out: str
    err: str


Cli = Callable[..., Shown]


@pytest.fixture
def run_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs `ai-therapist ARGS…` in an empty folder, as `main` does it, exit code included."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str | Path) -> Shown:
        monkeypatch.setattr(sys, "argv", ["ai-therapist", *map(str, args)])
        # Rich looks its streams up when a console is made, which was before the capture began.
        monkeypatch.setattr(console.out, "file", sys.stdout)
        monkeypatch.setattr(console.notes, "file", sys.stderr)
        monkeypatch.setattr(console.out, "width", 200)
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return Shown(caught.value.code if isinstance(caught.value.code, int) else 1, captured.out, captured.err)

    return run
