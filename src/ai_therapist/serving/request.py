"""What a client may ask of `/v1/chat/completions`, and how it becomes a turn.

{"model": "…", "stream": true, "max_tokens": 96, "messages": [{"role": "user", "content": "…"}],
 "ai_therapist": {"conversation": "new", "notices": "field"}}

Messages are strings or lists of parts: text, image_url, input_audio, audio_url, video_url. Words of earlier messages
are context; a clip is looked at where it comes with the last one. System messages are taken and not used: the words
before the conversation are those that the model was tuned with, and no client can put others in their place.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ai_therapist.errors import InvalidRecord
from ai_therapist.serving.config import ServingConfig
from ai_therapist.serving.refusal import wrong
from ai_therapist.store.codec import decode


class _Asked(BaseModel):
    """Base of all parts of a request: strict, blind to fields of OpenAI's that it does not know."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

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


class ImageContent(_Asked):
    """A picture."""

    type: Literal["image_url"]
    image_url: Link


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


class Said(_Asked):
    """One message of the request."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | tuple[Content, ...]

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

    include_usage: bool = False


class ResponseFormat(_Asked):
    """The form of the answer; the reply is one line of text."""

    type: Literal["text"]


class Extra(_Asked):
    """What OpenAI's form has no field for."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    conversation: Annotated[str, Field(pattern=r"^(new|[A-Za-z0-9_-]{22})$")] | None = None
    """"new" begins a conversation that the server keeps, its id goes on with it. None: the request holds it all."""
    notices: Literal["content", "field"] = "content"
    """Where disclosures and helplines are shown: quoted in the reply's own text too, or in `ai_therapist` only."""


class ChatRequest(_Asked):
    """The body of a request."""

    model: str | None = None
    messages: Annotated[tuple[Said, ...], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Literal[1] | None = None
    response_format: ResponseFormat | None = None
    logprobs: Literal[False] | None = None
    tools: Annotated[tuple[()], Field()] | None = None
    ai_therapist: Extra = Extra()

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


def read_request(body: bytes, limits: ServingConfig) -> ChatRequest:
    """The request that a body holds. Raises Refused (400) where it holds none or exceeds a limit."""
    try:
        request = decode(ChatRequest, body, "request")
    except InvalidRecord as error:
        raise wrong("invalid_request", str(error)) from None
    except (ValidationError, RecursionError, ValueError):
        raise wrong("invalid_request", "the body is no JSON object of a chat request") from None
    _refuse_excess(request, limits)
    if request.last.role != "user":
        raise wrong("last_message", "the last message must be the user's")
    if not request.last.text.strip():
        raise wrong("no_words", "write a few words, with a clip too: the safety check reads words only")
    if len(request.last.media) > 1:
        raise wrong("too_many_clips", "the last message may bring one clip, picture or sound")
    return request


def _refuse_excess(request: ChatRequest, limits: ServingConfig) -> None:
    if len(request.messages) > limits.messages:
        raise wrong("too_many_messages", f"more than {limits.messages} messages (serving.messages)")
    if any(len(said.text) > limits.message_chars for said in request.messages):
        raise wrong("message_too_long", f"a message has more than {limits.message_chars} characters")
    if sum(len(said.media) for said in request.messages) > limits.clips:
        raise wrong("too_many_clips", f"more than {limits.clips} clips, pictures and sounds (serving.clips)")
