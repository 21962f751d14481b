"""Conversations that the server keeps in memory: one turn at a time each, forgotten when they lie idle."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_urlsafe

from ai_therapist.inference.reply import Chat
from ai_therapist.serving.refusal import Refused, later


@dataclass
class Kept:
    """A conversation and its state."""

    id: str
    chat: Chat
    used_s: float
    busy: bool = False


class Conversations:
    """All conversations that are kept, by ids that nobody can guess. For one event loop."""

    def __init__(
        self, begin: Callable[[], Chat], most: int, idle_s: float, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._begin = begin
        self._most = most
        self._idle_s = idle_s
        self._clock_s = clock_s
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, wanted: str) -> Kept:
        """The conversation of this id, or a new one for "new", marked as busy until `put_back`.

        Raises Refused: 404 for an id that is not kept (any more), 409 while a turn of it runs, 503 where all are busy.
        """
        self._forget_idle()
        if wanted == "new":
            return self._new()
        kept = self._kept.get(wanted)
        if kept is None:
            raise Refused(404, "no_conversation", "no such conversation: it was forgotten, begin a new one")
        if kept.busy:
            raise later(409, "conversation_busy", "a message of this conversation is being answered: wait for it", 1)
        kept.busy = True
        self._kept.move_to_end(wanted)
        return kept

    def put_back(self, kept: Kept) -> None:
        """The turn is over."""
        kept.busy = False
        kept.used_s = self._clock_s()

    def forget(self, conversation: str) -> bool:
        """Drop a conversation; False where there is none of this id."""
        return self._kept.pop(conversation, None) is not None

    def _new(self) -> Kept:
        if len(self._kept) >= self._most:
            oldest = next((kept for kept in self._kept.values() if not kept.busy), None)
            if oldest is None:
                raise later(503, "too_many_conversations", "all conversations are busy: try again", 10)
            del self._kept[oldest.id]
        kept = Kept(token_urlsafe(16), self._begin(), self._clock_s(), busy=True)
        self._kept[kept.id] = kept
        return kept

    def _forget_idle(self) -> None:
        before_s = self._clock_s() - self._idle_s
        for kept in list(self._kept.values()):
            if not kept.busy and kept.used_s < before_s:
                del self._kept[kept.id]
