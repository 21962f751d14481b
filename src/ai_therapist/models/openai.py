"""Any server that speaks OpenAI's chat protocol: vLLM, SGLang, llama.cpp, Ollama, a cloud service.

    OPENAI_BASE_URL   where the server is; OpenAI's own where it is not set
    OPENAI_API_KEY    its key; a server on this machine needs none

A server on this machine (a loopback address) is no transfer of what people said, every other one is.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx2
import openai

from ai_therapist.errors import ConfigError, NoAnswer, Postponed, TransientError
from ai_therapist.models.address import OFFICIAL_URL, base_url, check_address, is_loopback
from ai_therapist.models.label_tokens import Candidate, label_masses, value_start
from ai_therapist.models.options import DEFAULTS, ModelOptions
from ai_therapist.models.protocol import GREEDY, JsonSchema, Sampling, Tally, answer_schema
from ai_therapist.models.shown import accepted, begun, check_shown, decoded, most_tokens, read_file, shows_media
from ai_therapist.models.wire import Reply, Service, bounded_client
from ai_therapist.pipeline.limits import Turn, call_in_turn, retry_after_s
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import AudioPart, ImagePart, Message, TextPart, VideoPart

_LARGEST_FILE_MB = 20
_TOP = 20
_LABEL_TOKENS = 64


class _Message(Reply):
    content: str | None = None
    refusal: str | None = None


class _Top(Reply):
    token: str
    logprob: float


class _Token(_Top):
    top_logprobs: tuple[_Top, ...] = ()


class _Logprobs(Reply):
    content: tuple[_Token, ...] | None = None


class _Choice(Reply):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(Reply):
    prompt_tokens: int
    completion_tokens: int


class _Completion(Reply):
    choices: tuple[_Choice, ...]
    usage: _Usage | None = None


class OpenAIModel:
    """A model on an OpenAI-compatible server: structured and sampling. Its key never leaves the connection."""

    def __init__(self, model: str, options: ModelOptions = DEFAULTS) -> None:
        """Raises ConfigError for an address that cannot be used and for a service elsewhere without a key."""
        self._url = base_url()
        check_address(self._url, "OPENAI_BASE_URL")
        key = os.environ.get("OPENAI_API_KEY")
        if not key and not is_loopback(self._url):
            raise ConfigError(f"model 'openai:{model}' needs a key: set OPENAI_API_KEY")
        self._model = model
        self._options = options
        self._clips = options.clips or "none"
        # Not the port: a server on this machine gets another one every day.
        host = urlsplit(self._url).hostname
        self._service = Service(f"openai/{host}/{model}", "OPENAI_API_KEY", options)
        self._name = f"openai:{model}@{host}" + _manner(options)
        self._client = openai.OpenAI(
            api_key=key or "none",
            base_url=self._url,
            max_retries=0,
            http_client=bounded_client(self._url, options.timeout_s),
        )

    @property
    def name(self) -> str:
        """Model and host, and what it is shown of a clip; the server does not tell a revision."""
        return self._name

    @property
    def accepts(self) -> frozenset[Modality]:
        """Text; pictures and sound where the settings say that they are sent."""
        return accepted(self._clips, self._options)

    def reply(self, messages: Sequence[Message], *, max_tokens: int, schema: JsonSchema | None) -> str:
        """The whole answer, constrained to the schema where there is one and the settings allow it."""
        request = self._request(messages, max_tokens)
        if schema is not None and self._options.structured:
            form = {"name": "answer", "strict": True, "schema": dict(schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": form}
        return self._call(request, messages, max_tokens).message.content or ""

    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Generator[str, None, None]:
        """Pieces of the answer as they come.

        Servers differ in how an answer is begun for them, so the model is asked to begin with `prefix` and what it
        repeats of it is left out. Raises what `reply` raises; TransientError where the stream breaks off.
        """
        yield from self.sample(messages, max_tokens=max_tokens, prefix=prefix, sampling=GREEDY, tally=Tally())

    def sample(
        self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "", sampling: Sampling, tally: Tally
    ) -> Generator[str, None, None]:
        """The same, with words chosen by `sampling`; the server counts at the end, and not where it is stopped."""
        asked = begun(messages, prefix)
        request = self._request(asked, max_tokens) | _chosen_by(sampling)
        pieces = self._stream(request, asked, max_tokens, tally)
        yield from _without(prefix, pieces) if prefix else pieces

    def _call(self, request: dict[str, Any], messages: Sequence[Message], max_tokens: int) -> _Choice:
        return call_in_turn(
            self._service.limiter,
            partial(self._ask, request, shows=shows_media(messages)),
            at_most_usd=self._at_most(messages, max_tokens),
            attempts=self._options.attempts,
        )

    def _ask(self, request: dict[str, Any], turn: Turn, *, shows: bool) -> _Choice:
        try:
            raw = self._client.chat.completions.with_raw_response.create(**request)
            body = raw.content
        except openai.OpenAIError as error:
            self._explain(error, turn, shows=shows)
        except httpx2.HTTPError as error:
            raise TransientError(f"the reply broke off ({type(error).__name__})") from None
        completion = self._service.read(_Completion, body)
        self._pay(turn, completion.usage)
        if not completion.choices:
            raise NoAnswer("the server gave no answer")
        choice = completion.choices[0]
        if choice.message.refusal:
            raise NoAnswer("the model refused", choice.message.refusal)
        _check_ending(choice.finish_reason, choice.message.content)
        return choice

    def _stream(
        self, request: dict[str, Any], messages: Sequence[Message], max_tokens: int, tally: Tally
    ) -> Iterator[str]:
        at_most = self._at_most(messages, max_tokens)
        with self._service.limiter.turn(at_most) as turn:
            try:
                ending: str | None = None
                usage: _Usage | None = None
                # Left open, the server would go on writing for nobody.
                with self._client.chat.completions.create(
                    **request, stream=True, stream_options={"include_usage": True}
                ) as chunks:
                    for chunk in chunks:
                        if chunk.usage is not None:
                            usage = _Usage.model_validate(chunk.usage.model_dump())
                        for choice in chunk.choices:
                            ending = choice.finish_reason or ending
                            if choice.delta.content:
                                yield choice.delta.content
            except GeneratorExit:
                # Who asked has read enough; what the rest would have cost is not known.
                turn.succeeded()
                raise
            except openai.OpenAIError as error:
                self._explain(error, turn, shows=shows_media(messages))
            except (httpx2.HTTPError, ValueError) as error:
                raise TransientError(f"the reply broke off ({type(error).__name__})") from None
            self._pay(turn, usage)
        if usage is not None:
            tally.read, tally.written = usage.prompt_tokens, usage.completion_tokens
        tally.at_limit = ending == "length"
        if ending == "content_filter":
            raise NoAnswer("blocked by the filter of the service")

    def _explain(self, error: openai.OpenAIError, turn: Turn, *, shows: bool) -> NoReturn:
        """Raise what an error of the library means; it quotes the request, so nothing of it is kept."""
        if isinstance(error, openai.APIStatusError):
            wait_s = retry_after_s(error.response.headers.get("Retry-After"), self._service.limiter.now())
            if error.status_code == 429 and error.code == "insufficient_quota":
                turn.succeeded(0.0)
                raise Postponed(f"{self._service.scope}: the account has no credit left: add some, then run it again")
            self._service.raise_failure(turn, error.status_code, wait_s, shows_media=shows)
        reason = "no answer in time" if isinstance(error, openai.APITimeoutError) else "no connection"
        passing = TransientError(f"{reason} ({type(error.__cause__ or error).__name__})")
        # A connection that never stood has cost nothing.
        turn.failed(passing, charged=not isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout))
        raise passing from None

    def _pay(self, turn: Turn, usage: _Usage | None) -> None:
        turn.succeeded(None if usage is None else self._options.cost_usd(usage.prompt_tokens, usage.completion_tokens))

    def _at_most(self, messages: Sequence[Message], max_tokens: int) -> float:
        """The most dollars that a request can cost."""
        return self._options.cost_usd(most_tokens(messages, self._options), max_tokens)

    def _request(self, messages: Sequence[Message], max_tokens: int) -> dict[str, Any]:
        check_shown(messages, self.accepts, self.name)
        # OpenAI's own newer models know only the one name, older servers only the other.
        limit = "max_completion_tokens" if self._url.startswith(OFFICIAL_URL) else "max_tokens"
        request: dict[str, Any] = {"model": self._model, "messages": [self._as_chat(m) for m in messages]}
        return request | {limit: max_tokens, "temperature": 0}

    def _as_chat(self, message: Message) -> dict[str, Any]:
        if all(isinstance(part, TextPart) for part in message.parts):
            return {"role": message.role, "content": message.text}
        return {"role": message.role, "content": [piece for part in message.parts for piece in self._pieces(part)]}

    def _pieces(self, part: TextPart | ImagePart | VideoPart | AudioPart) -> Iterator[dict[str, Any]]:
        """A part as the protocol has it. Raises UnreadableMedia and CannotTake."""
        match part:
            case TextPart():
                yield {"type": "text", "text": part.text}
            case VideoPart() if self._clips == "video":
                data = read_file(Path(part.path), _LARGEST_FILE_MB)
                yield {"type": "video_url", "video_url": {"url": _data_url(data, "video/mp4")}}
            case ImagePart() | AudioPart() | VideoPart():
                for data, kind in decoded(part, self._options):
                    if kind == "audio/wav":
                        sound = {"data": base64.b64encode(data).decode("ascii"), "format": "wav"}
                        yield {"type": "input_audio", "input_audio": sound}
                    else:
                        yield {"type": "image_url", "image_url": {"url": _data_url(data, kind)}}


class ScoringOpenAIModel(OpenAIModel):
    """The same, which also weighs labels by the probabilities of the tokens it writes: a LabelScorer."""

    def score(self, messages: Sequence[Message], labels: Sequence[str], *, prefix: str = "") -> dict[str, float]:
        """Probability of each label, from the alternatives that the server tells for each token of its answer.

        The server tells twenty alternatives at most; a label that is not among them has none, and alternatives that
        begin several labels are shared out among them. Raises NoAnswer where the server tells no log-probabilities.
        """
        key = prefix.removeprefix('{"').partition('"')[0] or "label"
        request = self._request(messages, _LABEL_TOKENS) | {"logprobs": True, "top_logprobs": _TOP}
        if self._options.structured:
            form = {"name": "answer", "strict": True, "schema": dict(answer_schema(key, labels))}
            request["response_format"] = {"type": "json_schema", "json_schema": form}
        choice = self._call(request, messages, _LABEL_TOKENS)
        if choice.logprobs is None or not choice.logprobs.content:
            raise NoAnswer("the server tells no log-probabilities", choice.message.content)
        tokens = [
            [Candidate(token.token, token.logprob), *(Candidate(top.token, top.logprob) for top in token.top_logprobs)]
            for token in choice.logprobs.content
        ]
        start = value_start("".join(one[0].text for one in tokens), key)
        if start is None:
            raise NoAnswer("the answer names no label", choice.message.content)
        masses = label_masses(tokens, start, labels)
        if masses is None:
            raise NoAnswer("the answer begins none of the labels", choice.message.content)
        return masses


def _manner(options: ModelOptions) -> str:
    """What of the settings changes the answers."""
    shown = {"video": ", clips as files", "frames": f", {options.frames} frames"}.get(options.clips or "none", "")
    heard = " with sound" if options.clips == "frames" and options.sound else ""
    return shown + heard + (", labels by log-probabilities" if options.logprobs else "")


def _chosen_by(sampling: Sampling) -> dict[str, Any]:
    """The protocol's names of a sampling; what servers take for granted is left out, as some know only a few."""
    request: dict[str, Any] = {"temperature": sampling.temperature}
    if sampling.top_p != 1:
        request["top_p"] = sampling.top_p
    if sampling.seed is not None:
        request["seed"] = sampling.seed
    return request


def _check_ending(reason: str | None, text: str | None) -> None:
    """Raises NoAnswer for a reply that ended before its end."""
    if reason == "content_filter":
        raise NoAnswer("blocked by the filter of the service", text)
    if reason == "length":
        raise NoAnswer("the reply was cut off at the limit of tokens", text)


def _without(prefix: str, pieces: Iterator[str]) -> Iterator[str]:
    """The pieces without `prefix` at their beginning, where they repeat it."""
    held = ""
    for piece in pieces:
        held += piece
        if len(held) >= len(prefix):
            break
        if not prefix.startswith(held):
            break
    rest = held.removeprefix(prefix)
    if rest:
        yield rest
    yield from pieces


def _data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
