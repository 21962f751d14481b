"""What a client may ask of `/v1/chat/completions`, and how it becomes a turn.

{"model": "…", "stream": true, "max_tokens": 96, "messages": [{"role": "user", "content": "…"}],
 "temperature": 0.7, "seed": 1, "stop": ["\\n"], "ai_therapist": {"conversation": "new", "notices": "field"}}

Messages are strings or lists of parts: text, image_url, input_audio, audio_url, video_url. Words of earlier messages
are context; a clip is looked at where it comes with the last one. System messages are taken and not used: the words
before the conversation are those that the model was tuned with, and no client can put others in their place.

A field that would change the answer elsewhere and cannot here is refused by name; null says nothing and is always
taken. Fields that only tell who asks (user, metadata, …) are taken and kept nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ai_therapist.inference.predict import Manner
from ai_therapist.models.protocol import GREEDY, Sampling
from ai_therapist.serving.config import ServingConfig
from ai_therapist.serving.refusal import Refused, wrong

_NOT_HERE = {
    "audio": "answers are words",
    "frequency_penalty": "words are never punished for coming again",
    "function_call": "the model calls nothing",
    "functions": "the model calls nothing",
    "logit_bias": "no client can make single tokens likelier",
    "logprobs": "likely alternatives would be words that the output gate has not read",
    "modalities": "answers are words",
    "parallel_tool_calls": "the model calls nothing",
    "prediction": "answers are never predicted by the client",
    "presence_penalty": "words are never punished for coming again",
    "reasoning_effort": "the model does not think aloud",
    "response_format": "the reply is plain text",
    "store": "nothing is stored",
    "tool_choice": "the model calls nothing",
    "tools": "the model calls nothing",
    "top_logprobs": "likely alternatives would be words that the output gate has not read",
    "verbosity": "how much the model says is bounded by max_tokens",
    "web_search_options": "nothing is searched",
}
"""Fields of OpenAI's that would change the answer, and why they do not."""

_SAY_NOTHING: Mapping[str, Sequence[object]] = {
    "frequency_penalty": (0, 0.0),
    "functions": ([],),
    "function_call": ("none",),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "presence_penalty": (0, 0.0),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "tool_choice": ("none",),
    "tools": ([],),
}
"""Values of these with which the answer is as it is without them."""

_IGNORED_OF_MESSAGES = frozenset({"name", "refusal"})
"""Fields of a message that change nothing in it."""

_MOST_MESSAGES = 4_096
"""The most that `serving.messages` may be."""
_MOST_PARTS = 512
"""Of one message: the most clips that `serving.clips` may be, and words to each."""
_MOST_PARTS_OF_ALL = 8_192
"""Of all messages together."""

_MOST_FAULTS = 1_000
"""More of them are counted and not read: to write out 100,000 takes longer than to find them."""

_PLAIN_STEP = re.compile(r"[a-z_]{1,40}")
_NO_QUOTE = frozenset(
    {
        "missing",
        "extra_forbidden",
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "finite_number",
        "too_short",
        "too_long",
        "string_too_short",
        "string_too_long",
        "string_type",
        "int_type",
        "int_from_float",
        "model_type",
        "float_type",
        "bool_type",
        "tuple_type",
        "dict_type",
        "literal_error",
        "value_error",
    }
)
"""Kinds of errors whose messages hold nothing of the input."""


class _Asked(BaseModel):
    """Base of all parts of a request: strict, without fields that nobody reads."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    def __repr__(self) -> str:
        """Its kind and none of its words."""
        return f"<{type(self).__name__}>"


class TextContent(_Asked):
    """Words."""

    type: Literal["text"]
    text: str


class Link(_Asked):
    """Where a clip is: a data URL, or a path or file URL below the allowed folder."""

    url: str


class PictureLink(Link):
    """Where a picture is; it is always looked at in the same detail."""

    detail: Literal["auto"] | None = None


class ImageContent(_Asked):
    """A picture."""

    type: Literal["image_url"]
    image_url: PictureLink


class VideoContent(_Asked):
    """A clip with its sound."""

    type: Literal["video_url"]
    video_url: Link


class AudioContent(_Asked):
    """Sound."""

    type: Literal["audio_url"]
    audio_url: Link


class Sound(_Asked):
    """Sound in base64."""

    data: str
    format: str


class InputAudioContent(_Asked):
    """Sound in OpenAI's own form."""

    type: Literal["input_audio"]
    input_audio: Sound


MediaContent = ImageContent | VideoContent | AudioContent | InputAudioContent
Content = Annotated[TextContent | MediaContent, Field(discriminator="type")]
Words = Annotated[str, Tag("words")]
# Where one is wrong the rest is not built: the event loop waits as long as a request is read.
Parts = Annotated[tuple[Content, ...], Field(max_length=_MOST_PARTS, fail_fast=True), Tag("parts")]


def _words_or_parts(value: object) -> str:
    return "words" if isinstance(value, str) else "parts"


class Said(_Asked):
    """One message of the request; a message of the model may be sent back as it came."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", hide_input_in_errors=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Words | Parts, Discriminator(_words_or_parts)]

    @field_validator("content")
    @classmethod
    def _within_the_budget(cls, value: str | tuple[Content, ...], info: ValidationInfo) -> str | tuple[Content, ...]:
        if isinstance(value, tuple) and isinstance(info.context, _Budget):
            info.context.parts -= len(value)
            if info.context.parts < 0:
                raise PydanticCustomError("too_many_parts", "too many parts")
        return value

    @property
    def text(self) -> str:
        """Its words."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, TextContent))

    @property
    def media(self) -> tuple[MediaContent, ...]:
        """Its clips, pictures and sounds."""
        if isinstance(self.content, str):
            return ()
        return tuple(part for part in self.content if not isinstance(part, TextContent))


class StreamOptions(_Asked):
    """OpenAI's options of a stream."""

    include_usage: bool | None = None
    """Whether a last chunk tells the tokens of the turn."""
    include_obfuscation: Literal[False] | None = None


class Extra(_Asked):
    """What OpenAI's form has no field for."""

    conversation: Annotated[str, Field(pattern=r"^(new|[A-Za-z0-9_-]{22})$")] | None = None
    """"new" begins a conversation that the server keeps, its id goes on with it. None: the request holds it all."""
    notices: Literal["content", "field"] = "content"
    """Where disclosures and helplines are shown: quoted in the reply's own text too, or in `ai_therapist` only."""

    @field_validator("notices", mode="before")
    @classmethod
    def _null_is_left_out(cls, value: object) -> object:
        return "content" if value is None else value


class ChatRequest(_Asked):
    """The body of a request. Fields beyond these are judged by `_refuse_unused`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", hide_input_in_errors=True)

    model: str | None = None
    messages: Annotated[tuple[Said, ...], Field(min_length=1, max_length=_MOST_MESSAGES, fail_fast=True)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Literal[1] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    """None is greedy, or 1 where `top_p` says that words are to be drawn."""
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    stop: (
        Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(max_length=4, fail_fast=True)]
        | None
    ) = None
    user: Annotated[str, Field(max_length=512)] | None = None
    safety_identifier: Annotated[str, Field(max_length=512)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=512)] | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
        ]
        | None
    ) = None
    service_tier: Literal["auto", "default"] | None = None
    ai_therapist: Extra = Extra()

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        if isinstance(value, str):
            return (value,)
        return tuple(value) if isinstance(value, list) else value

    @field_validator("ai_therapist", mode="before")
    @classmethod
    def _null_is_left_out(cls, value: object) -> object:
        return Extra() if value is None else value

    @property
    def manner(self) -> Manner:
        """How the reply is to be written."""
        sampling = GREEDY
        if self.temperature is not None or self.top_p is not None:
            temperature = 1.0 if self.temperature is None else self.temperature
            sampling = Sampling(temperature, 1.0 if self.top_p is None else self.top_p, self.seed)
        return Manner(GREEDY if sampling.is_greedy else sampling, self.stop or ())

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk that tells the tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def token_limit(self) -> int | None:
        """Tokens after which the client wants the model stopped."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def last(self) -> Said:
        """The message that is to be answered."""
        return self.messages[-1]

    @property
    def earlier(self) -> tuple[Said, ...]:
        """What client and model said before."""
        return tuple(said for said in self.messages[:-1] if said.role in ("user", "assistant"))

    @property
    def brings_instructions(self) -> bool:
        """Whether a system message came, which is not used."""
        return any(said.role in ("system", "developer") for said in self.messages)


@dataclass
class _Budget:
    """What a request may still bring while it is read."""

    parts: int = _MOST_PARTS_OF_ALL


def read_request(body: bytes, limits: ServingConfig) -> ChatRequest:
    """The request that a body holds. Raises Refused (400) where it holds none or exceeds a limit."""
    try:
        request = ChatRequest.model_validate_json(body, context=_Budget())
    except ValidationError as error:
        raise _misformed(error, limits) from None
    except (RecursionError, ValueError):
        raise wrong("invalid_request", "the body is no JSON object of a chat request") from None
    _refuse_unused(request)
    _refuse_excess(request, limits)
    if request.last.role != "user":
        raise wrong("last_message", "the last message must be the user's", "messages")
    if not request.last.text.strip():
        raise wrong("no_words", "write a few words, with a clip too: the safety check reads words only", "messages")
    if len(request.last.media) > 1:
        raise wrong("too_many_clips", "the last message may bring one clip, picture or sound", "messages")
    return request


def _refuse_excess(request: ChatRequest, limits: ServingConfig) -> None:
    if len(request.messages) > limits.messages:
        raise _too_many_messages(limits)
    if any(len(said.text) > limits.message_chars for said in request.messages):
        raise wrong("message_too_long", f"a message has more than {limits.message_chars} characters", "messages")
    if sum(len(said.media) for said in request.messages) > limits.clips:
        raise wrong(
            "too_many_clips", f"more than {limits.clips} clips, pictures and sounds (serving.clips)", "messages"
        )


def _too_many_messages(limits: ServingConfig) -> Refused:
    return wrong("too_many_messages", f"more than {limits.messages} messages (serving.messages)", "messages")


def _refuse_unused(request: ChatRequest) -> None:
    """Raises Refused for a field that would be ignored, and for two fields that contradict each other."""
    for name, value in (request.model_extra or {}).items():
        if value is None or any(type(value) is type(same) and value == same for same in _SAY_NOTHING.get(name, ())):
            continue
        if name in _NOT_HERE:
            raise wrong("unsupported_parameter", f"{name}: {_NOT_HERE[name]}; leave it out", name)
        raise _unknown(name)
    for place, said in enumerate(request.messages):
        for name, value in (said.model_extra or {}).items():
            if value is None or name in _IGNORED_OF_MESSAGES or (value == [] and name == "annotations"):
                continue
            raise _unknown(name, f"messages[{place}].")
    both = (request.max_tokens, request.max_completion_tokens)
    if None not in both and both[0] != both[1]:
        raise wrong(
            "contradiction", "max_tokens and max_completion_tokens are two names of one limit: send one", "max_tokens"
        )
    if request.stream_options is not None and not request.stream:
        raise wrong("contradiction", "stream_options: only with stream", "stream_options")


def _unknown(name: str, where: str = "") -> Refused:
    """The refusal of a field that does not exist; its name comes back only where it reads like one."""
    shown = f"{where}{name}" if _PLAIN_STEP.fullmatch(name) else None
    return wrong("unknown_parameter", f"{shown or 'a field of the request'}: no such field; leave it out", shown)


def _misformed(error: ValidationError, limits: ServingConfig) -> Refused:
    """The first fault of a request, in words that hold nothing of it."""
    if error.error_count() > _MOST_FAULTS:
        return wrong("invalid_request", f"the request has more than {_MOST_FAULTS} faults")
    detail = error.errors(include_url=False, include_input=False, include_context=False)[0]
    kind, path = detail["type"], _path(detail["loc"])
    if not detail["loc"]:
        return wrong("invalid_request", "the body is no JSON object of a chat request")
    if kind == "extra_forbidden":
        return _unknown(str(detail["loc"][-1]), f"{where}." if (where := _path(detail["loc"][:-1])) else "")
    if kind == "too_long" and path == "messages":
        return _too_many_messages(limits)
    if kind == "too_long" and detail["loc"][-1] == "parts":
        return wrong("too_many_parts", f"{path}: more than {_MOST_PARTS} parts", path)
    if kind == "too_many_parts":
        return wrong("too_many_parts", f"more than {_MOST_PARTS_OF_ALL} parts of messages", "messages")
    text = detail["msg"].removeprefix("Value error, ") if kind in _NO_QUOTE else kind.replace("_", " ")
    return wrong("invalid_value", f"{path or 'request'}: {text[:1].lower()}{text[1:]}", path or None)


def _path(steps: Sequence[Any]) -> str:
    """Where in the request, as messages[0].content[1].text; names of choices that pydantic puts in are left out."""
    path, choice = "", False
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
            choice = "content" in path
        elif not _PLAIN_STEP.fullmatch(step):
            break
        elif not choice and step not in ("words", "parts"):
            path += f".{step}" if path else step
        else:
            choice = False
    return path
