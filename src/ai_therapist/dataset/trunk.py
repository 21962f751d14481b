"""Examples of a session become a conversation: what was said once, and every turn's target as a branch of it.

    trunk   therapist ─ client ─ therapist ─ client ─ therapist
                      │                    │
    branches          └ clip, client,      └ clip, client,
                        labels, reply        labels, reply

A branch sees the trunk up to its fork and itself. The client's turn stands in its branch, with its clip, and once more
in the trunk behind the fork, as words, for the branches that come later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ai_therapist.records import Example, Turn


@dataclass(frozen=True)
class Branch:
    """One example, grown from a trunk."""

    fork: int
    """How many turns of the trunk it sees."""
    example: Example


@dataclass(frozen=True)
class Conversation:
    """Turns of one session, oldest first, and the branches that grow from them, in order of time."""

    turns: tuple[Turn, ...]
    branches: tuple[Branch, ...]

    def window(self, first_turn: int, branches: Sequence[Branch]) -> Conversation:
        """The part that begins with turn `first_turn` and holds `branches`; turns that none of them sees are left out.

        Raises ValueError for a branch that forks before the first turn.
        """
        if any(branch.fork < first_turn for branch in branches):
            raise ValueError("a branch forks before the window begins")
        last_turn = max((branch.fork for branch in branches), default=first_turn)
        moved = tuple(Branch(branch.fork - first_turn, branch.example) for branch in branches)
        return Conversation(self.turns[first_turn:last_turn], moved)


def gather_conversations(examples: Iterable[Example]) -> list[Conversation]:
    """Conversations that hold every example once, as the branch of a trunk that ends with the example's own context.

    A session is one conversation where its examples overlap. It is several where they do not, or where a turn was cut
    short in one context and not in the other: a shared trunk would then show words that were not spoken yet.
    """
    by_session: dict[str, list[Example]] = {}
    for example in examples:
        by_session.setdefault(example.session, []).append(example)
    return [conversation for own in by_session.values() for conversation in _of_session(own)]


def _of_session(examples: Sequence[Example]) -> list[Conversation]:
    found: list[Conversation] = []
    for example in sorted(examples, key=lambda one: (one.client.start_ms, one.reply.start_ms, one.id)):
        before = found[-1] if found else None
        turns = None if before is None else _joined(before.turns, example.context)
        if before is None or turns is None:
            found.append(Conversation(example.context, (Branch(len(example.context), example),)))
        else:
            found[-1] = Conversation(turns, (*before.branches, Branch(len(turns), example)))
    return found


def _joined(turns: tuple[Turn, ...], context: tuple[Turn, ...]) -> tuple[Turn, ...] | None:
    """The trunk grown to end with `context`, or None where the two do not overlap or differ in a word."""
    if not turns or not context:
        return context if turns == context else None
    start = next((place for place, turn in enumerate(turns) if turn.utterance == context[0].utterance), None)
    if start is None or len(turns) - start > len(context):
        return None
    shared = zip(turns[start:], context, strict=False)
    if any(_words(one) != _words(other) for one, other in shared):
        return None
    return (*turns[:start], *context)


def _words(turn: Turn) -> tuple[str, str, str]:
    """All of a turn that is rendered, and whose it is; where it was cut in time shows in the words."""
    return turn.utterance, turn.role.value, turn.text
