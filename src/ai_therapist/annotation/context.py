"""The turns before a turn: a window that slides with it and never looks ahead."""

from __future__ import annotations

from collections.abc import Sequence

from ai_therapist.records import Utterance


def turns_before(turns: Sequence[Utterance], target: Utterance, limit: int) -> tuple[Utterance, ...]:
    """The last `limit` turns that began before the target, oldest first.

        turns     0   1   2   3   4   5
        limit 3       ╰───────╯   target 4

    `turns` are a session's turns in order of time. A turn that began at the same moment as the target is not before
    it. Raises ValueError for a negative limit.
    """
    if limit < 0:
        raise ValueError(f"a window of {limit} turns is not possible")
    earlier = [turn for turn in turns if turn.index < target.index and turn.span.start_ms < target.span.start_ms]
    return tuple(earlier[len(earlier) - min(limit, len(earlier)) :])
