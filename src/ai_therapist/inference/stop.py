"""Ends an answer before the first of the texts that the one who asked named; they may span any number of pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ai_therapist.dataset.render import speakable

_BLANKS = re.compile(r"[^\S\n]+")


def until(stops: Sequence[str], pieces: Iterator[str]) -> Iterator[str]:
    """The pieces up to the first of `stops`, which is not given itself; blank stops end at the first blank.

    Compared is what will be shown, so white space counts once and brackets as they are written there. A piece that
    may begin a stop waits until what follows tells.
    """
    wanted = [text for text in map(_shown, stops) if text]
    pending = ""
    for piece in pieces:
        # A blank at the end of one piece and one at the beginning of the next are one blank.
        pending = _shown(pending + piece)
        # The one that is complete first, so that pieces make no difference.
        met = min(((at + len(stop), at) for stop in wanted if (at := pending.find(stop)) >= 0), default=None)
        if met is not None:
            yield from filter(None, [pending[: met[1]]])
            return
        keep = max((_overlap(pending, stop) for stop in wanted), default=0)
        ready, pending = pending[: len(pending) - keep], pending[len(pending) - keep :]
        yield from filter(None, [ready])
    yield from filter(None, [pending])


def _shown(text: str) -> str:
    return _BLANKS.sub(" ", speakable(text))


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text may begin the stop."""
    most = min(len(text), len(stop) - 1)
    return next((length for length in range(most, 0, -1) if text.endswith(stop[:length])), 0)
