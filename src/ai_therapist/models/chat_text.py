"""Messages as the text that a model's chat template makes of them, each by itself.

Trunk and branch need templates that write a message the same way wherever it stands: a kept trunk would otherwise
differ from the prompt that evaluation and serving see. One that rewrites or moves what came before (Mistral's puts the
system message into the first user message) is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from jinja2.exceptions import TemplateError

from ai_therapist.errors import ConfigError
from ai_therapist.records.message import Message, TextPart
from ai_therapist.videollama2.chat_templates import CHATML

_TURN_START = "<|im_start|>"
_PROBE = "reply"


class ChatText:
    """A tokenizer with its chat template: ChatML where the tokenizer has its control tokens, else its own."""

    def __init__(self, tokenizer: Any) -> None:
        """Raises ConfigError where there is no template, or one that does not write every message by itself."""
        self.tokenizer = tokenizer
        self.template: str | None = CHATML if _TURN_START in tokenizer.get_vocab() else tokenizer.chat_template
        if self.template is None:
            raise self._unfit("has no chat template")
        self._root = Message.of_text("system", "talk")
        self._root_text = self._text((self._root,), answer=False)
        self.answer_start = self._added(self._root_text, self._text((self._root,), answer=True))
        """What stands before an answer."""
        self.end = self._end()
        """Id of the token that ends an answer."""
        self._check()

    def piece(self, message: Message) -> str:
        """Text of one message, with `<video>` at the place of its clip."""
        if message.role == "system":
            return self._text((message,), answer=False)
        return self._added(self._root_text, self._text((self._root, message), answer=False))

    def prompt(self, messages: Sequence[Message]) -> str:
        """Text of the messages up to where the answer begins."""
        return "".join(map(self.piece, messages)) + self.answer_start

    def ids(self, text: str) -> list[int]:
        """Tokens of a piece of a prompt; control tokens in it are control tokens."""
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def answer_ids(self, text: str) -> list[int]:
        """Tokens of a piece of an answer; control tokens in it are read as the words they look like."""
        found: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return found

    def _text(self, messages: Sequence[Message], *, answer: bool) -> str:
        chat = [{"role": message.role, "content": _content(message)} for message in messages]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    chat, chat_template=self.template, add_generation_prompt=answer, tokenize=False
                )
            )
        except TemplateError:
            raise self._unfit("refuses a system message or a talk that the assistant begins") from None

    def _added(self, before: str, text: str) -> str:
        if not text.startswith(before):
            raise self._unfit("rewrites earlier messages")
        return text[len(before) :]

    def _end(self) -> int:
        answer = self.piece(Message.of_text("assistant", _PROBE)).removeprefix(self.answer_start)
        ids = self.ids(self._added(_PROBE, answer))
        if not ids:
            raise self._unfit("marks no end of an answer")
        return ids[0]

    def _check(self) -> None:
        roles: tuple[Literal["user", "assistant"], ...] = ("assistant", "user", "user", "assistant", "user")
        talk = (self._root, *(Message.of_text(role, f"{_PROBE} {at}") for at, role in enumerate(roles)))
        if self._text(talk, answer=True) != self.prompt(talk):
            raise self._unfit("writes a message differently by its place")

    def _unfit(self, reason: str) -> ConfigError:
        return ConfigError(
            f"the chat template of {str(self.tokenizer.name_or_path) or 'the tokenizer'!r} {reason}; "
            "use an instruct model whose template writes every message by itself, as Qwen2.5's does"
        )


def _content(message: Message) -> str | list[dict[str, str]]:
    if all(isinstance(part, TextPart) for part in message.parts):
        return message.text
    return [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": part.kind}
        for part in message.parts
    ]
