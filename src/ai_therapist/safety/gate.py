"""The output gate at work on one reply: which sentences are shown, and what stands where one is left out.

sentence ─▶ rules ─▶ shown
              ├ an isolated rule, at most twice: left out, a fixed sentence stands in its place      (repaired)
              └ any other, or once more: nothing of the model's is shown any more                    (withheld)

A claim to be a professional or a name for an illness is one sentence too many in a reply that may be good otherwise; a
method or a promise of secrecy spoils the whole. What a state of the client asks for is known at the end only: then the
reply is shown as a whole, without the sentences that feed the state, where what is left turns against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ai_therapist.safety.normalise import clauses
from ai_therapist.safety.output import (
    REPAIRS,
    WINDOW_CHARS,
    Verdict,
    judge_reply,
    judge_rest,
    judge_whole,
    needs_whole,
)
from ai_therapist.safety.states import Heard, State

MOST_LEFT_OUT = 2
"""Sentences that isolated rules may take out of one reply: a slip, not a habit."""
FEWEST_WORDS = 8
"""Words of the model's own that must be left of a reply from which a sentence was taken."""


class Piece(NamedTuple):
    """A sentence that may be shown now."""

    text: str
    source: Literal["model", "fixed"]
    instead_of: Verdict | None = None
    """Why a fixed one stands in the place of the model's."""


class ReplyGate:
    """One reply on its way through the gate. Ask `withheld` and `repaired` after every step."""

    def __init__(self, said: Sequence[str]) -> None:
        """`said` are the client's messages, oldest first, the last of them being answered."""
        self._heard = Heard.of(said)
        self._waits = needs_whole(self._heard)
        self._shown: list[Piece] = []
        self._notes: list[Piece] = []
        """What stands in the place of sentences, until it is sure that the reply goes on."""
        self._left_out: list[Verdict] = []
        self.words = ""
        """The model's own words that passed."""
        self.repaired: Verdict | None = None
        """Why a sentence was left out."""
        self.withheld: Verdict | None = None
        """Why nothing more of the model's is shown."""

    def take(self, sentence: str) -> list[Piece]:
        """What may be shown now that the model has written this sentence."""
        if self.withheld is not None:
            return []
        verdict = judge_reply(self.words, sentence, self._heard)
        if not verdict.passed:
            self._leave_out(verdict, sentence)
            return []
        self.words = f"{self.words} {sentence}".strip()
        pieces = [*self._noted(), Piece(sentence, "model")]
        self._shown += pieces
        return [] if self._waits else pieces

    def finish(self) -> list[Piece]:
        """What may be shown when the model has ended: a whole reply that had to wait, or nothing more."""
        if self.withheld is not None:
            return []
        if self._left_out and not _is_enough([piece.text for piece in self._shown if piece.source == "model"]):
            self.withheld = self._left_out[0]
            return []
        notes = self._noted()
        if not self.words:
            return []
        seen_together = len(self.words) <= WINDOW_CHARS
        verdict = (judge_rest if seen_together else judge_whole)(self.words, self._heard)
        if verdict.passed:
            return [*self._shown, *notes] if self._waits else notes
        repaired = self._repair(verdict)
        if repaired is None:
            self.withheld = verdict
            return []
        self.repaired = self.repaired or verdict
        return [*repaired, *notes]

    def _leave_out(self, verdict: Verdict, sentence: str) -> None:
        # A claim that only several sentences make together is no slip.
        alone = judge_reply("", sentence, self._heard) == verdict
        if not (verdict.isolated and alone and len(self._left_out) < MOST_LEFT_OUT) or verdict.reason is None:
            self.withheld = verdict
            return
        if not any(before.reason is verdict.reason for before in self._left_out):
            self._notes.append(Piece(REPAIRS[verdict.reason], "fixed", verdict))
        self._left_out.append(verdict)
        self.repaired = self.repaired or verdict

    def _noted(self) -> list[Piece]:
        notes, self._notes = self._notes, []
        return notes

    def _repair(self, verdict: Verdict) -> list[Piece] | None:
        """The whole reply without the sentences that feed a state; None where that is not enough."""
        state = next((state for state in self._heard.states if state.rule.id == verdict.rule), None)
        if state is None or state.repairable is None or verdict.reason is None:
            return None
        left: list[Piece] = []
        dropped = 0
        for piece in self._shown:
            if piece.source == "fixed" or not state.forbids(clauses(piece.text), self._heard.clauses):
                left.append(piece)
                continue
            if left and not _says_something(left[-1].text):
                left.pop()  # The number of an item that is gone.
            if not dropped:
                left.append(Piece(REPAIRS[verdict.reason], "fixed", verdict))
            dropped += 1
        return left if _is_whole(left, dropped, state, self._heard) else None


def _is_whole(left: Sequence[Piece], dropped: int, state: State, heard: Heard) -> bool:
    """Whether what is left of a reply answers by itself, and against the state."""
    own = [piece.text for piece in left if piece.source == "model"]
    words = " ".join(own)
    return (
        dropped < sum(map(_says_something, own))
        and _is_enough(own)
        and state.is_repaired_by(clauses(words))
        and judge_whole(words, heard).passed
    )


def _is_enough(own: Sequence[str]) -> bool:
    """Whether what is left of the model's own sentences is a reply."""
    return len(" ".join(own).split()) >= FEWEST_WORDS


def _says_something(sentence: str) -> bool:
    """Whether it is more than the number of an item."""
    return any(letter.isalpha() for letter in sentence)
