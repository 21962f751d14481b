"""Gemini through the vendor's library, with a key and on Vertex AI, against a server on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ai_therapist.errors import CannotTake, ConfigError, NoAnswer, Postponed
from ai_therapist.models.catalogue import open_model, sends_away
from ai_therapist.models.gemini import DEFAULT_MODEL, GeminiModel
from ai_therapist.models.options import ModelOptions
from ai_therapist.models.protocol import StructuredGenerator, answer_schema
from ai_therapist.pipeline.limits import spending
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import ImagePart, Message, TextPart, VideoPart
from ai_therapist.testing import make_recording
from tests.loopback_models import Asked, ModelServer, Said, failing, gemini_says, gzipped, serving

SCHEMA = answer_schema("emotion", ["joy", "fear"])
HELLO = [Message.of_text("system", "Label it."), Message.of_text("user", "hello")]
FAST = ModelOptions(requests_per_minute=60_000, attempts=2, timeout_s=5)
UPLOADING = FAST.model_copy(update={"upload_above_mb": 0.0})
LABEL = '{"emotion": "joy"}'


class FileStore:
    """The upload protocol of the Developer API, with files that take a while to be ready."""

    def __init__(self, said: Said, *, ready_after: int = 1, state: str = "ACTIVE", upload: Said | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.deleted: list[str] = []
        self._said, self._state, self._upload = said, state, upload
        self._polls_left = ready_after
        self.url = ""

    def __call__(self, asked: Asked) -> Said:
        path = asked.path.partition("?")[0]
        if asked.headers.get("x-goog-upload-command") == "start":
            name = asked.json["file"]["name"]
            self.files[name] = b""
            return Said(headers={"X-Goog-Upload-URL": f"{self.url}/into/{name}", "X-Goog-Upload-Status": "active"})
        if "/into/" in path:
            name = path.partition("/into/")[2]
            self.files[name] = asked.body
            return self._upload or Said(body=self._file(name, "PROCESSING"), headers={"X-Goog-Upload-Status": "final"})
        if "/files/" in path:
            name = "files/" + path.rpartition("/")[2]
            if asked.method == "DELETE":
                self.deleted.append(name)
                self.files.pop(name, None)
                return Said(body=b"{}")
            self._polls_left -= 1
            body = json.loads(self._file(name, "PROCESSING" if self._polls_left > 0 else self._state))["file"]
            return Said(body=json.dumps(body).encode())
        return self._said

    @staticmethod
    def _file(name: str, state: str) -> bytes:
        file = {"name": name, "uri": f"https://store.example/{name}", "state": state, "mimeType": "video/mp4"}
        return json.dumps({"file": file}).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setattr("ai_therapist.models.gemini._POLL_S", 0.01)
    for name in ("PROJECT_ID", "LOCATION", "MODEL_NAME"):
        monkeypatch.delenv(name, raising=False)
    with serving(lambda asked: gemini_says(LABEL)) as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        monkeypatch.setenv("GEMINI_API_KEY", "key-canary")
        yield running


def store(server: ModelServer, said: Said, **options: object) -> FileStore:
    files = FileStore(said, **options)  # type: ignore[arg-type]
    files.url = server.url
    server.answer = files
    return files


def reply(model: GeminiModel, messages: list[Message] = HELLO) -> str:
    return model.reply(messages, max_tokens=64, schema=SCHEMA)


def showing(path: Path) -> list[Message]:
    return [HELLO[0], Message(role="user", parts=(VideoPart(path=str(path)), TextPart(text="hello")))]


def test_a_reply_is_asked_for_in_the_form_of_the_codebook(server: ModelServer) -> None:
    model = open_model("gemini", FAST)
    assert isinstance(model, StructuredGenerator)
    assert model.name == f"gemini:{DEFAULT_MODEL}@key"
    assert model.accepts == frozenset(Modality)
    assert model.reply(HELLO, max_tokens=64, schema=SCHEMA) == LABEL
    (asked,) = server.asked
    assert asked.path.endswith(f"/models/{DEFAULT_MODEL}:generateContent")
    assert asked.headers["x-goog-api-key"] == "key-canary"
    config = asked.json["generationConfig"]
    assert config["responseJsonSchema"] == dict(SCHEMA)
    assert (config["temperature"], config["responseMimeType"]) == (0, "application/json")
    assert config["thinkingConfig"] == {"thinking_level": "LOW"}
    assert asked.json["systemInstruction"]["parts"] == [{"text": "Label it."}]
    assert asked.json["contents"] == [{"role": "user", "parts": [{"text": "hello"}]}]
    assert "safetySettings" not in asked.json, "the service's own filters stay as they are"


def test_the_model_is_named_by_the_spec_or_by_the_environment(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_NAME", "gemini-of-mine")
    assert open_model("gemini", FAST).name == "gemini:gemini-of-mine@key"
    assert open_model("gemini:gemini-x", FAST).name == "gemini:gemini-x@key"


def test_vertex_is_used_where_a_project_is_set(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "client_email": "annotator@example.org",
        "private_key": secret.decode(),
        "private_key_id": "1",
        "token_uri": f"{server.url}/token",
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", server.url)
    monkeypatch.setenv("PROJECT_ID", "my-project")
    monkeypatch.setenv("LOCATION", "europe-west4")
    token = Said(body=b'{"access_token": "token-of-the-day", "expires_in": 3600, "token_type": "Bearer"}')
    server.answer = lambda asked: token if asked.path == "/token" else gemini_says(LABEL)
    model = GeminiModel(None, UPLOADING)
    assert model.name == f"gemini:{DEFAULT_MODEL}@vertex"
    assert reply(model, showing(make_recording(tmp_path / "clip.mp4"))) == LABEL
    asked = server.asked[-1]
    assert f"/projects/my-project/locations/europe-west4/publishers/google/models/{DEFAULT_MODEL}" in asked.path
    assert asked.headers["authorization"] == "Bearer token-of-the-day"
    assert "inlineData" in asked.json["contents"][0]["parts"][0], "Vertex AI has no file store"


def test_a_machine_without_credentials_of_google_cloud_says_how_to_get_them(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "account.json").write_text("{}")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    monkeypatch.setenv("PROJECT_ID", "my-project")
    with pytest.raises(ConfigError, match="gcloud auth application-default login"):
        reply(GeminiModel(None, FAST))


def test_a_small_clip_is_part_of_the_call(server: ModelServer, tmp_path: Path) -> None:
    reply(GeminiModel(None, FAST), showing(make_recording(tmp_path / "clip.mp4")))
    clip, words = server.asked[0].json["contents"][0]["parts"]
    assert clip["inlineData"]["mime_type"] == "video/mp4"
    assert words == {"text": "hello"}


def test_frames_go_as_pictures(server: ModelServer, tmp_path: Path) -> None:
    model = GeminiModel(None, FAST.model_copy(update={"clips": "frames", "frames": 2, "sound": True}))
    reply(model, showing(make_recording(tmp_path / "clip.mp4")))
    parts = server.asked[0].json["contents"][0]["parts"]
    assert [part.get("inlineData", {}).get("mime_type") for part in parts] == [*["image/jpeg"] * 2, "audio/wav", None]
    picture = tmp_path / "one.png"
    picture.write_bytes(b"\x89PNG")
    reply(model, [Message(role="user", parts=(ImagePart(path=str(picture)),))])
    assert server.asked[1].json["contents"][0]["parts"][0]["inlineData"]["mime_type"] == "image/png"


def test_a_larger_clip_is_uploaded_waited_for_shown_and_deleted(server: ModelServer, tmp_path: Path) -> None:
    clip = make_recording(tmp_path / "quincy-session.mp4")
    files = store(server, gemini_says(LABEL), ready_after=3)
    assert reply(GeminiModel(None, UPLOADING), showing(clip)) == LABEL
    (shown,) = server.calls(":generateContent")
    (name,) = files.deleted
    assert shown.json["contents"][0]["parts"][0]["fileData"]["file_uri"] == f"https://store.example/{name}"
    assert files.files == {}
    gets = [asked for asked in server.asked if asked.method == "GET"]
    assert len(gets) == 3
    assert not any(
        b"quincy" in asked.body + asked.path.encode() + repr(asked.headers).encode() for asked in server.asked
    )


@pytest.mark.parametrize(
    ("said", "error"),
    [(failing(500), Postponed), (failing(401), ConfigError), (gemini_says(None, block="SAFETY"), NoAnswer)],
)
def test_an_uploaded_clip_is_deleted_though_the_call_fails(
    server: ModelServer, tmp_path: Path, said: Said, error: type[Exception]
) -> None:
    files = store(server, said)
    with pytest.raises(error):
        reply(GeminiModel(None, UPLOADING), showing(make_recording(tmp_path / "clip.mp4")))
    assert len(files.deleted) == 1
    assert files.files == {}


def test_a_clip_that_the_service_cannot_read_is_deleted_and_said(server: ModelServer, tmp_path: Path) -> None:
    files = store(server, gemini_says(LABEL), state="FAILED")
    with pytest.raises(CannotTake, match="cannot read the clip"):
        reply(GeminiModel(None, UPLOADING), showing(make_recording(tmp_path / "clip.mp4")))
    assert files.files == {}
    assert server.calls(":generateContent") == []


def test_an_upload_that_breaks_off_leaves_no_file(server: ModelServer, tmp_path: Path) -> None:
    files = store(server, gemini_says(LABEL), upload=Said(hang_up=True))
    with pytest.raises(Postponed):
        reply(GeminiModel(None, UPLOADING), showing(make_recording(tmp_path / "clip.mp4")))
    assert files.files == {}
    assert len(files.deleted) >= 1


@pytest.mark.parametrize(
    ("said", "message", "kept"),
    [
        (gemini_says(None, block="PROHIBITED_CONTENT"), "blocked by the service: PROHIBITED_CONTENT", None),
        (gemini_says(None, finish="SAFETY"), "blocked by the service: SAFETY", ""),
        (gemini_says("half", finish="MAX_TOKENS"), "cut off", "half"),
        (gemini_says("x", finish="he said so"), "for a reason that is not known", "x"),
        (Said(body=b"{}"), "gave no answer", None),
    ],
)
def test_no_answer_says_why_and_keeps_what_was_written(
    server: ModelServer, said: Said, message: str, kept: str | None
) -> None:
    server.answer = lambda asked: said
    with pytest.raises(NoAnswer, match=message) as caught:
        reply(GeminiModel(None, FAST))
    assert caught.value.reply == kept
    assert len(server.asked) == 1


def test_an_empty_answer_is_empty_and_thoughts_are_none_of_it(server: ModelServer) -> None:
    server.answer = lambda asked: gemini_says(None)
    assert reply(GeminiModel(None, FAST)) == ""
    parts = [{"text": "let me see", "thought": True}, {"text": LABEL}]
    body = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    server.answer = lambda asked: Said(body=json.dumps(body).encode())
    assert reply(GeminiModel(None, FAST)) == LABEL


@pytest.mark.parametrize(
    "said",
    [
        failing(503),
        failing(500),
        Said(hang_up=True),
        Said(reset=True),
        Said(body=b""),
        Said(body=b"<html>"),
        Said(body=gemini_says("x").body, cut=40),
        Said(body=b"[" * 100_000),
        Said(500, b"[" * 100_000),
        Said(500, b"\xff\xfe"),
        gzipped(gemini_says("x")),
        Said(body=b" " * (5 << 20)),
    ],
    ids=lambda said: repr(said)[:40],
)
def test_what_is_no_reply_is_tried_again_and_then_left_for_later(server: ModelServer, said: Said) -> None:
    server.answer = lambda asked: said
    with pytest.raises(Postponed, match="2 attempts failed"):
        reply(GeminiModel(None, FAST))
    assert len(server.asked) == 2


def test_the_wait_that_the_service_asks_for_is_kept(server: ModelServer) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "200s"}]
    busy = Said(429, json.dumps({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}).encode())
    server.answer = lambda asked: busy
    with pytest.raises(Postponed, match="refuses or is down"):
        reply(GeminiModel(None, FAST))
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (failing(403), ConfigError, "check GEMINI_API_KEY"),
        (Said(400, b'{"error": {"details": [{"reason": "API_KEY_INVALID"}]}}'), ConfigError, "check GEMINI_API_KEY"),
        (failing(404), ConfigError, "knows no such model"),
        (failing(400), NoAnswer, "refuses the request"),
    ],
)
def test_a_refusal_is_not_tried_again(server: ModelServer, said: Said, error: type[Exception], message: str) -> None:
    server.answer = lambda asked: said
    with pytest.raises(error, match=message) as caught:
        reply(GeminiModel(None, FAST))
    assert "what the client said" not in str(caught.value)
    assert "key-canary" not in str(caught.value)
    assert len(server.asked) == 1


def test_thoughts_are_paid_and_the_ceiling_holds(server: ModelServer) -> None:
    priced = {"usd_per_million_in": 1.0, "usd_per_million_out": 10.0, "max_spend_usd": 0.03, "account": "study"}
    model = GeminiModel(None, FAST.model_copy(update=priced))
    reply(model)
    ((scope, account, usd),) = spending()
    assert (scope, account) == (f"gemini/api-key/{DEFAULT_MODEL}", "study")
    assert usd == pytest.approx(100e-6 + 150e-6)
    with pytest.raises(Postponed, match="raise the ceiling"):
        for _ in range(100):
            reply(model)
    assert next(spending())[2] <= 0.03


def test_an_answer_begins_where_its_beginning_ends(server: ModelServer) -> None:
    server.answer = lambda asked: gemini_says("Reply: I am here.")
    model = GeminiModel(None, FAST)
    assert list(model.generate(HELLO, max_tokens=20, prefix="Reply: ")) == ["I am here."]
    assert "responseJsonSchema" not in server.asked[0].json["generationConfig"]


def test_it_is_a_transfer_and_needs_a_way_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROJECT_ID", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert sends_away("gemini")
    assert sends_away("gemini:any")
    with pytest.raises(ConfigError, match="needs PROJECT_ID and LOCATION"):
        open_model("gemini")
