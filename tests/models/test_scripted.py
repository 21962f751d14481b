"""Scripted models: queues, functions, failures, delays, and the script file."""

import json
import time
from pathlib import Path

import pytest

from ai_therapist.errors import ConfigError, MissingInput, RequestError, TransientError
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.models.scripted import ScriptedGenerator, ScriptedScorer, open_script
from ai_therapist.records import Modality
from ai_therapist.records.message import Message, TextPart, VideoPart

ASKED = [Message.of_text("user", "hello")]


def reply(model: ScriptedGenerator, max_tokens: int = 100) -> str:
    return "".join(model.generate(ASKED, max_tokens=max_tokens, prefix="so"))


def script(tmp_path: Path, **content: object) -> Path:
    path = tmp_path / "script.json"
    path.write_text(json.dumps(content))
    return path


def test_a_queue_is_handed_out_in_turn_and_requests_are_kept() -> None:
    model = ScriptedGenerator(["one two", "three"])

    assert [reply(model), reply(model)] == ["one two", "three"]
    assert model.requests[0].messages == tuple(ASKED)
    assert model.requests[0].prefix == "so"
    with pytest.raises(RequestError, match="no answer left for request 3"):
        reply(model)


def test_answers_come_in_pieces_and_stop_at_the_limit() -> None:
    model = ScriptedGenerator([" one  two\nthree "], repeat=True)

    assert reply(model) == " one  two\nthree "
    assert list(model.generate(ASKED, max_tokens=2)) == [" one  ", "two\n"]


def test_a_function_sees_the_messages() -> None:
    model = ScriptedGenerator(lambda messages: messages[-1].text.upper())

    assert reply(model) == "HELLO"


def test_a_script_can_fail_and_be_slow() -> None:
    model = ScriptedGenerator([TransientError("busy"), "now"], delay_s=0.05)
    start = time.monotonic()

    with pytest.raises(TransientError, match="busy"):
        reply(model)
    assert reply(model) == "now"
    assert time.monotonic() - start >= 0.1


def test_a_scorer_gives_its_scores_as_they_stand() -> None:
    model = ScriptedScorer([{"a": 0.2, "z": 7.0}])

    assert model.score(ASKED, ("a", "b")) == {"a": 0.2, "z": 7.0}
    assert model.requests[0].labels == ("a", "b")
    assert [isinstance(model, kind) for kind in (LabelScorer, TextGenerator)] == [True, False]


def test_what_is_not_accepted_is_refused() -> None:
    model = ScriptedGenerator(["x"], accepts=frozenset({Modality.TEXT}))
    message = Message(role="user", parts=(TextPart(text="look"), VideoPart(path="a.mp4")))

    with pytest.raises(ValueError, match="does not accept audio, video"):
        list(model.generate([message], max_tokens=1))


def test_a_script_file_plays_replies_and_failures(tmp_path: Path) -> None:
    model = open_script(script(tmp_path, replies=["a", {"fail": "busy"}], repeat=True, accepts=["text"]))

    assert isinstance(model, ScriptedGenerator)
    assert model.accepts == {Modality.TEXT}
    assert reply(model) == "a"
    with pytest.raises(TransientError, match="busy"):
        reply(model)
    assert reply(model) == "a"


def test_a_script_file_of_scores_is_a_scorer_named_by_content(tmp_path: Path) -> None:
    one = open_script(script(tmp_path, scores=[{"a": 1.0}]))
    two = open_script(script(tmp_path, scores=[{"b": 1.0}]))

    assert isinstance(one, ScriptedScorer)
    assert one.name != two.name
    assert one.name.startswith("scripted@")


@pytest.mark.parametrize("content", [{}, {"replies": ["a"], "scores": [{"a": 1.0}]}, {"replies": [1]}, {"answers": []}])
def test_a_file_that_is_no_script_is_refused(tmp_path: Path, content: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"script\.json"):
        open_script(script(tmp_path, **content))


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="No such file"):
        open_script(tmp_path / "none.json")
