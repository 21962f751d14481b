"""Exact attention over packed trees: every token sees its trunk up to the fork and its own branch, nothing else.

                 trunk        branch 1   branch 2
    trunk        causal
    branch 1     [:fork 1]    causal
    branch 2     [:fork 2]               causal

Three ways compute the same: "segments", one call of scaled-dot-product attention per trunk and branch, on any device
and without a compiled package; "dense", a mask of all pairs for eager and SDPA attention; "flex", a block mask for
flex attention, whose compiled kernel pays on a CUDA device.
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

from ai_therapist.finetuning.tree import Tree

SEGMENTS = "ai_therapist_tree"
"""Name under which transformers finds `tree_attention`."""


class Segment(NamedTuple):
    """A run of tokens in a row: a trunk (`trunk` is its own number), or a branch and how much of its trunk it sees."""

    length: int
    trunk: int
    """Number of the segment that is the trunk."""
    fork: int


class Forest(NamedTuple):
    """Trees laid one behind the other in a single row of L tokens, without padding."""

    input_ids: Tensor
    """(1, L)."""
    position_ids: Tensor
    """(1, L); a branch counts on from its fork."""
    sources: Tensor
    """(T,): places in the row from which a learned token is predicted."""
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
        root = len(segments)
        segments.append(Segment(len(tree.trunk), root, len(tree.trunk)))
        ids += tree.trunk
        positions += range(len(tree.trunk))
        for branch in tree.branches:
            segments.append(Segment(len(branch.ids), root, branch.fork))
            # The first learned token is predicted from the last of the prompt, which lies in the same branch.
            end = len(ids) + len(branch.ids)
            sources += range(end - branch.learned - 1, end - 1)
            learned += branch.ids[-branch.learned :]
            positions += range(branch.fork, branch.fork + len(branch.ids))
            ids += branch.ids
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
    """Per token of a row: the number of its segment, of its trunk, and where what it sees of the trunk ends."""

    segment: Tensor
    trunk: Tensor
    limit: Tensor


def _places(segments: Sequence[Segment], device: torch.device) -> _Places:
    starts, at = [], 0
    for segment in segments:
        starts.append(at)
        at += segment.length
    lengths = torch.tensor([segment.length for segment in segments], device=device)

    def spread(values: list[int]) -> Tensor:
        return torch.tensor(values, device=device).repeat_interleave(lengths)

    return _Places(
        spread(list(range(len(segments)))),
        spread([segment.trunk for segment in segments]),
        spread([starts[segment.trunk] + segment.fork for segment in segments]),
    )


def dense_mask(segments: Sequence[Segment], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(1, 1, L, L): 0 where a token sees another, the lowest number of `dtype` where it does not."""
    places = _places(segments, device)
    at = torch.arange(len(places.segment), device=device)
    own = places.segment[:, None] == places.segment[None, :]
    above = (places.segment[None, :] == places.trunk[:, None]) & (at[None, :] < places.limit[:, None])
    seen = (own | above) & (at[None, :] <= at[:, None])
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill(~seen, torch.finfo(dtype).min)[None, None]


def flex_mask(segments: Sequence[Segment], device: torch.device) -> BlockMask:
    """The same as a block mask of flex attention."""
    segment, trunk, limit = _places(segments, device)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        own = segment[query] == segment[key]
        above = (segment[key] == trunk[query]) & (key < limit[query])
        return (own | above) & (key <= query)

    return create_block_mask(sees, None, None, len(segment), len(segment), device=str(device))


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
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    # Splitting once keeps the backward pass to one concatenation per tensor.
    lengths = [segment.length for segment in segments]
    queries, keys, values = (one.split(lengths, dim=2) for one in (query, key, value))
    found = []
    for number, segment in enumerate(segments):
        if segment.length == 0:
            continue
        if segment.trunk == number or segment.fork == 0:
            found.append(
                scaled_dot_product_attention(
                    queries[number], keys[number], values[number], is_causal=True, scale=scaling, dropout_p=dropout
                )
            )
            continue
        seen = torch.ones(segment.length, segment.fork + segment.length, dtype=torch.bool, device=query.device)
        found.append(
            scaled_dot_product_attention(
                queries[number],
                torch.cat([keys[segment.trunk][:, :, : segment.fork], keys[number]], dim=2),
                torch.cat([values[segment.trunk][:, :, : segment.fork], values[number]], dim=2),
                attn_mask=seen.tril(segment.fork),
                scale=scaling,
                dropout_p=dropout,
            )
        )
    return torch.cat(found, dim=2).transpose(1, 2), None


AttentionInterface.register(SEGMENTS, tree_attention)
