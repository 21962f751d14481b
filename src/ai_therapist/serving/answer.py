"""Events of a turn in OpenAI's form: chunks of a stream, or one completion.

Tokens are those of the reply (see events.Usage); a stream tells them in a last chunk without choices, where it is asked
to. Everything that OpenAI's form has no place for stands in the extra field `ai_therapist`:

chunk       {"object": "chat.completion.chunk", "choices": […], "ai_therapist": {"conversation": …, "event": {…}}}
completion  {"object": "chat.completion", "choices": […], "ai_therapist": {"conversation": …, "events": [{…}, …]}}

A client that knows nothing of the field must not lose a helpline, so disclosures and cards stand in the text as well,
as quoted lines ("> …"), unless it asks for `"notices": "field"`. Quoted lines of an assistant's message that a client
sends back are dropped again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_hex
from typing import Literal

from ai_therapist import __version__
from ai_therapist.inference.events import Card, Disclosure, Done, Event, ReplyPiece

Json = dict[str, object]
Finish = Literal["stop", "length", "content_filter"]

_FINISH: dict[str, Finish] = {"stopped_at_limit": "length", "withheld": "content_filter"}


def without_notices(text: str) -> str:
    """An assistant's message as the model said it: quoted lines are the shell's and not the model's."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(">")).strip()


@dataclass
class Answer:
    """One answer on its way to a client."""

    model: str
    conversation: str | None
    notices: Literal["content", "field"]
    remarks: tuple[str, ...] = ()
    """Codes of what was taken and not used."""
    id: str = field(default_factory=lambda: f"chatcmpl-{token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    _begun: bool = False
    _spoken: bool = False

    def chunk(self, event: Event) -> Json:
        """The chunk that carries an event."""
        delta: Json = {} if self._begun else {"role": "assistant"}
        text = self._text(event)
        if text:
            delta["content"] = text
        self._begun = True
        finish = finish_reason(event) if isinstance(event, Done) else None
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._frame("chat.completion.chunk", [choice], {"event": event.model_dump(mode="json")})

    def last_chunk(self, usage: Json | None) -> Json:
        """The chunk behind the last event, which tells the tokens of the turn; null where the model does not count."""
        return self._frame("chat.completion.chunk", [], {}) | {"usage": usage}

    def completion(self, events: Sequence[Event]) -> Json:
        """The whole answer."""
        text = "".join(self._shown(events))
        done = next((finish_reason(event) for event in events if isinstance(event, Done)), "stop")
        message = {"role": "assistant", "content": text.strip(), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": done}
        extra: Json = {"events": [event.model_dump(mode="json") for event in events]}
        usage = next((found for event in events if (found := usage_of(event))), None)
        return self._frame("chat.completion", [choice], extra) | {"usage": usage}

    def _shown(self, events: Sequence[Event]) -> Iterator[str]:
        for event in events:
            yield self._text(event)
            self._begun = True

    def _text(self, event: Event) -> str:
        match event:
            case ReplyPiece():
                # Before it and not behind it, so that nothing follows the last word.
                joint, self._spoken = " " if self._spoken else "", True
                return f"{joint}{event.text}"
            case Card() | Disclosure() if self.notices == "content":
                quoted = "\n".join(f"> {line}" for line in event.text.splitlines())
                self._spoken = False
                return f"{quoted}\n\n" if not self._begun else f"\n\n{quoted}\n\n"
            case _:
                return ""

    def _frame(self, kind: str, choices: list[Json], extra: Json) -> Json:
        about: Json = {"conversation": self.conversation, "remarks": list(self.remarks), **extra}
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": f"fp_{sha256(f'{__version__} {self.model}'.encode()).hexdigest()[:10]}",
            "choices": choices,
            "ai_therapist": about,
        }


def finish_reason(done: Done) -> Finish:
    """OpenAI's word for the way in which a turn ended."""
    return _FINISH.get(done.outcome, "stop")


def usage_of(event: Event) -> Json | None:
    """OpenAI's count of tokens, where the event tells them."""
    if not isinstance(event, Done) or event.usage is None:
        return None
    counted: Json = event.usage.model_dump(mode="json")
    return counted | {"total_tokens": event.usage.prompt_tokens + event.usage.completion_tokens}


def as_sse(value: Json | Literal["[DONE]"]) -> bytes:
    """One server-sent event."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()
