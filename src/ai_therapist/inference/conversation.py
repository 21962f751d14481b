"""The state of a conversation: turns in order, kept in memory and nowhere else."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ai_therapist.records import Role, Turn
from ai_therapist.records.ids import content_id

Speaking = Literal[Role.CLIENT, Role.THERAPIST]


@dataclass(frozen=True)
class Spoken:
    """One turn, and the clip that came with it."""

    turn: Turn
    clip: Path | None


@dataclass(frozen=True)
class Conversation:
    """An unchangeable list of turns; each method that adds one returns a new conversation."""

    id: str
    turns: tuple[Spoken, ...] = ()

    @classmethod
    def new(cls) -> Conversation:
        """An empty conversation with an id of its own."""
        return cls(id=content_id("ses", secrets.token_hex(16)))

    def with_turn(self, role: Speaking, text: str, clip: Path | None = None) -> Conversation:
        """The conversation and one more turn. Raises ValueError for blank text and for a clip of the therapist."""
        if not text.strip():
            raise ValueError("a turn needs words")
        if clip is not None and role is not Role.CLIENT:
            raise ValueError("only the client's turns come with a clip")
        index = len(self.turns)
        # There is no recording and so no clock: turns are one unit apart, which keeps their order.
        turn = Turn(
            utterance=content_id("utt", self.id, index, text), role=role, start_ms=index, end_ms=index + 1, text=text
        )
        return Conversation(id=self.id, turns=(*self.turns, Spoken(turn, clip)))

    def context(self, most: int) -> tuple[Turn, ...]:
        """At most `most` of the last turns, oldest first, and at least half as many where there are more.

        Its beginning moves by half a window at a time and stays in between: what a model has read of it can be kept.
        """
        step = max(1, most // 2)
        excess = max(0, len(self.turns) - most)
        start = -(-excess // step) * step
        return tuple(spoken.turn for spoken in self.turns[start:])

    def window(self, turns: int) -> tuple[Turn, ...]:
        """The last `turns` turns, oldest first; words only, clips stay with the turn that brought them."""
        return tuple(spoken.turn for spoken in self.turns[-turns:]) if turns else ()
