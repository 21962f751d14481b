"""What people type into a chat: paths that can be none, bytes that are no text, slashes before words that matter."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Shown


@pytest.fixture
def talk(run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Types lines into a chat with a model that says one sentence, and saves the conversation as talk.json."""
    (tmp_path / "script.json").write_text('{"replies": ["How was it?"], "repeat": true}')

    def type_in(*lines: str) -> Shown:
        typed = (*lines, "/save talk.json", "/quit")
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in typed)))
        return run_cli("chat", "--model", "scripted:script.json")

    return type_in


def said(folder: Path) -> list[str]:
    """What the client said, as the chat remembers it."""
    turns = json.loads((folder / "talk.json").read_text("utf-8"))["turns"]
    return [turn["text"] for turn in turns if turn["role"] == "client"]


@pytest.mark.parametrize("path", ["~nosuchuser/x", "x" * 300, "a\0b", "'a\0b'", "script.json/x"])
@pytest.mark.parametrize(("command", "answer"), [("/clip", "is no file"), ("/save", "is no new file")])
def test_a_path_that_can_be_none_is_told_in_a_line(
    talk: Cli, tmp_path: Path, command: str, answer: str, path: str
) -> None:
    shown = talk(f"{command} {path}", "I walked to the lake.")
    assert shown.code == 0
    assert [answer in line for line in shown.out.splitlines()].count(True) == 1
    assert said(tmp_path) == ["I walked to the lake."]


def test_bytes_that_are_no_text_do_not_end_a_strict_terminal_s_chat(tmp_path: Path) -> None:
    (tmp_path / "script.json").write_text('{"replies": ["How was it?"], "repeat": true}')
    clip = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(clip)).write_bytes(b"\x89PNG\r\n\x1a\n")
    ran = subprocess.run(
        [sys.executable, "-m", "ai_therapist", "chat", "--model", "scripted:script.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        input=b"caf\xe9 was closed\n/clip " + clip + b"\n/clip \xe9.png\n/\xe9\n/save talk.json\n/quit\n",
        capture_output=True,
        timeout=120,
    )
    assert (ran.returncode, b"Traceback" in ran.stderr) == (0, False)
    assert said(tmp_path) == ["caf\ufffd was closed"]
    assert b"caf?.png goes with your next message" in ran.stdout
    assert b"?.png is no file" in ran.stdout
    assert b"no command /?" in ran.stdout


@pytest.mark.parametrize(
    "line",
    [
        "/i want to kill myself",
        "/ I want to kill myself",
        "/i\twant to kill myself",
        "/quit now, I want to kill myself",
        "/forget it, I want to kill myself",
        "/emotion does not matter, I want to kill myself",
        "/help me, I want to kill myself",
    ],
)
def test_words_behind_a_slash_reach_the_crisis_check(talk: Cli, tmp_path: Path, line: str) -> None:
    shown = talk("I walked to the lake.", line)
    assert shown.code == 0
    assert "Thank you for saying this" in shown.out, "the card's own opening"
    assert "read as a message, not as a command; /help shows helplines, /quit leaves" in shown.out
    assert said(tmp_path) == ["I walked to the lake.", line]


def test_help_with_words_shows_the_helplines_too(talk: Cli) -> None:
    assert "People you can reach" in talk("/help me please").out


def test_one_word_that_is_no_command_is_answered_with_those_that_are(talk: Cli, tmp_path: Path) -> None:
    shown = talk("/hlep")
    assert "no command /hlep; /clip PATH:" in shown.out
    assert "read as a message" not in shown.out
    assert said(tmp_path) == []
