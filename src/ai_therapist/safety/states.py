"""States of a client in which a reply that would be harmless otherwise does harm, as states.json lists them.

To somebody who is sure to be dead a kind answer that says nothing about it agrees; to somebody who has not slept for
two nights a list of cities is fuel. So a state forbids more, and some ask for words that a reply must hold.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Annotated, Self

from pydantic import Field

from ai_therapist.records.base import Record
from ai_therapist.safety.normalise import clauses
from ai_therapist.safety.rules import compiled, is_quoted, read_data


class StateRule(Record):
    """One state as its file states it."""

    id: Annotated[str, Field(pattern=r"^ST-\d\d$")]
    reason: str
    """Value of the Reason for which a reply is withheld."""
    note: str
    when: Annotated[tuple[str, ...], Field(min_length=1)]
    when_also: tuple[str, ...]
    never: tuple[str, ...]
    needs: tuple[str, ...]
    quotable: str | None = None
    """Fragment whose words are no news where the client said them."""
    turned: tuple[str, ...] = ()
    """Words anywhere in a reply that turn away from what the client asks for: they excuse what is forbidden."""
    repairable: tuple[str, ...] = ()
    """Words with which a reply may be shown once the sentences that are forbidden are left out of it."""


class StateRules(Record):
    """The whole rule file."""

    version: str
    about: str
    fragments: dict[str, tuple[str, ...]]
    excused: tuple[str, ...]
    states: tuple[StateRule, ...]


@dataclass(frozen=True)
class State:
    """A state that the client's messages show, ready to judge replies."""

    rule: StateRule
    never: re.Pattern[str] | None
    needs: re.Pattern[str] | None
    quotable: re.Pattern[str] | None
    turned: re.Pattern[str] | None
    repairable: re.Pattern[str] | None

    @property
    def needs_rest(self) -> bool:
        """Whether the rest of a reply decides on what the state forbids, so that only the whole can be judged."""
        return self.turned is not None or self.repairable is not None

    def forbids(self, text: Sequence[str], said: Collection[str]) -> bool:
        """Whether one of these clauses must not stand in a reply to a client who said those.

        A refusal or a description may name what it speaks of, and so may a question that quotes the client.
        """
        return self.never is not None and any(
            _excused().search(_up_to_last_word(clause, match)) is None
            and not is_quoted(match.group(), self.quotable, said)
            for clause in text
            for match in self.never.finditer(clause)
        )

    def is_turned_from(self, text: Sequence[str]) -> bool:
        """Whether one of these clauses of a reply turns away from what the client asks for."""
        return self.turned is not None and any(self.turned.search(clause) for clause in text)

    def is_repaired_by(self, text: Sequence[str]) -> bool:
        """Whether one of these clauses, which nothing forbids, makes what is left of a reply fit to be shown."""
        return any(
            pattern.search(clause)
            for pattern in (self.turned, self.repairable)
            if pattern is not None
            for clause in text
        )

    def is_met_by(self, text: Sequence[str]) -> bool:
        """Whether one of these clauses of a reply holds what this state asks for; False where it asks for nothing."""
        return self.needs is not None and any(self.needs.search(clause) for clause in text)


def _up_to_last_word(clause: str, match: re.Match[str]) -> str:
    """What stands before the last word of a match: "help you manage the urge to" of "… the urge to sort"."""
    last = clause.rfind(" ", match.start(), match.end())
    return clause[: last + 1 if last >= 0 else match.start()]


@dataclass(frozen=True)
class Heard:
    """What a client said, read once for every sentence of the reply."""

    clauses: frozenset[str]
    states: tuple[State, ...]
    """The states that the messages show, the last message being the one to answer."""

    @classmethod
    def of(cls, said: Sequence[str]) -> Self:
        """From the client's messages, oldest first."""
        if not said:
            return cls(frozenset(), ())
        *before, last = [clauses(text) for text in said]
        everything = frozenset(chain.from_iterable((*before, last)))
        # One clause alone often holds half of it: no sleep in this one, the great plan in the next.
        whole = (*last, " ".join(last))
        states = tuple(
            state
            for when, also, state in _compiled()
            if any(when.search(clause) for clause in whole)
            and (also is None or any(also.search(clause) for clause in everything))
        )
        return cls(everything, states)


NOTHING = Heard(frozenset(), ())
"""What was heard of a client who has said nothing."""


@cache
def load_states() -> StateRules:
    """The states that ship with the package."""
    return StateRules.model_validate_json(read_data("states.json"))


@cache
def _excused() -> re.Pattern[str]:
    """Matches words of a refusal that are followed by at most seven others."""
    book = load_states()
    return re.compile(rf"{compiled(book.excused, book.fragments).pattern}(?: \w+){{0,7}} ?$")


@cache
def _compiled() -> tuple[tuple[re.Pattern[str], re.Pattern[str] | None, State], ...]:
    book = load_states()

    def optional(patterns: Sequence[str]) -> re.Pattern[str] | None:
        return compiled(patterns, book.fragments) if patterns else None

    return tuple(
        (
            compiled(rule.when, book.fragments),
            optional(rule.when_also),
            State(
                rule,
                never=optional(rule.never),
                needs=optional(rule.needs),
                quotable=optional([f"{{{rule.quotable}}}"] if rule.quotable else []),
                turned=optional(rule.turned),
                repairable=optional(rule.repairable),
            ),
        )
        for rule in book.states
    )
