"""The reply of one turn on its way through the output gate, and what is said where a model says nothing fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ai_therapist.dataset.render import plain
from ai_therapist.inference.events import Event, Outcome, Repaired, ReplyPiece, Withheld
from ai_therapist.inference.isolation import Broken
from ai_therapist.inference.sentences import Sentences
from ai_therapist.safety.gate import Piece, ReplyGate
from ai_therapist.safety.output import REPLACEMENTS, Verdict

FIXED_FAILED = (
    "I could not find an answer just now. I am still here; please go on, in your own words.",
    "Again no answer came to me. That is no fault of yours; what you wrote is not lost, and you can go on.",
    "The model behind this program does not answer at the moment. You can keep writing, or see /help for people.",
)
"""What stands in the place of a model that broke off; the turns take them in order."""
FIXED_EMPTY = (
    "I am listening. Please go on, in your own words.",
    "Take your time. What weighs on you most at this moment?",
    "I have read it. Tell me more, as much or as little as you like.",
)
"""What stands in the place of a model that says nothing; the turns take them in order."""


class GatedReply:
    """The reply of one turn on its way through the output gate."""

    def __init__(self, max_chars: int, said: Sequence[str], speechless: int) -> None:
        """`said` are the client's messages, oldest first, the last of them being answered.

        `speechless` counts the turns before in which the model had nothing to say.
        """
        self._speechless = speechless
        self._max_chars = max_chars
        self._gate = ReplyGate(said)
        self._sentences = Sentences()
        self.shown = ""
        self.outcome: Outcome | None = None
        self.error: str | None = None

    @property
    def from_model(self) -> str:
        """The model's own words that passed sentence by sentence."""
        return self._gate.words

    @property
    def failed(self) -> bool:
        """Whether the model broke off."""
        return self.outcome in {"timed_out", "model_failed"}

    def take(self, piece: str) -> Iterator[Event]:
        """What may be shown now that the model has written `piece`."""
        yield from self._pass(self._sentences.feed(piece))

    def broken(self, failure: Broken) -> Iterator[Event]:
        """What is shown when the model raised or took too long; its unfinished sentence is dropped."""
        self.outcome = "timed_out" if failure.error is None else "model_failed"
        self.error = failure.error
        yield self._fixed(FIXED_FAILED[self._speechless % len(FIXED_FAILED)])

    def finish(self) -> Iterator[Event]:
        """What is shown when the model has ended: its last sentence, or a fixed one where it said nothing."""
        if self.outcome is None:
            yield from self._pass(self._sentences.rest())
        if self.outcome in {None, "stopped_at_limit"}:
            yield from self._given(self._gate.finish())
            if self._gate.withheld is not None:
                yield from self._withhold(self._gate.withheld)
            elif self._gate.repaired is not None:
                self.outcome = self.outcome or "repaired"
        if not self.shown:
            self.outcome = "empty"
            yield self._fixed(FIXED_EMPTY[self._speechless % len(FIXED_EMPTY)])

    def _pass(self, sentences: list[str]) -> Iterator[Event]:
        for sentence in sentences:
            words = plain(sentence)
            if self.outcome is not None or not words:
                continue
            if len(self.from_model) + len(words) > self._max_chars and self.from_model:
                self.outcome = "stopped_at_limit"
                continue
            yield from self._given(self._gate.take(words))
            if self._gate.withheld is not None:
                yield from self._withhold(self._gate.withheld)

    def _given(self, pieces: Sequence[Piece]) -> Iterator[Event]:
        for piece in pieces:
            why = piece.instead_of
            if why is not None and why.reason is not None and why.rule is not None:
                yield Repaired(reason=why.reason, rule=why.rule)
            self.shown = f"{self.shown} {piece.text}".strip()
            yield ReplyPiece(source=piece.source, text=piece.text)

    def _withhold(self, verdict: Verdict) -> Iterator[Event]:
        if verdict.reason is None or verdict.rule is None:
            return
        self.outcome = "withheld"
        yield Withheld(reason=verdict.reason, rule=verdict.rule)
        yield self._fixed(REPLACEMENTS[verdict.reason])

    def _fixed(self, text: str) -> ReplyPiece:
        self.shown = f"{self.shown} {text}".strip()
        return ReplyPiece(source="fixed", text=text)
