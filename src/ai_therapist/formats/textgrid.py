"""Praat's TextGrid, long and short, read as Praat reads it: only free numbers, quoted strings and flags count.

Everything else in the file, such as `xmin =` and `intervals [1]:`, is decoration. A reader that searches for the
decoration is misled by labels that contain it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ai_therapist.errors import InvalidRecord
from ai_therapist.formats.text import clean, decode_text, milliseconds
from ai_therapist.formats.tiers import Tier, make_tier

_TOKEN = re.compile(r'"((?:[^"]|"")*+)"|(?<![^\s"])([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![^\s"])|<(\w+)>|(\S+)')
"""A quoted string with doubled quotes, a number that stands free, a flag, or decoration."""


def read_textgrid(data: bytes, where: str) -> tuple[Tier, ...]:
    """The interval tiers of a TextGrid; empty intervals are gaps, and tiers of points are left out.

    Raises InvalidRecord for what is no TextGrid, breaks off, or has times that are none.
    """
    text = decode_text(data, where)
    tokens = _Tokens(text, where)
    kind = tokens.string("a TextGrid").removesuffix(" short"), tokens.string("a TextGrid")
    if kind != ("ooTextFile", "TextGrid"):
        raise InvalidRecord(f"{where}: not a TextGrid: it does not begin as one")
    tokens.number("the start")
    tokens.number("the end")
    if tokens.flag() != "exists":
        return ()
    tiers = []
    for place in range(tokens.count("the number of tiers")):
        tier = _read_tier(tokens, f"{where}, tier {place + 1}")
        if tier is not None:
            tiers.append(tier)
    return tuple(tiers)


def write_textgrid(tiers: Sequence[Tier], end_ms: int | None = None) -> bytes:
    """Tiers as a long TextGrid in UTF-8 that lasts until `end_ms`, or until the last interval ends.

    Raises InvalidRecord for an interval without a text, which a TextGrid cannot tell from a gap.
    """
    last_ms = max([end_ms or 0, 1, *(interval.span.end_ms for tier in tiers for interval in tier.intervals)])
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {_seconds(last_ms)}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, tier in enumerate(tiers, start=1):
        filled = list(_with_gaps(tier, last_ms))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(tier.name)}"]
        lines += ["        xmin = 0", f"        xmax = {_seconds(last_ms)}", f"        intervals: size = {len(filled)}"]
        for place, (start_ms, stop_ms, text) in enumerate(filled, start=1):
            lines += [f"        intervals [{place}]:", f"            xmin = {_seconds(start_ms)}"]
            lines += [f"            xmax = {_seconds(stop_ms)}", f"            text = {_quoted(text)}"]
    return "\n".join([*lines, ""]).encode()


class _Tokens:
    """The tokens of a file one after the other, each asked for by what it must be."""

    def __init__(self, text: str, where: str) -> None:
        self._matches = _TOKEN.finditer(text)
        self._where = where
        self._text = text

    def string(self, what: str) -> str:
        """The next quoted string."""
        return self._next(1, what).replace('""', '"')

    def number(self, what: str) -> float:
        """The next number."""
        return float(self._next(2, what))

    def flag(self) -> str:
        """The next flag, such as "exists"."""
        return self._next(3, "<exists>")

    def count(self, what: str) -> int:
        """The next number, which counts something."""
        number = self.number(what)
        if not number.is_integer() or not 0 <= number <= len(self._text):
            raise InvalidRecord(f"{self._where}: {what} is not a count")
        return int(number)

    def _next(self, group: int, what: str) -> str:
        for match in self._matches:
            if match[4] is None:
                if match[group] is None:
                    line = self._text.count("\n", 0, match.start()) + 1
                    raise InvalidRecord(f"{self._where}, line {line}: {what} should stand here")
                return match[group]
        raise InvalidRecord(f"{self._where}: breaks off where {what} should stand")


def _read_tier(tokens: _Tokens, where: str) -> Tier | None:
    kind = tokens.string("the kind of a tier")
    name = tokens.string("the name of a tier")
    tokens.number("the start of a tier")
    tokens.number("the end of a tier")
    count = tokens.count("the number of intervals")
    if kind == "TextTier":
        for _ in range(count):
            tokens.number("the time of a point")
            tokens.string("the mark of a point")
        return None
    if kind != "IntervalTier":
        raise InvalidRecord(f"{where}: {kind!r} is no kind of tier")
    intervals = []
    for place in range(count):
        here = f"{where}, interval {place + 1}"
        start_ms = milliseconds(tokens.number("the start of an interval"), here)
        end_ms = milliseconds(tokens.number("the end of an interval"), here)
        text = tokens.string("the text of an interval")
        if clean(text):
            intervals.append((start_ms, end_ms, text))
    return make_tier(name, intervals, where)


def _with_gaps(tier: Tier, end_ms: int) -> Iterator[tuple[int, int, str]]:
    """The intervals and the silence between them: the intervals of a TextGrid tier cover all of it."""
    now_ms = 0
    for interval in tier.intervals:
        if not interval.text:
            raise InvalidRecord(f"tier {tier.name!r}: TextGrid holds no interval without text; choose eaf")
        if interval.span.start_ms > now_ms:
            yield now_ms, interval.span.start_ms, ""
        yield interval.span.start_ms, interval.span.end_ms, interval.text
        now_ms = interval.span.end_ms
    if now_ms < end_ms:
        yield now_ms, end_ms, ""


def _seconds(time_ms: int) -> str:
    return f"{time_ms // 1000}.{time_ms % 1000:03d}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
