"""Models of the worst kind and a chat with any of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import repeat

from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.events import Card, Done, Event, ReplyPiece
from ai_therapist.inference.predict import Speaker
from ai_therapist.inference.reply import Chat
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.models.scripted import ScriptedGenerator, ScriptedScorer
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import Message

TODAY = date(2026, 11, 22)
CANARY = "zanzibar"
"""Stands in every sentence that must never be shown."""


def replying(*answers: str | Exception) -> ScriptedGenerator:
    """A generator that gives these answers over and over."""
    return ScriptedGenerator(list(answers), repeat=True)


def weighing(first: float = 0.5) -> ScriptedScorer:
    """A scorer that knows only three wrong labels."""
    return ScriptedScorer([{"a": first, "b": 1 - first}], repeat=True)


class Endless:
    """A generator that writes the same piece for ever."""

    name = "endless"
    accepts = frozenset(Modality)

    def __init__(self, piece: str) -> None:
        self._piece = piece

    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        """Pays no heed to `max_tokens`."""
        return repeat(self._piece)


class Hanging:
    """A generator that writes one piece and then waits until `release` is set."""

    name = "hanging"
    accepts = frozenset(Modality)

    def __init__(self, first: str = "") -> None:
        self._first = first
        self.release = threading.Event()

    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        """Never ends by itself."""
        if self._first:
            yield self._first
        self.release.wait(5)


def make_chat(
    generator: TextGenerator,
    scorer: LabelScorer | None = None,
    *,
    clock_s: Callable[[], float] = lambda: 0.0,
    **settings: object,
) -> Chat:
    """A chat on a fixed day."""
    config = InferenceConfig.model_validate(settings)
    return Chat(Speaker(generator, scorer, is_toy=True), config, clock_s=clock_s, today=lambda: TODAY)


def reply_of(events: Sequence[Event]) -> str:
    """All pieces of the reply, joined."""
    return " ".join(event.text for event in events if isinstance(event, ReplyPiece))


def cards_of(events: Sequence[Event]) -> list[Card]:
    """The cards and pointers, in order."""
    return [event for event in events if isinstance(event, Card)]


def outcome_of(events: Sequence[Event]) -> str:
    """How the turn ended; it must have ended."""
    last = events[-1]
    assert isinstance(last, Done)
    return last.outcome
