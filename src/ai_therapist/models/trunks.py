"""What a model has read of conversations, kept so that the next turn begins where the last one ended.

A trunk is the text that later turns of a conversation share (see dataset/render.py). Kept are its tokens and whatever
the model holds of them; a prompt takes over the longest beginning that it shares with any of them.

    kept      system  client  therapist
    prompt    system  client  therapist  client  therapist │ client's turn
              └───────── taken over ────┘└─── read now ────┴─────────────┘
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

StateT = TypeVar("StateT")


@dataclass(frozen=True)
class _Kept(Generic[StateT]):
    tokens: NDArray[np.int64]
    state: StateT
    size_bytes: int


class Shared(NamedTuple, Generic[StateT]):
    """What is already read: how many tokens of the prompt, and the state after at least as many."""

    tokens: int
    of: int
    """Tokens that the state stands for; it must be cut to `tokens` before it goes on."""
    state: StateT


class Trunks(Generic[StateT]):
    """States by the tokens that they stand for; those unused for longest go when there is no room."""

    def __init__(self, most_bytes: int, most: int = 512) -> None:
        self._most_bytes = most_bytes
        self._most = most
        self._kept: OrderedDict[int, _Kept[StateT]] = OrderedDict()
        self._next = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        """Size of all states."""
        return self._bytes

    def longest(self, tokens: Sequence[int]) -> Shared[StateT] | None:
        """The state that shares the longest beginning with `tokens`; None where none shares any."""
        wanted = np.asarray(tokens, np.int64)
        best, found = 0, None
        for number, kept in self._kept.items():
            length = _common(kept.tokens, wanted)
            if length > best:
                best, found = length, number
        if found is None:
            return None
        self._kept.move_to_end(found)
        kept = self._kept[found]
        return Shared(best, len(kept.tokens), kept.state)

    def keep(self, tokens: Sequence[int], state: StateT, size_bytes: int) -> None:
        """Keep a state; the ones that stand for a beginning of `tokens` are no longer needed."""
        mine = np.asarray(tokens, np.int64)
        for number, kept in list(self._kept.items()):
            if _common(kept.tokens, mine) == len(kept.tokens):
                self._drop(number)
        self._kept[self._next] = _Kept(mine, state, size_bytes)
        self._next += 1
        self._bytes += size_bytes
        while self._kept and (self._bytes > self._most_bytes or len(self._kept) > self._most):
            self._drop(next(iter(self._kept)))

    def _drop(self, number: int) -> None:
        self._bytes -= self._kept.pop(number).size_bytes


def _common(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length
