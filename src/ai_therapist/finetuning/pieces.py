"""Attention of a row of trees on the CPU, piece by piece, with a backward pass of its own.

A piece is a run of tokens that all see the same tokens before it, and each other causally. Its scores are one product
of matrices, without a mask of what no token of it sees and without copies of keys for grouped heads; gradients are
added in place. For short pieces that takes about two thirds of the time of torch's own kernel, and long runs are cut
into short ones.

P = softmax(s·Q·Kᵀ), O = P·V;  with dP = dO·Vᵀ and D = rowsum(dO ∘ O): dS = P ∘ (dP - D), dQ = s·dS·K, dK = s·dSᵀ·Q,
dV = Pᵀ·dO (FlashAttention, arXiv:2205.14135, appendix B.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Span = tuple[int, int]
"""First place in a row and the one behind the last."""

_LONGEST = 256
"""Tokens of a piece at most, on the CPU: a longer one would compute scores that no token may use."""
_AHEAD = torch.ones(_LONGEST, _LONGEST, dtype=torch.bool).triu(1)
"""Where a token of a piece would look ahead."""


class Segment(NamedTuple):
    """A trunk, or a branch: a prompt that sees the beginning of its trunk, and answers that grow from its end."""

    start: int
    """Place in the row of its first token."""
    length: int
    """Tokens of the trunk or the prompt; answers follow, one behind the other."""
    trunk: int
    """Place in the row where its trunk begins; its own start where it is one."""
    fork: int
    """Tokens of the trunk that it sees; 0 for the trunk itself."""
    answers: tuple[int, ...]
    """Tokens of each answer."""


class Piece(NamedTuple):
    """Tokens from `start` to before `end` that see the spans `above` and, causally, themselves."""

    start: int
    end: int
    above: tuple[Span, ...]


def pieces_of(segments: Sequence[Segment], longest: int | None) -> Iterator[Piece]:
    """The pieces of a row in order, none of more than `longest` tokens; the row is covered without a gap."""
    for segment in segments:
        trunk: tuple[Span, ...] = ((segment.trunk, segment.trunk + segment.fork),) if segment.fork else ()
        end = segment.start + segment.length
        if len(segment.answers) == 1:
            # A prompt and its only answer are one causal run.
            yield from _cut(segment.start, end + segment.answers[0], trunk, longest)
            continue
        yield from _cut(segment.start, end, trunk, longest)
        at = end
        for length in segment.answers:
            yield from _cut(at, at + length, (*trunk, (segment.start, end)), longest)
            at += length


def _cut(start: int, end: int, above: tuple[Span, ...], longest: int | None) -> Iterator[Piece]:
    step = max(1, end - start) if longest is None else longest
    for at in range(start, end, step):
        yield Piece(at, min(at + step, end), above if at == start else (*above, (start, at)))


class PieceAttention(torch.autograd.Function):
    """query (1, h, L, d), key and value (1, key heads, L, d), segments, scale → (1, L, h, d)."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, segments: tuple[Segment, ...], scale: float
    ) -> Tensor:
        """Piece by piece; what each multiplied is kept for the backward pass."""
        _, heads, tokens, width = query.shape
        shared = key.shape[1]
        pieces = tuple(pieces_of(segments, _LONGEST))
        output = query.new_empty(tokens, heads, width)
        kept = []
        for piece in pieces:
            length = piece.end - piece.start
            asked = _folded(query[0], piece, shared) * scale
            keys, values = _gathered(key[0], piece), _gathered(value[0], piece)
            scores = torch.bmm(asked, keys.transpose(1, 2))
            own = scores.view(shared, -1, length, scores.shape[2])[..., -length:]
            own.masked_fill_(_AHEAD[:length, :length], float("-inf"))
            weights = scores.softmax(-1)
            kept += [asked, keys, values, weights]
            output[piece.start : piece.end] = torch.bmm(weights, values).view(heads, length, width).transpose(0, 1)
        ctx.pieces, ctx.scale, ctx.shared = pieces, scale, shared
        ctx.save_for_backward(output, *kept)
        return output[None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of query, key and value; None for what is no tensor."""
        output, *kept = ctx.saved_tensors
        tokens, heads, width = output.shape
        of_query = torch.empty_like(output).transpose(0, 1)
        of_key, of_value = (output.new_zeros(tokens, ctx.shared, width).transpose(0, 1) for _ in range(2))
        delta = (gradient[0] * output).sum(-1).t()
        for number, piece in enumerate(ctx.pieces):
            asked, keys, values, weights = kept[4 * number : 4 * number + 4]
            length = piece.end - piece.start
            given = _folded(gradient[0].transpose(0, 1), piece, ctx.shared)
            _scatter(of_value, piece, torch.bmm(weights.transpose(1, 2), given))
            scores = torch.bmm(given, values.transpose(1, 2))
            scores.sub_(delta[:, piece.start : piece.end].reshape(ctx.shared, -1, 1)).mul_(weights)
            of_query[:, piece.start : piece.end] = torch.bmm(scores, keys).mul_(ctx.scale).view(heads, length, width)
            _scatter(of_key, piece, torch.bmm(scores.transpose(1, 2), asked))
        return of_query[None], of_key[None], of_value[None], None, None


def _gathered(row: Tensor, piece: Piece) -> Tensor:
    """(key heads, L, d) → (key heads, n, d): what the piece sees."""
    return torch.cat([row[:, start:end] for start, end in (*piece.above, (piece.start, piece.end))], dim=1)


def _folded(row: Tensor, piece: Piece, shared: int) -> Tensor:
    """(h, L, d) → (key heads, h / key heads · tokens of the piece, d): heads of one key under each other."""
    return row[:, piece.start : piece.end].contiguous().view(shared, -1, row.shape[2])


def _scatter(row: Tensor, piece: Piece, parts: Tensor) -> None:
    """Add (key heads, n, d) to the places of (key heads, L, d) that the piece sees."""
    at = 0
    for start, end in (*piece.above, (piece.start, piece.end)):
        row[:, start:end] += parts[:, at : at + end - start]
        at += end - start
