"""Conversations as token trees: the trunk once, and a branch per turn whose answers alone are learned.

trunk   system │ turn │ turn │ turn │ turn
                      │             └ branch: clip, client's words ┬ answer, end token
                      │                                            └ answer, end token
                      └ branch: clip, client's words ┬ answer, end token
                                                     └ answer, end token
                                                       └─ learned ─┘

A branch has one answer with all labels and the reply, or one for each of them. It forks behind the last token that it
shares with the trunk: without a clip that is the end of the client's own turn, whose words are then read once.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ai_therapist.dataset.render import LABEL_FIELDS, Field, label_of, plain, render_branch, render_trunk, target_text
from ai_therapist.dataset.trunk import Branch, Conversation
from ai_therapist.models.chat_text import ChatText
from ai_therapist.records import Example

Targets = Literal["together", "apart"]
"""Whether labels and reply are one answer or one each."""


@dataclass(frozen=True)
class AnswerTokens:
    """What is learned of an example, as tokens that follow its prompt."""

    ids: tuple[int, ...]
    """What is asked for, where it is told, then what is learned, its end token last."""
    learned: int
    """How many tokens at the end of `ids` are learned."""


@dataclass(frozen=True)
class BranchTokens:
    """One example as tokens that follow the first `fork` tokens of its trunk."""

    example: str
    fork: int
    prompt: tuple[int, ...]
    """The clip's placeholders, the client's words as far as the trunk lacks them, and where an answer begins."""
    answers: tuple[AnswerTokens, ...]
    """Each grows from the end of the prompt and sees none of the others."""
    clip: str | None
    """Sha256 of the clip that the placeholders stand for."""

    @property
    def tokens(self) -> int:
        """How many tokens prompt and answers have."""
        return len(self.prompt) + sum(len(answer.ids) for answer in self.answers)

    @property
    def learned(self) -> int:
        """How many tokens are learned."""
        return sum(answer.learned for answer in self.answers)


@dataclass(frozen=True)
class Tree:
    """A trunk and its branches in order of time."""

    trunk: tuple[int, ...]
    branches: tuple[BranchTokens, ...]

    @property
    def tokens(self) -> int:
        """How many tokens one pass over the tree reads."""
        return len(self.trunk) + sum(branch.tokens for branch in self.branches)

    @property
    def learned(self) -> int:
        """How many tokens are learned."""
        return sum(branch.learned for branch in self.branches)

    @property
    def row(self) -> tuple[int, ...]:
        """The tokens of a tree with one answer, as a model without trees reads it. Raises ValueError for several."""
        (branch,) = self.branches
        (answer,) = branch.answers
        return (*self.trunk[: branch.fork], *branch.prompt, *answer.ids)

    def apart(self) -> tuple[Tree, ...]:
        """The same answers one by one: each with its own copy of the prompt and of the trunk that it sees."""
        return tuple(
            Tree(self.trunk[: branch.fork], (replace(branch, answers=(answer,)),))
            for branch in self.branches
            for answer in branch.answers
        )


@dataclass(frozen=True)
class Encoded:
    """All trees of a dataset, and the examples that fit into none."""

    trees: tuple[Tree, ...]
    too_long: tuple[str, ...]
    """Ids of examples that do not fit into the limit even without their context."""
    context_turns: int
    """Most turns before a client's own that a branch sees."""


def encode_conversation(
    conversation: Conversation,
    chat: ChatText,
    placeholders: Mapping[str, str],
    max_tokens: int,
    overlap_turns: int,
    *,
    cues: bool = False,
    targets: Targets = "together",
) -> Encoded:
    """The conversation as trees of at most `max_tokens` tokens, every example in one of them.

    A conversation that is too long is cut into windows: each goes on where the last one ended and begins with as many
    as `overlap_turns` turns before its first branch, fewer where they do not fit. Turns are left out whole, oldest
    first; a clip, the client's words and an answer are never cut. `placeholders` are the control tokens that stand for
    a clip, by its sha256; `cues` tells each branch what was written down of its clip; `targets` "apart" makes an answer
    of every label and of the reply. Raises KeyError for a clip without placeholders.
    """
    head, *turns = (chat.ids(chat.piece(message)) for message in render_trunk(conversation.turns))
    branches = [_branch(branch, chat, placeholders, cues, targets) for branch in conversation.branches]
    forks = [branch.fork for branch in conversation.branches]
    trees: list[Tree] = []
    too_long: list[str] = []
    place = most = 0
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
        read = used = 0
        while place < len(branches):
            own = forks[place] < len(turns)
            branch = _grown(branches[place], ends[forks[place] - first], turns[forks[place]] if own else ())
            if max(read, branch.fork) + used + branch.tokens > max_tokens:
                break
            chosen.append(branch)
            most = max(most, forks[place] - first)
            read, used = max(read, branch.fork), used + branch.tokens
            place += 1
        trunk = [*head, *(token for turn in turns[first:] for token in turn)][:read]
        trees.append(Tree(tuple(trunk), tuple(chosen)))
    return Encoded(tuple(trees), tuple(too_long), most)


def encode_all(
    conversations: Sequence[Conversation],
    chat: ChatText,
    placeholders: Mapping[str, str],
    max_tokens: int,
    overlap_turns: int,
    *,
    cues: bool = False,
    targets: Targets = "together",
) -> Encoded:
    """The trees of all conversations, as `encode_conversation` makes them."""
    parts = [
        encode_conversation(one, chat, placeholders, max_tokens, overlap_turns, cues=cues, targets=targets)
        for one in conversations
    ]
    return Encoded(
        tuple(tree for part in parts for tree in part.trees),
        tuple(one for part in parts for one in part.too_long),
        max((part.context_turns for part in parts), default=0),
    )


def _branch(
    branch: Branch, chat: ChatText, placeholders: Mapping[str, str], cues: bool, targets: Targets
) -> BranchTokens:
    """The tokens of one branch, the client's words among them; its fork is still counted in turns."""
    example = branch.example
    clip = example.clip_sha256 if placeholders else None
    text = chat.prompt(
        (render_branch(example.client, None if clip is None else "clip", example.cues if cues else None),)
    )
    if clip is not None:
        text = text.replace("<video>", placeholders[clip], 1)
    answers = (
        [_answer(chat, "", target_text(example.labels, example.reply.text))]
        if targets == "together"
        else [_answer(chat, f"{field}:", f"{field}: {value}") for field, value in _fields(example)]
    )
    return BranchTokens(example.id, branch.fork, tuple(chat.ids(text)), tuple(answers), clip)


def _grown(branch: BranchTokens, fork: int, turn: Sequence[int]) -> BranchTokens:
    """The branch behind the first `fork` tokens of its trunk, where the client's `turn` follows without its clip.

    What both begin with is read in the trunk; the prompt keeps one token at least, from which an answer is predicted.
    """
    shared = min(_common(branch.prompt, turn), len(branch.prompt) - 1)
    return replace(branch, fork=fork + shared, prompt=branch.prompt[shared:])


def _answer(chat: ChatText, asked: str, text: str) -> AnswerTokens:
    """The answer `text`, of which the beginning `asked` is told and not learned."""
    ids = (*chat.ids(text), chat.end)
    return AnswerTokens(ids, len(ids) - _common(ids, chat.ids(asked)))


def _fields(example: Example) -> list[tuple[Field, str]]:
    """What is learned of an example, field by field; a label that is None is not among it."""
    labels = [(field, value) for field in LABEL_FIELDS if (value := label_of(example.labels, field)) is not None]
    return [*labels, (Field.REPLY, plain(example.reply.text))]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two rows both begin with."""
    return next(
        (at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right),
        min(len(one), len(other)),
    )


def _first_turn(
    head: Sequence[int],
    turns: Sequence[Sequence[int]],
    branch: BranchTokens,
    fork: int,
    max_tokens: int,
    overlap_turns: int | None,
) -> int | None:
    """The oldest turn of a window that begins with `branch`; None where the branch does not fit without any."""
    room = max_tokens - len(head) - branch.tokens
    if room < 0:
        return None
    least = 0 if overlap_turns is None else max(0, fork - overlap_turns)
    first = fork
    while first > least and len(turns[first - 1]) <= room:
        first -= 1
        room -= len(turns[first])
    return first
