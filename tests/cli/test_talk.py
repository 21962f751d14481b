"""chat, predict and serve as a user starts them."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import Cli


def script(folder: Path, *replies: str) -> str:
    path = folder / "script.json"
    path.write_text(json.dumps({"replies": list(replies), "repeat": True}))
    return f"scripted:{path}"


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_a_chat_shows_disclosure_reply_labels_and_helplines(
    run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "I feel so sad and I cry a lot.", "/emotion", "/help", "/clip none.mp4", "/nonsense", "/quit")
    shown = run_cli("chat", "--model", script(tmp_path, "How was it?"), "--set", "inference.labels=embedded")
    assert shown.code == 0
    text = " ".join(shown.out.split())
    assert "talking to an AI program" in text
    assert "model How was it?" in text
    assert "client emotion: sadness" in text
    assert "%" in text
    assert "strategy: none (the classifier labels what was said and predicts nothing)" in text
    assert "findahelpline.com" in text
    assert "none.mp4 is no file" in text
    assert "no command /nonsense" in text


def test_a_chat_takes_what_people_type(run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Capital commands, words that only want to leave, and bytes that were no text."""
    typed(monkeypatch, "/HELP", "exit", "broken \udcff byte", "/Save talk.json", "/QUIT", "never read")
    shown = run_cli("chat", "--model", script(tmp_path, "How was it?"))
    assert shown.code == 0
    assert "People you can reach" in shown.out
    assert "exit was not sent; /quit leaves" in shown.out
    said = [turn["text"] for turn in json.loads((tmp_path / "talk.json").read_text("utf-8"))["turns"]]
    assert said == ["broken \ufffd byte", "How was it?"]


def test_an_interrupt_stops_the_reply_and_not_the_chat(tmp_path: Path) -> None:
    (tmp_path / "slow.json").write_text('{"replies": ["Never said."], "repeat": true, "delay_s": 50}')
    command = [sys.executable, "-m", "ai_therapist", "chat", "--model", "scripted:slow.json"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, text=True, env=environment, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("I want to kill myself.\n")
        process.stdin.flush()
        # The card stands before the model is asked, so it tells when to interrupt.
        assert any("findahelpline.com" in line for line in iter(process.stdout.readline, ""))
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate("/save talk.json\n/quit\n", timeout=40)
    assert process.returncode == 0
    assert "not remembered; go on, or leave with /quit" in " ".join(rest.split())
    assert json.loads((tmp_path / "talk.json").read_text("utf-8"))["turns"] == []


def test_a_chat_is_written_down_only_where_the_user_says_so(
    run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = script(tmp_path, "How was it?")
    before = set(tmp_path.rglob("*"))
    typed(monkeypatch, "I walked to the lake.", "/quit")
    assert run_cli("chat", "--model", model).code == 0
    assert set(tmp_path.rglob("*")) == before
    typed(monkeypatch, "I walked to the lake.", "/save talk.json", "/save talk.json", "/save no/where", "/quit")
    shown = run_cli("chat", "--model", model)
    saved = json.loads((tmp_path / "talk.json").read_text())
    assert [turn["role"] for turn in saved["turns"]] == ["client", "therapist"]
    assert saved["crisis_rules"]
    assert shown.out.count("is no new file") == 2


def test_forgetting_starts_anew(run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "I walked to the lake.", "/forget", "/emotion", "/save talk.json", "/quit")
    shown = run_cli("chat", "--model", script(tmp_path, "Yes."))
    assert json.loads((tmp_path / "talk.json").read_text())["turns"] == []
    assert shown.out.count("talking to an AI program") == 2
    assert "predicted nothing" in shown.out


@pytest.mark.parametrize(
    ("spec", "message"), [("embedded", "writes nothing"), ("nonsense:x", "no model 'nonsense'"), ("scripted:", "needs")]
)
def test_a_model_that_cannot_talk_is_refused_in_one_line(run_cli: Cli, tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "a").touch()
    for command in (("chat", "--model", spec), ("serve", "--model", spec), ("predict", "a", "b", "--model", spec)):
        shown = run_cli(*command)
        assert shown.code == 2
        assert message in shown.err


def test_predict_answers_a_file_and_says_what_failed(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "I walked to the lake."}\nnonsense\n')
    shown = run_cli("predict", "in.jsonl", "out.jsonl", "--model", script(tmp_path, "How was it?"))
    assert shown.code == 3
    assert "2 read, 1 answered, 0 reused, 1 failed" in shown.out
    assert "line 2" in shown.err
    again = run_cli("predict", "in.jsonl", "out.jsonl", "--model", script(tmp_path, "How was it?"))
    assert "2 read, 0 answered, 1 reused, 1 failed" in again.out


def test_predict_says_in_one_line_what_it_cannot_read_or_write(run_cli: Cli, tmp_path: Path) -> None:
    missing = run_cli("predict", "none.jsonl", "out.jsonl", "--model", "tuned:nowhere")
    assert (missing.code, "none.jsonl: there is no such file" in missing.err) == (2, True)
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "Hello."}\nno json\n')
    (tmp_path / "file").touch()
    refused = run_cli("predict", "in.jsonl", "file/out.jsonl", "--model", script(tmp_path, "Yes."))
    assert refused.code == 1
    assert "cannot write file/out.jsonl" in refused.err
    made = run_cli("predict", "in.jsonl", "new/folder/out.jsonl", "--model", script(tmp_path, "Yes."))
    assert "line 2: record: not valid JSON" in made.err
    assert len((tmp_path / "new/folder/out.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--host", "0.0.0.0"), "SERVE_PASSWORD"),
        (("--set", "serving.certificate=none.pem", "--set", "serving.key=none.pem"), "none.pem is no file"),
        (("--set", "serving.media_root=nowhere"), "is no folder"),
    ],
)
def test_an_unsafe_server_does_not_start(run_cli: Cli, tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    shown = run_cli("serve", "--model", script(tmp_path, "Yes."), *args)
    assert shown.code == 2
    assert message in shown.err


def test_an_unsafe_or_taken_address_is_refused_before_a_model_is_loaded(run_cli: Cli) -> None:
    missing = ("serve", "--model", "tuned:nowhere")
    assert "SERVE_PASSWORD" in run_cli(*missing, "--host", "0.0.0.0").err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        shown = run_cli(*missing, "--port", str(taken.getsockname()[1]))
    assert shown.code == 2
    assert "choose another with --port" in shown.err


def test_the_server_starts_answers_and_ends_cleanly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ai_therapist", "serve", "--port", "0", "--model", script(tmp_path, "How was it?")]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[2]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                answer = httpx.post(
                    f"{address}/chat/completions", json={"messages": [{"role": "user", "content": "Hello."}]}
                )
                break
            except httpx.ConnectError:
                time.sleep(0.05)
        assert "How was it?" in answer.json()["choices"][0]["message"]["content"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
