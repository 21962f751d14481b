"""An OpenAI-compatible server through the vendor's library: what is sent, what comes back, what a failure means."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_therapist.errors import CannotTake, ConfigError, NoAnswer, Postponed, TransientError
from ai_therapist.models.catalogue import open_model, sends_away
from ai_therapist.models.openai import OpenAIModel, ScoringOpenAIModel
from ai_therapist.models.options import ModelOptions
from ai_therapist.models.protocol import LabelScorer, StructuredGenerator, answer_schema
from ai_therapist.pipeline.limits import spending
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import AudioPart, ImagePart, Message, TextPart, VideoPart
from ai_therapist.testing import make_recording
from tests.loopback_models import ModelServer, Said, failing, gzipped, openai_says, openai_streams, serving

SCHEMA = answer_schema("emotion", ["joy", "fear"])
HELLO = [Message.of_text("system", "Label it."), Message.of_text("user", "hello")]
FAST = ModelOptions(requests_per_minute=60_000, attempts=2, timeout_s=5)
PRICED = FAST.model_copy(
    update={"usd_per_million_in": 1.0, "usd_per_million_out": 10.0, "max_spend_usd": 1.0, "account": "study"}
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with serving(lambda asked: openai_says('{"emotion": "joy"}')) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{running.url}/v1")
        yield running


def reply(model: OpenAIModel, messages: list[Message] = HELLO) -> str:
    return model.reply(messages, max_tokens=64, schema=SCHEMA)


def test_a_reply_is_asked_for_in_the_form_of_the_codebook(server: ModelServer) -> None:
    model = open_model("openai:llama", FAST)
    assert isinstance(model, StructuredGenerator)
    assert not isinstance(model, LabelScorer)
    assert model.name == "openai:llama@127.0.0.1"
    assert model.reply(HELLO, max_tokens=64, schema=SCHEMA) == '{"emotion": "joy"}'
    (asked,) = server.calls("/v1/chat/completions")
    assert asked.json["messages"] == [{"role": "system", "content": "Label it."}, {"role": "user", "content": "hello"}]
    assert asked.json["response_format"]["json_schema"]["schema"] == dict(SCHEMA)
    assert (asked.json["max_tokens"], asked.json["temperature"], asked.json["model"]) == (64, 0, "llama")


def test_a_server_that_knows_no_schema_is_not_told_one(server: ModelServer) -> None:
    reply(OpenAIModel("m", FAST.model_copy(update={"structured": False})))
    assert "response_format" not in server.asked[0].json


def test_frames_and_sound_of_a_clip_go_as_parts(server: ModelServer, tmp_path: Path) -> None:
    model = OpenAIModel("m", FAST.model_copy(update={"clips": "frames", "frames": 3, "sound": True}))
    assert model.accepts == frozenset(Modality)
    assert model.name.endswith("3 frames with sound")
    clip = make_recording(tmp_path / "clip.mp4")
    reply(model, [Message(role="user", parts=(VideoPart(path=str(clip)), TextPart(text="hello")))])
    parts = server.asked[0].json["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["image_url"] * 3 + ["input_audio", "text"]
    assert parts[0]["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")
    assert parts[3]["input_audio"]["format"] == "wav"


def test_a_clip_goes_as_a_file_where_the_server_takes_it(server: ModelServer, tmp_path: Path) -> None:
    model = OpenAIModel("m", FAST.model_copy(update={"clips": "video"}))
    clip = make_recording(tmp_path / "clip.mp4")
    sound = make_recording(tmp_path / "sound.mp4")
    parts = (VideoPart(path=str(clip)), AudioPart(path=str(sound)), TextPart(text="hello"))
    reply(model, [Message(role="user", parts=parts)])
    sent = server.asked[0].json["messages"][0]["content"]
    assert [part["type"] for part in sent] == ["video_url", "input_audio", "text"]
    assert str(tmp_path) not in server.asked[0].text


def test_a_picture_goes_as_it_is(server: ModelServer, tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(b"\x89PNG")
    model = OpenAIModel("m", FAST.model_copy(update={"clips": "frames"}))
    reply(model, [Message(role="user", parts=(ImagePart(path=str(path)),))])
    (part,) = server.asked[0].json["messages"][0]["content"]
    assert part["image_url"]["url"].startswith("data:image/png;base64,")


def test_a_model_that_reads_is_shown_no_clip(server: ModelServer) -> None:
    model = OpenAIModel("m", FAST)
    assert model.accepts == {Modality.TEXT}
    with pytest.raises(ValueError, match="a message shows more"):
        reply(model, [Message(role="user", parts=(VideoPart(path="x"),))])
    assert server.asked == []


def test_an_answer_streams_in_pieces_without_its_given_beginning(server: ModelServer) -> None:
    server.answer = lambda asked: openai_streams(["Rep", "ly: I ", "am here", "."])
    model = OpenAIModel("m", FAST)
    assert list(model.generate(HELLO, max_tokens=20)) == ["Rep", "ly: I ", "am here", "."]
    assert "".join(model.generate(HELLO, max_tokens=20, prefix="Reply: ")) == "I am here."
    assert "Reply: " in server.asked[1].json["messages"][-1]["content"]
    server.answer = lambda asked: openai_streams(["So it ", "is."])
    assert "".join(model.generate(HELLO, max_tokens=20, prefix="Reply: ")) == "So it is."


def test_a_stream_that_breaks_off_is_said_and_one_that_is_left_is_paid(server: ModelServer) -> None:
    model = OpenAIModel("m", PRICED)
    server.answer = lambda asked: openai_streams(["a"] * 50, broken=True)
    with pytest.raises(TransientError, match=r"broke off|no connection"):
        list(model.generate(HELLO, max_tokens=20))
    server.answer = lambda asked: openai_streams(["a"] * 50)
    pieces = model.generate(HELLO, max_tokens=20)
    assert next(pieces) == "a"
    pieces.close()
    assert dict(_spent()) == {"study": pytest.approx(2 * 1.3e-3, rel=0.1)}


def _spent() -> list[tuple[str, float]]:
    return [(account, usd) for _, account, usd in spending()]


def test_what_a_call_cost_is_entered_and_the_ceiling_holds(server: ModelServer) -> None:
    model = OpenAIModel("m", PRICED.model_copy(update={"max_spend_usd": 0.0031}))
    reply(model)
    assert dict(_spent()) == {"study": pytest.approx(100e-6 + 100e-6)}
    with pytest.raises(Postponed, match="raise the ceiling"):
        for _ in range(20):
            reply(model)
    assert _spent()[0][1] <= 0.0031
    assert 5 < len(server.asked) < 15


def test_a_busy_server_is_asked_again_and_a_failing_one_too(server: ModelServer) -> None:
    said = iter([failing(429, Retry_After="0.2"), openai_says("a"), failing(500), openai_says("b")])
    server.answer = lambda asked: next(said)
    model = OpenAIModel("m", FAST)
    assert (reply(model), reply(model)) == ("a", "b")
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    "said",
    [
        failing(503),
        failing(500),
        Said(hang_up=True),
        Said(reset=True),
        Said(body=b""),
        Said(body=b"<html>please log in</html>", headers={"Content-Type": "text/html"}),
        Said(body=b'{"choices": [{"message": {"content": "{'),
        Said(body=openai_says("x").body, cut=30),
        Said(body=b"[" * 100_000),
        Said(body=b'{"choices": [{"message": {"content": 7}}]}'),
        Said(body=b"\xff\xfe\x00"),
        gzipped(openai_says("x")),
        Said(body=b" " * (5 << 20)),
    ],
    ids=lambda said: repr(said)[:40],
)
def test_what_is_no_reply_is_tried_again_and_then_left_for_later(server: ModelServer, said: Said) -> None:
    server.answer = lambda asked: said
    with pytest.raises(Postponed, match="2 attempts failed"):
        reply(OpenAIModel("m", FAST))
    assert len(server.asked) == 2


def test_a_reply_that_comes_too_slowly_is_given_up(server: ModelServer) -> None:
    server.answer = lambda asked: Said(body=b"{}", delay_s=1.5)
    model = OpenAIModel("m", FAST.model_copy(update={"timeout_s": 0.3, "attempts": 1}))
    with pytest.raises(Postponed, match="no answer in time"):
        reply(model)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (401, ConfigError, "check OPENAI_API_KEY"),
        (403, ConfigError, "check OPENAI_API_KEY"),
        (404, ConfigError, "knows no such model"),
        (307, ConfigError, "which is not followed"),
        (400, NoAnswer, r"refuses the request \(400\)"),
        (422, NoAnswer, r"refuses the request \(422\)"),
    ],
)
def test_a_refusal_is_not_tried_again(server: ModelServer, status: int, error: type[Exception], message: str) -> None:
    server.answer = lambda asked: failing(status, Location="http://example.org/")
    with pytest.raises(error, match=message) as caught:
        reply(OpenAIModel("m", FAST))
    assert "what the client said" not in str(caught.value)
    assert len(server.asked) == 1


def test_a_refused_clip_is_told_from_a_refused_request(server: ModelServer, tmp_path: Path) -> None:
    server.answer = lambda asked: failing(413)
    model = OpenAIModel("m", FAST.model_copy(update={"clips": "frames"}))
    clip = make_recording(tmp_path / "clip.mp4")
    with pytest.raises(CannotTake, match="refuses the clip"):
        reply(model, [Message(role="user", parts=(VideoPart(path=str(clip), sound=False), TextPart(text="hello")))])


@pytest.mark.parametrize(
    ("said", "message", "kept"),
    [
        (openai_says(None, refusal="I will not."), "the model refused", "I will not."),
        (openai_says("half", finish="length"), "cut off", "half"),
        (openai_says("", finish="content_filter"), "blocked", ""),
        (Said(body=b'{"choices": []}'), "gave no answer", None),
    ],
)
def test_no_answer_says_why_and_keeps_what_was_written(
    server: ModelServer, said: Said, message: str, kept: str | None
) -> None:
    server.answer = lambda asked: said
    with pytest.raises(NoAnswer, match=message) as caught:
        reply(OpenAIModel("m", FAST))
    assert caught.value.reply == kept


def test_an_account_without_credit_waits_for_the_next_run(server: ModelServer) -> None:
    server.answer = lambda asked: Said(429, b'{"error": {"code": "insufficient_quota", "message": "x"}}')
    with pytest.raises(Postponed, match="no credit left"):
        reply(OpenAIModel("m", FAST))
    assert len(server.asked) == 1


def _token(text: str, logprob: float, **others: float) -> dict[str, object]:
    top = [{"token": name.replace("_", " "), "logprob": value, "bytes": None} for name, value in others.items()]
    return {"token": text, "logprob": logprob, "bytes": None, "top_logprobs": top}


def test_labels_are_weighed_by_the_alternatives_of_their_tokens(server: ModelServer) -> None:
    tokens = [_token('{"', 0.0), _token("emotion", 0.0), _token('": "', 0.0)]
    tokens += [_token("j", -0.5, j=-0.5, fear=-1.0, x=-3.0), _token('oy"}', 0.0)]
    server.answer = lambda asked: openai_says('{"emotion": "joy"}', logprobs=tokens)
    model = open_model("openai:m", FAST.model_copy(update={"logprobs": True}))
    assert isinstance(model, ScoringOpenAIModel)
    assert isinstance(model, LabelScorer)
    scores = model.score(HELLO, ["joy", "fear", "anger"], prefix='{"emotion": "')
    assert scores == pytest.approx({"joy": 0.6225, "fear": 0.3775, "anger": 0.0}, abs=1e-3)
    assert server.asked[0].json["top_logprobs"] == 20


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (openai_says('{"emotion": "joy"}'), "tells no log-probabilities"),
        (openai_says("joy", logprobs=[_token("joy", 0.0)]), "names no label"),
        (openai_says('{"emotion": "calm"}', logprobs=[_token('{"emotion": "calm"}', 0.0)]), "begins none"),
    ],
)
def test_weights_that_are_not_told_are_no_answer(server: ModelServer, said: Said, message: str) -> None:
    server.answer = lambda asked: said
    with pytest.raises(NoAnswer, match=message):
        ScoringOpenAIModel("m", FAST).score(HELLO, ["joy", "fear"], prefix='{"emotion": "')


@pytest.mark.parametrize(
    ("url", "away"),
    [
        ("http://127.0.0.1:8000/v1", False),
        ("http://127.9.9.9/v1", False),
        ("http://localhost:11434/v1", False),
        ("http://[::1]:8000/v1", False),
        ("https://localhost.example.org/v1", True),
        ("https://10.0.0.7/v1", True),
        ("https://0.0.0.0/v1", True),
        ("https://api.openai.com/v1", True),
        (None, True),
    ],
)
def test_only_a_loopback_address_is_no_transfer(monkeypatch: pytest.MonkeyPatch, url: str | None, away: bool) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    if url is not None:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert sends_away("openai:m") is away


@pytest.mark.parametrize("url", ["http://example.org/v1", "ftp://127.0.0.1/", "127.0.0.1:8000", "file:///etc/passwd"])
def test_words_go_to_no_address_that_is_odd_or_in_the_clear(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL") as caught:
        OpenAIModel("m")
    assert "sk-secret" not in str(caught.value)


def test_a_service_elsewhere_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.example.org/v1")
    with pytest.raises(ConfigError, match="set OPENAI_API_KEY"):
        OpenAIModel("m")


def test_no_proxy_stands_before_this_machine(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert json.loads(reply(OpenAIModel("m", FAST))) == {"emotion": "joy"}
