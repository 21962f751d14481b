"""A file of conversations is answered line by line: resumed, each id once, no bad line stops it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_therapist.errors import ConfigError, MissingInput
from ai_therapist.inference.batch import Answered, Tally, answer_all
from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.predict import Speaker
from ai_therapist.models.scripted import ScriptedGenerator, ScriptedScorer
from ai_therapist.testing import make_recording
from tests.inference.scripts import replying

CONFIG = InferenceConfig()


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def run(speaker: Speaker, asked: Path, answers: Path) -> tuple[list[Answered], Tally]:
    tally = Tally()
    return list(answer_all(speaker, CONFIG, asked, answers, tally)), tally


def on_disk(path: Path) -> dict[str, dict[str, object]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["id"]: row for row in rows}


def test_every_line_gets_an_answer_and_bad_ones_an_error(tmp_path: Path) -> None:
    make_recording(tmp_path / "clip.mp4")
    asked = write(
        tmp_path / "in.jsonl",
        {"id": "a", "text": "I walked to the lake.", "clip": "clip.mp4"},
        "no json",
        {"id": "c", "text": " "},
        {
            "id": "d",
            "text": "Yes.",
            "earlier": [
                {"role": "client", "text": "I want to kill myself."},
                {"role": "therapist", "text": "Since when?"},
            ],
        },
        {"id": "a", "text": "Again."},
        {"id": "e", "text": "Hello.", "clip": "gone.mp4"},
        {"id": "f", "text": "Hello.", "surprise": "canary"},
        "[" * 5_000,
    )
    speaker = Speaker(replying("How was it?"), None, is_toy=True)
    answers, tally = run(speaker, asked, tmp_path / "out.jsonl")
    assert (tally.read, tally.answered, tally.reused, tally.failed) == (8, 3, 0, 5)
    found = on_disk(tmp_path / "out.jsonl")
    assert found["d"]["cards"] == ["pointer"], "what was said before counts"
    assert found["e"]["clip_refused"]
    assert answers[0].reply == "How was it?"
    assert [answer.id for answer in answers if answer.error] == ["line 2", "c", "a", "line 7", "line 8"]
    assert "canary" not in str(found["line 7"])
    again, tally = run(speaker, asked, tmp_path / "out.jsonl")
    assert (tally.reused, tally.failed) == (3, 5)
    assert again == answers


def test_a_stopped_run_goes_on_and_ends_with_the_same_file(tmp_path: Path) -> None:
    asked = write(tmp_path / "in.jsonl", *({"id": f"q{n}", "text": f"This is number {n}."} for n in range(6)))
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    run(Speaker(replying("Yes."), None, is_toy=True), asked, whole)
    for kept in (0, 3):
        lines = whole.read_bytes().splitlines(keepends=True)
        cut.write_bytes(b"".join(lines[:kept]) + lines[kept][:20])
        model = replying("Yes.")
        _, tally = run(Speaker(model, None, is_toy=True), asked, cut)
        assert (tally.reused, len(model.requests)) == (kept, 6 - kept)
        assert cut.read_bytes() == whole.read_bytes()


def test_an_error_is_tried_again_and_a_changed_line_is_answered_anew(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    asked = write(tmp_path / "in.jsonl", {"id": "a", "text": "One."}, {"id": "b", "text": "Two."})
    _, tally = run(Speaker(replying("Yes.", RuntimeError("boom")), None, is_toy=True), asked, out)
    assert (tally.answered, tally.failed) == (1, 1)
    assert "boom" not in out.read_text()
    write(asked, {"id": "a", "text": "One, changed."}, {"id": "b", "text": "Two."})
    _, tally = run(Speaker(replying("Yes."), None, is_toy=True), asked, out)
    assert (tally.answered, tally.reused, tally.failed) == (2, 0, 0)


def test_answers_of_another_model_or_of_nothing_known_are_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    asked = write(tmp_path / "in.jsonl", {"id": "a", "text": "One."})
    run(Speaker(ScriptedGenerator(["Yes."], name="one"), None, is_toy=True), asked, out)
    before = out.read_bytes()
    with pytest.raises(ConfigError, match="answers of 'one'"):
        run(Speaker(ScriptedGenerator(["Yes."], name="two"), None, is_toy=True), asked, out)
    out.write_text("my diary\n")
    with pytest.raises(ConfigError, match="something else"):
        run(Speaker(ScriptedGenerator(["Yes."], name="one"), None, is_toy=True), asked, out)
    assert out.read_text() == "my diary\n"
    assert before
    with pytest.raises(MissingInput):
        run(Speaker(replying("Yes."), None, is_toy=True), tmp_path / "none.jsonl", out)


def test_labels_come_with_their_probabilities(tmp_path: Path) -> None:
    asked = write(tmp_path / "in.jsonl", {"id": "a", "text": "One."})
    scorer = ScriptedScorer([{"x": 1.0}], repeat=True)
    answers, _ = run(Speaker(replying("Yes."), scorer, is_toy=True), asked, tmp_path / "out.jsonl")
    assert answers[0].client_emotion is not None
    assert answers[0].client_emotion.kind == "abstention"
