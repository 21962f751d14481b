"""Gemini through google-genai: on Vertex AI (PROJECT_ID, LOCATION) or with a key (GEMINI_API_KEY).

    PROJECT_ID       Google Cloud project; with it Vertex AI is used, under the credentials of the machine
    LOCATION         its region, "global" where it is not set
    GEMINI_API_KEY   key of the Gemini Developer API, used where no project is set
    MODEL_NAME       model, where the spec names none

A clip is part of the call where it is small; a larger one is uploaded to the Developer API's file store, waited for,
and deleted after the call, whether that failed or not. Vertex AI has no such store, so there a larger clip is refused.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import httpx2
from google import genai
from google.auth.exceptions import GoogleAuthError
from google.genai import errors, types
from pydantic import Field

from ai_therapist.errors import CannotTake, ConfigError, NoAnswer, TransientError
from ai_therapist.models.options import DEFAULTS, ModelOptions
from ai_therapist.models.protocol import GREEDY, JsonSchema, Sampling, Tally
from ai_therapist.models.shown import accepted, begun, check_shown, decoded, most_tokens, shows_media
from ai_therapist.models.wire import Reply, Service, bounded_client
from ai_therapist.pipeline.limits import Turn, call_in_turn, retry_after_s
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import AudioPart, ImagePart, Message, TextPart, VideoPart

DEFAULT_MODEL = "gemini-3.8-flash"
"""A stable model without a date of shutdown, by ai.google.dev/gemini-api/docs/deprecations as of September 2026; the
1.5 models of older recipes are gone."""

_LARGEST_CALL = 15 << 20
_LARGEST_FILE = 500 << 20
_FILE_WAIT_S = 120.0
_POLL_S = 1.0
_THOUGHTS = {"minimal": 512, "low": 2_048, "medium": 8_192, "high": 24_576}
"""Tokens that are allowed for thoughts beside the answer."""
_ENDINGS = {"STOP", "FINISH_REASON_UNSPECIFIED", None}


class _Part(Reply):
    text: str | None = None
    thought: bool = False


class _Content(Reply):
    parts: tuple[_Part, ...] = ()


class _Candidate(Reply):
    content: _Content = _Content()
    finish: str | None = Field(None, alias="finishReason")


class _Feedback(Reply):
    block: str | None = Field(None, alias="blockReason")


class _Usage(Reply):
    prompt: int = Field(0, alias="promptTokenCount")
    candidates: int = Field(0, alias="candidatesTokenCount")
    thoughts: int = Field(0, alias="thoughtsTokenCount")


class _Generated(Reply):
    candidates: tuple[_Candidate, ...] = ()
    feedback: _Feedback = Field(_Feedback(), alias="promptFeedback")
    usage: _Usage | None = Field(None, alias="usageMetadata")


class GeminiModel:
    """A Gemini model that sees and hears clips: a StructuredGenerator and SamplingGenerator."""

    def __init__(self, model: str | None = None, options: ModelOptions = DEFAULTS) -> None:
        """Raises ConfigError where neither a project nor a key is set."""
        self._model = model or os.environ.get("MODEL_NAME") or DEFAULT_MODEL
        self._options = options
        self._clips = options.clips or "video"
        project = os.environ.get("PROJECT_ID")
        key = os.environ.get("GEMINI_API_KEY")
        if not project and not key:
            raise ConfigError("model 'gemini' needs PROJECT_ID and LOCATION (Vertex AI) or GEMINI_API_KEY")
        credential = "PROJECT_ID, LOCATION and the credentials of this machine" if project else "GEMINI_API_KEY"
        self._service = Service(f"gemini/{project or 'api-key'}/{self._model}", credential, options)
        self._on_vertex = bool(project)
        http = types.HttpOptions(
            httpx_client=bounded_client(None, options.timeout_s),
            timeout=round(options.timeout_s * 1000),
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        # Held in an attribute: a client that nobody holds closes itself.
        if project:
            location = os.environ.get("LOCATION") or "global"
            self._client = genai.Client(vertexai=True, project=project, location=location, http_options=http)
        else:
            self._client = genai.Client(vertexai=False, api_key=key, http_options=http)

    @property
    def name(self) -> str:
        """Model and way to it, and what it is shown of a clip."""
        shown = {"video": "", "frames": f", {self._options.frames} frames", "none": ", words only"}[self._clips]
        heard = " with sound" if self._clips == "frames" and self._options.sound else ""
        return f"gemini:{self._model}@{'vertex' if self._on_vertex else 'key'}{shown}{heard}"

    @property
    def accepts(self) -> frozenset[Modality]:
        """Text, pictures and sound, unless the settings leave clips out."""
        return accepted(self._clips, self._options)

    def reply(self, messages: Sequence[Message], *, max_tokens: int, schema: JsonSchema | None) -> str:
        """The whole answer, constrained to the schema where there is one and the settings allow it."""
        config = self._config(messages, max_tokens, GREEDY, schema if self._options.structured else None)
        return self._written(messages, max_tokens, config, Tally())

    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        """The answer in one piece, without `prefix` where it repeats it. Raises what `reply` raises."""
        yield from self.sample(messages, max_tokens=max_tokens, prefix=prefix, sampling=GREEDY, tally=Tally())

    def sample(
        self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "", sampling: Sampling, tally: Tally
    ) -> Iterator[str]:
        """The same, with words chosen by `sampling`; the service counts its thoughts among the words."""
        asked = begun(messages, prefix)
        config = self._config(asked, max_tokens, sampling, None)
        yield self._written(asked, max_tokens, config, tally).removeprefix(prefix)

    def _written(
        self, messages: Sequence[Message], max_tokens: int, config: types.GenerateContentConfig, tally: Tally
    ) -> str:
        check_shown(messages, self.accepts, self.name)
        with ExitStack() as uploads:
            contents = [self._content(message, uploads) for message in messages if message.role != "system"]
            return call_in_turn(
                self._service.limiter,
                partial(self._ask, contents, config, tally, shows=shows_media(messages)),
                at_most_usd=self._at_most(messages, max_tokens),
                attempts=self._options.attempts,
            )

    def _ask(
        self,
        contents: list[types.Content],
        config: types.GenerateContentConfig,
        tally: Tally,
        turn: Turn,
        *,
        shows: bool,
    ) -> str:
        try:
            # A copy, since the library writes into lists that it is given.
            raw = self._client.models.generate_content(model=self._model, contents=list(contents), config=config)
        except (errors.APIError, httpx2.HTTPError, GoogleAuthError) as error:
            self._explain(error, turn, shows=shows)
        except (ValueError, RecursionError) as error:
            raise TransientError(f"an error that cannot be read ({type(error).__name__})") from None
        body = raw.sdk_http_response.body if raw.sdk_http_response is not None else None
        generated = self._service.read(_Generated, body or "")
        usage = generated.usage
        turn.succeeded(
            None if usage is None else self._options.cost_usd(usage.prompt, usage.candidates + usage.thoughts)
        )
        if usage is not None:
            tally.read, tally.written = usage.prompt, usage.candidates + usage.thoughts
        return _text_of(generated)

    def _explain(
        self, error: errors.APIError | httpx2.HTTPError | GoogleAuthError, turn: Turn, *, shows: bool
    ) -> NoReturn:
        """Raise what an error of the library means; it quotes the request, so nothing of it is kept."""
        if isinstance(error, errors.APIError):
            status, wait_s = error.code, _wished_wait_s(error, self._service.limiter.now())
            if status == 400 and "API_KEY_INVALID" in str(error.details):
                status = 401
            self._service.raise_failure(turn, status, wait_s, shows_media=shows)
        if isinstance(error, GoogleAuthError):
            turn.succeeded(0.0)
            raise ConfigError(
                f"{self._service.scope}: no credentials of Google Cloud ({type(error).__name__}): "
                "log in with  gcloud auth application-default login"
            ) from None
        passing = TransientError(f"no answer ({type(error).__name__})")
        # A connection that never stood has cost nothing.
        turn.failed(passing, charged=not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout))
        raise passing from None

    def _config(
        self, messages: Sequence[Message], max_tokens: int, sampling: Sampling, schema: JsonSchema | None
    ) -> types.GenerateContentConfig:
        system = "\n".join(message.text for message in messages if message.role == "system")
        form: dict[str, Any] = {}
        if schema is not None:
            form = {"response_mime_type": "application/json", "response_json_schema": dict(schema)}
        return types.GenerateContentConfig(
            system_instruction=system or None,
            temperature=sampling.temperature,
            top_p=None if sampling.top_p == 1 else sampling.top_p,
            seed=sampling.seed,
            max_output_tokens=max_tokens + _THOUGHTS[self._options.thinking],
            thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel(self._options.thinking.upper())),
            should_return_http_response=True,
            **form,
        )

    def _content(self, message: Message, uploads: ExitStack) -> types.Content:
        parts = [piece for part in message.parts for piece in self._pieces(part, uploads)]
        return types.Content(role="model" if message.role == "assistant" else "user", parts=parts)

    def _pieces(self, part: TextPart | ImagePart | VideoPart | AudioPart, uploads: ExitStack) -> Iterator[types.Part]:
        """A part as the service has it, uploaded where it is large. Raises UnreadableMedia and CannotTake."""
        match part:
            case TextPart():
                yield types.Part.from_text(text=part.text)
            case VideoPart() if self._clips == "video":
                yield self._file(Path(part.path), "video/mp4", uploads)
            case ImagePart() | AudioPart() | VideoPart():
                for data, kind in decoded(part, self._options):
                    yield types.Part.from_bytes(data=data, mime_type=kind)

    def _file(self, path: Path, kind: str, uploads: ExitStack) -> types.Part:
        size = path.stat().st_size
        inline = _LARGEST_CALL if self._on_vertex else min(self._options.upload_above_mb * (1 << 20), _LARGEST_CALL)
        if size <= inline:
            return types.Part.from_bytes(data=path.read_bytes(), mime_type=kind)
        if self._on_vertex or size > _LARGEST_FILE:
            raise CannotTake(f"clip larger than {(_LARGEST_CALL if self._on_vertex else _LARGEST_FILE) >> 20} MB")
        file = call_in_turn(
            self._service.limiter, partial(self._upload, path, kind, uploads), attempts=self._options.attempts
        )
        return types.Part.from_uri(file_uri=file.uri or "", mime_type=kind)

    def _upload(self, path: Path, kind: str, uploads: ExitStack, turn: Turn) -> types.File:
        """The file in the service's store, ready to be shown; it is deleted when `uploads` closes."""
        # A name of ours, known before the upload, so that a file is deleted whose upload was cut off.
        name = f"files/{uuid.uuid4().hex}"
        uploads.callback(self._delete, name)
        try:
            # Opened here: from a path the service would be told the file's name.
            with path.open("rb") as opened:
                config = types.UploadFileConfig(mime_type=kind, name=name)
                file = self._client.files.upload(file=opened, config=config)
            deadline = time.monotonic() + _FILE_WAIT_S
            while file.state is types.FileState.PROCESSING or file.state is None:
                if time.monotonic() > deadline:
                    raise TransientError("the uploaded clip was not made ready in time")
                time.sleep(_POLL_S)
                file = self._client.files.get(name=name)
        except (errors.APIError, httpx2.HTTPError, GoogleAuthError) as error:
            self._explain(error, turn, shows=True)
        except (KeyError, ValueError) as error:
            raise TransientError(f"the upload was answered with nonsense ({type(error).__name__})") from None
        turn.succeeded(0.0)
        if file.state is not types.FileState.ACTIVE:
            raise CannotTake("the service cannot read the clip")
        return file

    def _delete(self, name: str) -> None:
        """Delete an uploaded file; one that cannot be deleted now goes by itself after two days."""
        for _ in range(3):
            try:
                self._client.files.delete(name=name)
            except errors.APIError as error:
                if error.code == 404:
                    return
            except (httpx2.HTTPError, ValueError):
                pass
            else:
                return
            time.sleep(_POLL_S)

    def _at_most(self, messages: Sequence[Message], max_tokens: int) -> float:
        """The most dollars that a request can cost."""
        read, thoughts = most_tokens(messages, self._options), _THOUGHTS[self._options.thinking]
        return self._options.cost_usd(read, max_tokens + thoughts)


def _text_of(generated: _Generated) -> str:
    """The words of a reply; empty where it has none. Raises NoAnswer for one that was blocked or cut off."""
    if generated.feedback.block is not None:
        raise NoAnswer(f"blocked by the service: {_known(generated.feedback.block, types.BlockedReason)}")
    if not generated.candidates:
        raise NoAnswer("the service gave no answer")
    answer = generated.candidates[0]
    text = "".join(part.text or "" for part in answer.content.parts if not part.thought)
    if answer.finish == "MAX_TOKENS":
        raise NoAnswer("the reply was cut off at the limit of tokens", text)
    if answer.finish not in _ENDINGS:
        raise NoAnswer(f"blocked by the service: {_known(answer.finish or '', types.FinishReason)}", text)
    return text


def _known(reason: str, kind: type[types.FinishReason] | type[types.BlockedReason]) -> str:
    """The reason, where it is one that the library knows: a reason is shown, and must not be free text."""
    return reason if reason in {each.value for each in kind} else "for a reason that is not known"


def _wished_wait_s(error: errors.APIError, now: float) -> float | None:
    """How long the service asks to wait: in a header, or among the details of its error."""
    headers = getattr(error.response, "headers", None)
    if headers is not None and headers.get("Retry-After") is not None:
        return retry_after_s(headers.get("Retry-After"), now)
    inner = error.details.get("error") if isinstance(error.details, dict) else None
    details = inner.get("details") if isinstance(inner, dict) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            return retry_after_s(delay.removesuffix("s"), now)
    return None
