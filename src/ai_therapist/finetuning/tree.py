"""Conversations as token trees: the trunk once, and a branch per turn whose answer alone is learned.

trunk   system │ turn │ turn │ turn │ turn
                      │             └ branch: clip, client's words │ answer, end token
                      └ branch: clip, client's words │ answer, end token
                                                       └─ learned ─┘
"""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ai_therapist.dataset.render import render_branch, render_trunk, target_text
from ai_therapist.dataset.trunk import Branch, Conversation
from ai_therapist.models.chat_text import ChatText


@dataclass(frozen=True)
class BranchTokens:
    """One example as tokens that follow the first `fork` tokens of its trunk."""

    example: str
    fork: int
    ids: tuple[int, ...]
    """The clip's placeholders, the client's words, the answer and its end token."""
    learned: int
    """How many tokens at the end of `ids` are learned: the answer and its end token."""
    clip: str | None
    """Sha256 of the clip that the placeholders stand for."""


@dataclass(frozen=True)
class Tree:
    """A trunk and its branches in order of time."""

    trunk: tuple[int, ...]
    branches: tuple[BranchTokens, ...]

    @property
    def tokens(self) -> int:
        """How many tokens one pass over the tree reads."""
        return len(self.trunk) + sum(len(branch.ids) for branch in self.branches)

    @property
    def learned(self) -> int:
        """How many tokens are learned."""
        return sum(branch.learned for branch in self.branches)

    def apart(self) -> tuple[Tree, ...]:
        """The same examples one by one: each branch with the part of the trunk that it sees."""
        return tuple(Tree(self.trunk[: branch.fork], (branch,)) for branch in self.branches)


@dataclass(frozen=True)
class Encoded:
    """All trees of a dataset, and the examples that fit into none."""

    trees: tuple[Tree, ...]
    too_long: tuple[str, ...]
    """Ids of examples that do not fit into the limit even without their context."""


def encode_conversation(
    conversation: Conversation,
    chat: ChatText,
    placeholders: Mapping[str, str],
    max_tokens: int,
    overlap_turns: int,
    *,
    cues: bool = False,
) -> Encoded:
    """The conversation as trees of at most `max_tokens` tokens, every example in one of them.

    A conversation that is too long is cut into windows: each goes on where the last one ended and begins with as many
    as `overlap_turns` turns before its first branch, fewer where they do not fit. Turns are left out whole, oldest
    first; a clip, the client's words and an answer are never cut. `placeholders` are the control tokens that stand for
    a clip, by its sha256; `cues` tells each branch what was written down of its clip. Raises KeyError for a clip
    without them.
    """
    head, *turns = (chat.ids(chat.piece(message)) for message in render_trunk(conversation.turns))
    branches = [_branch(branch, chat, placeholders, cues) for branch in conversation.branches]
    forks = [branch.fork for branch in conversation.branches]
    trees: list[Tree] = []
    too_long: list[str] = []
    place = 0
    while place < len(branches):
        first = _first_turn(head, turns, branches[place], forks[place], max_tokens, overlap_turns if trees else None)
        if first is None:
            too_long.append(branches[place].example)
            place += 1
            continue
        ends = [len(head)]
        for turn in turns[first:]:
            ends.append(ends[-1] + len(turn))
        chosen: list[BranchTokens] = []
        used = 0
        while place < len(branches):
            fork = ends[forks[place] - first]
            if fork + used + len(branches[place].ids) > max_tokens:
                break
            chosen.append(replace(branches[place], fork=fork))
            used += len(branches[place].ids)
            place += 1
        trunk = [*head, *(token for turn in turns[first:] for token in turn)][: chosen[-1].fork]
        trees.append(Tree(tuple(trunk), tuple(chosen)))
    return Encoded(tuple(trees), tuple(too_long))


def encode_all(
    conversations: Sequence[Conversation],
    chat: ChatText,
    placeholders: Mapping[str, str],
    max_tokens: int,
    overlap_turns: int,
    *,
    cues: bool = False,
) -> Encoded:
    """The trees of all conversations, as `encode_conversation` makes them."""
    parts = [
        encode_conversation(one, chat, placeholders, max_tokens, overlap_turns, cues=cues) for one in conversations
    ]
    return Encoded(
        tuple(tree for part in parts for tree in part.trees), tuple(one for part in parts for one in part.too_long)
    )


def _branch(branch: Branch, chat: ChatText, placeholders: Mapping[str, str], cues: bool) -> BranchTokens:
    """The tokens of one branch; its fork is still counted in turns."""
    example = branch.example
    clip = example.clip_sha256 if placeholders else None
    text = chat.prompt(
        (render_branch(example.client, None if clip is None else "clip", example.cues if cues else None),)
    )
    if clip is not None:
        text = text.replace("<video>", placeholders[clip], 1)
    answer = (*chat.ids(target_text(example.labels, example.reply.text)), chat.end)
    return BranchTokens(example.id, branch.fork, (*chat.ids(text), *answer), len(answer), clip)


def _first_turn(
    head: Sequence[int],
    turns: Sequence[Sequence[int]],
    branch: BranchTokens,
    fork: int,
    max_tokens: int,
    overlap_turns: int | None,
) -> int | None:
    """The oldest turn of a window that begins with `branch`; None where the branch does not fit without any."""
    room = max_tokens - len(head) - len(branch.ids)
    if room < 0:
        return None
    least = 0 if overlap_turns is None else max(0, fork - overlap_turns)
    first = fork
    while first > least and len(turns[first - 1]) <= room:
        first -= 1
        room -= len(turns[first])
    return first
