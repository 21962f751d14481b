"""Cuts a stream of text into sentences, so that each can be judged before any of it is shown."""

from __future__ import annotations

import re

_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|\n")

MAX_CHARS = 400
"""Length at which a sentence without an end is cut at its last space."""


class Sentences:
    """Collects pieces of text and gives back whole sentences, each with the white space around it removed."""

    def __init__(self) -> None:
        self._pending = ""

    def feed(self, piece: str) -> list[str]:
        """Sentences that are complete now: followed by white space, or too long to wait for."""
        self._pending += piece
        complete: list[str] = []
        while True:
            cut = self._cut()
            if cut is None:
                return [sentence for sentence in complete if sentence]
            complete.append(self._pending[:cut].strip())
            self._pending = self._pending[cut:]

    def rest(self) -> list[str]:
        """What is left at the end of the stream: one sentence or none."""
        rest, self._pending = self._pending.strip(), ""
        return [rest] if rest else []

    def _cut(self) -> int | None:
        end = _END.search(self._pending)
        if end is not None and end.end() <= MAX_CHARS:
            return end.end()
        if len(self._pending) <= MAX_CHARS:
            return None
        space = self._pending.rfind(" ", 1, MAX_CHARS)
        return space if space > 0 else MAX_CHARS
