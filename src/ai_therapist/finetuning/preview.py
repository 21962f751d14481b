"""Shows what is fed and exactly which tokens are learned."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from ai_therapist.finetuning.tree import Tree
from ai_therapist.models.chat_text import ChatText


class Kind(StrEnum):
    """What becomes of a run of tokens."""

    TRUNK = "trunk"
    """Read, by every branch that forks behind it."""
    BRANCH = "branch"
    """Read, by its own branch alone."""
    CLIP = "clip"
    """Features of a clip stand in their place."""
    LEARNED = "learned"
    """Learned, and read by what follows in the branch."""


class Run(NamedTuple):
    """Tokens that lie together and share a kind."""

    kind: Kind
    text: str
    tokens: int
    branch: int | None
    """Number of the branch from 1; None in the trunk."""


def preview(tree: Tree, chat: ChatText) -> Iterator[Run]:
    """The whole tree in reading order: each branch stands where it forks from the trunk."""
    placeholders = set(chat.tokenizer.convert_tokens_to_ids(["<video>", "<audio>"]))
    at = 0
    for number, branch in enumerate(tree.branches, start=1):
        if branch.fork > at:
            yield _run(chat, Kind.TRUNK, tree.trunk[at : branch.fork], None)
            at = branch.fork
        prompt = list(branch.prompt)
        while prompt:
            is_clip = prompt[0] in placeholders
            end = next((place for place, token in enumerate(prompt) if (token in placeholders) != is_clip), len(prompt))
            kind = Kind.CLIP if is_clip else Kind.BRANCH
            yield _run(chat, kind, prompt[:end], number)
            prompt = prompt[end:]
        for answer in branch.answers:
            asked = answer.ids[: -answer.learned]
            if asked:
                yield _run(chat, Kind.BRANCH, asked, number)
            yield _run(chat, Kind.LEARNED, answer.ids[-answer.learned :], number)


def _run(chat: ChatText, kind: Kind, ids: tuple[int, ...] | list[int], branch: int | None) -> Run:
    text = f"[clip: {len(ids)} tokens]" if kind is Kind.CLIP else str(chat.tokenizer.decode(list(ids)))
    return Run(kind, text, len(ids), branch)
