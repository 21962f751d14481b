"""The turns before a turn: a window that slides with it, fits a budget of tokens and never looks ahead."""

from __future__ import annotations

from collections.abc import Sequence

from ai_therapist.records import Utterance

_BYTES_A_TOKEN = 4
_TOKENS_OF_A_LINE = 8
"""The mark, the role and the end of a line."""


def estimated_tokens(text: str) -> int:
    """About how many tokens a turn takes in a prompt: a token for four bytes, and eight for its line.

    Every model counts in its own way; the window must be the same for all of them.
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_A_TOKEN) + _TOKENS_OF_A_LINE


def turns_before(
    turns: Sequence[Utterance], target: Utterance, limit: int, most_tokens: int | None = None
) -> tuple[Utterance, ...]:
    """The last `limit` turns that began before the target and fit into `most_tokens`, oldest first.

        turns     0   1   2   3   4   5
        limit 3       ╰───────╯   target 4

    `turns` are a session's turns in order of time. A turn that began at the same moment as the target is not before
    it. The window is whole: where a turn does not fit any more, no earlier one is taken instead. Raises ValueError for
    a negative limit.
    """
    if limit < 0:
        raise ValueError(f"a window of {limit} turns is not possible")
    earlier = [turn for turn in turns if turn.index < target.index and turn.span.start_ms < target.span.start_ms]
    window: list[Utterance] = []
    left = most_tokens
    for turn in reversed(earlier):
        if left is not None:
            left -= estimated_tokens(turn.text)
        if len(window) == limit or (left is not None and left < 0):
            break
        window.append(turn)
    return tuple(reversed(window))
