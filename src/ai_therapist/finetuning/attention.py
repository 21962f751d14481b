"""Exact attention over packed trees: every token sees its trunk up to the fork and its own branch, nothing else.

                       trunk      prompt   answer 1   answer 2
    trunk              causal
    branch  prompt     [:fork]    causal
            answer 1   [:fork]    all      causal
            answer 2   [:fork]    all                 causal

Three ways compute the same: "segments", piece by piece, on any device and without a compiled package; "dense", a mask
of all pairs for eager and SDPA attention; "flex", a block mask for flex attention, whose compiled kernel pays on a CUDA
device.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from ai_therapist.finetuning.pieces import PieceAttention, Segment, pieces_of
from ai_therapist.finetuning.tree import Tree

SEGMENTS = "ai_therapist_tree"
"""Name under which transformers finds `tree_attention`."""


class Forest(NamedTuple):
    """Trees laid one behind the other in a single row of L tokens, without padding."""

    input_ids: Tensor
    """(1, L)."""
    position_ids: Tensor
    """(1, L); a branch counts on from its fork, an answer from its prompt."""
    sources: Tensor
    """(T,): places in the row from which a learned token is predicted; answers of one prompt begin from one place."""
    learned: Tensor
    """(T,): the learned tokens."""
    segments: tuple[Segment, ...]
    clips: tuple[str, ...]
    """Sha256 of the clips in reading order."""


def plant(trees: Sequence[Tree], device: torch.device | str = "cpu") -> Forest:
    """The row that holds the trees."""
    ids: list[int] = []
    positions: list[int] = []
    sources: list[int] = []
    learned: list[int] = []
    segments: list[Segment] = []
    clips: list[str] = []
    for tree in trees:
        root = len(ids)
        segments.append(Segment(root, len(tree.trunk), root, 0, ()))
        ids += tree.trunk
        positions += range(len(tree.trunk))
        for branch in tree.branches:
            lengths = tuple(len(answer.ids) for answer in branch.answers)
            segments.append(Segment(len(ids), len(branch.prompt), root, branch.fork, lengths))
            ids += branch.prompt
            prompted = branch.fork + len(branch.prompt)
            positions += range(branch.fork, prompted)
            last = len(ids) - 1
            for answer in branch.answers:
                # The token before each learned one; before an answer's first that is the last of the prompt.
                places = [last, *range(len(ids), len(ids) + len(answer.ids) - 1)]
                sources += places[-answer.learned :]
                learned += answer.ids[-answer.learned :]
                positions += range(prompted, prompted + len(answer.ids))
                ids += answer.ids
            if branch.clip is not None:
                clips.append(branch.clip)
    return Forest(
        torch.tensor([ids], device=device),
        torch.tensor([positions], device=device),
        torch.tensor(sources, device=device, dtype=torch.long),
        torch.tensor(learned, device=device, dtype=torch.long),
        tuple(segments),
        tuple(clips),
    )


class _Places(NamedTuple):
    """Per token of a row: number of its segment and of its answer; what it sees of the trunk and of its prompt ends."""

    segment: Tensor
    answer: Tensor
    trunk: Tensor
    fork: Tensor
    prompt: Tensor


def _places(segments: Sequence[Segment], device: torch.device) -> _Places:
    parts: list[tuple[int, tuple[int, ...]]] = []
    """(tokens, what they share) of every prompt and answer."""
    for number, segment in enumerate(segments):
        end = segment.start + segment.length
        for answer, length in enumerate((segment.length, *segment.answers)):
            parts.append((length, (number, answer, segment.trunk, segment.trunk + segment.fork, end)))
    lengths = torch.tensor([length for length, _ in parts], device=device)
    columns = torch.tensor([values for _, values in parts], device=device).repeat_interleave(lengths, dim=0)
    return _Places(*columns.unbind(1))


def dense_mask(segments: Sequence[Segment], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(1, 1, L, L): 0 where a token sees another, the lowest number of `dtype` where it does not."""
    places = _places(segments, device)
    at = torch.arange(len(places.segment), device=device)
    seen = _sees(places, at[:, None], at[None, :])
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill(~seen, torch.finfo(dtype).min)[None, None]


def flex_mask(segments: Sequence[Segment], device: torch.device) -> BlockMask:
    """The same as a block mask of flex attention."""
    places = _places(segments, device)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return _sees(places, query, key)

    length = len(places.segment)
    return create_block_mask(sees, None, None, length, length, device=str(device))


def _sees(places: _Places, query: Tensor, key: Tensor) -> Tensor:
    beside = (places.answer[query] == places.answer[key]) | (key < places.prompt[query])
    own = (places.segment[query] == places.segment[key]) & beside
    above = (key >= places.trunk[query]) & (key < places.fork[query])
    return (own | above) & (key <= query)


def tree_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    segments: tuple[Segment, ...] | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: query (1, h, L, d), key and value (1, key heads, L, d) → (1, L, h, d).

    Raises ValueError without `segments`: a row whose trees are not known would let them see each other.
    """
    if segments is None:
        raise ValueError("tree attention needs the segments of its row")
    if query.device.type == "cpu" and query.dtype == torch.float32 and not dropout:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        found: Tensor = PieceAttention.apply(query, key, value, segments, scale)
        return found, None
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    outputs = []
    for piece in pieces_of(segments, None):
        length = piece.end - piece.start
        spans = [*piece.above, (piece.start, piece.end)]
        keys, values = (torch.cat([one[:, :, start:end] for start, end in spans], dim=2) for one in (key, value))
        before = keys.shape[2] - length
        seen = torch.ones(length, keys.shape[2], dtype=torch.bool, device=query.device).tril(before) if before else None
        outputs.append(
            scaled_dot_product_attention(
                query[:, :, piece.start : piece.end],
                keys,
                values,
                attn_mask=seen,
                is_causal=seen is None,
                scale=scaling,
                dropout_p=dropout,
            )
        )
    return torch.cat(outputs, dim=2).transpose(1, 2), None


AttentionInterface.register(SEGMENTS, tree_attention)
