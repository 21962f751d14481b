"""RTTM: who spoke when, ten columns a line, no word of what was said.

SPEAKER session 1 12.340 3.210 <NA> <NA> A <NA> <NA>        onset and duration in seconds
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from ai_therapist.errors import InvalidRecord
from ai_therapist.formats.passages import Passage, in_order, make_passage
from ai_therapist.formats.text import checked_ms, decode_text

_NOTHING = "<NA>"


def read_rttm(data: bytes, where: str) -> tuple[Passage, ...]:
    """The SPEAKER lines of an RTTM file; lines of other types are left out. Raises InvalidRecord with the line.

    A file of several recordings is refused: nothing says which of them is meant.
    """
    passages = []
    recordings = set()
    for number, line in enumerate(decode_text(data, where).split("\n"), start=1):
        columns = line.split()
        if not columns or columns[0] != "SPEAKER":
            continue
        here = f"{where}, line {number}"
        if not 8 <= len(columns) <= 10:
            raise InvalidRecord(f"{here}: {len(columns)} columns instead of 10")
        recordings.add(columns[1])
        start_ms = _milliseconds(columns[3], here)
        end_ms = start_ms + _milliseconds(columns[4], here)
        label = None if columns[7] == _NOTHING else columns[7].replace("%20", " ").replace("%25", "%")
        passages.append(make_passage((start_ms, end_ms), here, label))
    if len(recordings) > 1:
        raise InvalidRecord(f"{where}: holds {len(recordings)} recordings: split it into a file for each")
    if not passages:
        raise InvalidRecord(f"{where}: not RTTM: no line begins with SPEAKER")
    return in_order(passages)


def write_rttm(passages: Sequence[Passage]) -> bytes:
    """Spans and speakers as RTTM. What was said is not in it."""
    lines = []
    for one in in_order(passages):
        # Columns are parted by white space, which a label may hold.
        label = _NOTHING if one.speaker is None else one.speaker.replace("%", "%25").replace(" ", "%20")
        onset, length = one.span.start_ms, one.span.duration_ms
        times = f"{onset // 1000}.{onset % 1000:03d} {length // 1000}.{length % 1000:03d}"
        lines.append(f"SPEAKER session 1 {times} <NA> <NA> {label} <NA> <NA>\n")
    return "".join(lines).encode()


def _milliseconds(text: str, where: str) -> int:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise InvalidRecord(f"{where}: a time in seconds is no number") from None
    if not number.is_finite() or not 0 <= number < 10**8:
        raise InvalidRecord(f"{where}: a time in seconds is no number")
    return checked_ms(int((number * 1000).to_integral_value()), where)
