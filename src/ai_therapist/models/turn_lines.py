"""How turns of a transcript stand in a prompt: one marked line each, so that data is told from instruction.

    7f3a91c2 client: i could not sleep again
    7f3a91c2 therapist: what kept you awake

Every line of the transcript begins with the mark of the request, which no turn contains. A turn cannot break out of
its line, because its white space is collapsed, and cannot forge a line, because it cannot know the mark.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ai_therapist.records.message import Message
from ai_therapist.records.session import Role

_LINE = re.compile(rf"^[0-9a-f]{{8}} ({'|'.join(Role)}): (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class TurnLine:
    """A turn as a prompt shows it. `role` is None where a text came without one."""

    role: Role | None
    text: str


def mark_for(texts: Sequence[str]) -> str:
    """Eight hexadecimal digits that occur in none of the texts: the first that a sha256 over them gives.

    The same texts give the same mark, so a request has one digest; a turn that wanted to contain its own mark would
    have to be a fixed point of the hash.
    """
    digest = hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    while any(digest[:8] in text for text in texts):
        digest = hashlib.sha256(digest.encode()).hexdigest()
    return digest[:8]


def render_turn(mark: str, role: Role, text: str) -> str:
    """The marked line of one turn, without a newline at its end."""
    return f"{mark} {role.value}: {' '.join(text.split())}"


def read_turns(messages: Sequence[Message]) -> list[TurnLine]:
    """The turns that the user's messages show, oldest first; the last one is the turn in question.

    Where no line is marked, every message that is not the system's counts as one turn without a role. Raises
    ValueError where nothing but white space is left.
    """
    shown = [message.text for message in messages if message.role == "user"]
    turns = [TurnLine(Role(match[1]), match[2]) for text in shown for match in _LINE.finditer(text)]
    if not turns:
        texts = [message.text for message in messages if message.role != "system"]
        turns = [TurnLine(None, text) for text in texts if text.strip()]
    if not turns:
        raise ValueError("the messages hold no words to judge")
    return turns
