"""Bytes to text and text to clean text: where files of unknown origin come in."""

from __future__ import annotations

import codecs
import json
import math
import unicodedata
from typing import Annotated

from pydantic import BeforeValidator

from ai_therapist.errors import InvalidRecord

LARGEST_BYTES = 64 << 20
"""Longest file that is read: a day of talk with word times is far shorter."""

LONGEST_TEXT = 100_000
"""Most characters in one stretch of speech or one label."""

LATEST_MS = 1_000 * 3_600_000
"""Times beyond a thousand hours are slips of a program, not of a session."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    # The longer mark first: that of UTF-16 is its beginning.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def clean(text: str) -> str:
    """The text on one line: white space becomes single spaces, and characters that no file format can hold go.

    Those are control characters, unpaired surrogates and non-characters, which XML forbids.
    """
    kept = "".join(c for c in " ".join(text.split()) if unicodedata.category(c) not in {"Cc", "Cs"})
    return " ".join("".join(c for c in kept if ord(c) & 0xFFFE != 0xFFFE).split())


def _cleaned(value: object) -> object:
    return clean(value) if isinstance(value, str) else value


CleanText = Annotated[str, BeforeValidator(_cleaned)]
"""Text that is cleaned when a record is made, so that every format gives back what it was given."""


def decode_text(data: bytes, where: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; line ends become "\\n".

    Raises InvalidRecord for anything else, and for an empty or oversized file.
    """
    if len(data) > LARGEST_BYTES:
        raise InvalidRecord(f"{where}: more than {LARGEST_BYTES >> 20} MB: not a transcript, or split it")
    mark, encoding = next(((mark, name) for mark, name in _BOMS if data.startswith(mark)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidRecord(f"{where}: byte {error.start} is not {encoding.upper()}: save the file as UTF-8") from None
    if not text.strip():
        raise InvalidRecord(f"{where}: the file is empty")
    if "\0" in text:
        raise InvalidRecord(f"{where}: holds zero bytes: it is not text, or UTF-16 without a byte order mark")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode_json(data: bytes, where: str) -> object:
    """The JSON value of a file. Raises InvalidRecord, also for NaN and infinities, which JSON does not have."""

    def refuse(constant: str) -> object:
        raise ValueError(constant)

    try:
        value: object = json.loads(decode_text(data, where), parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise InvalidRecord(f"{where}, line {error.lineno}: not valid JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise InvalidRecord(f"{where}: not valid JSON: a number that is none, or nested too deep") from None
    return value


def milliseconds(seconds: object, where: str) -> int:
    """Whole milliseconds nearest to a number of seconds. Raises InvalidRecord for what is no time."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise InvalidRecord(f"{where}: not a time in seconds")
    return checked_ms(round(seconds * 1000), where)


def checked_ms(time_ms: object, where: str) -> int:
    """A time in milliseconds. Raises InvalidRecord for what is none, is negative or lies beyond a thousand hours."""
    if isinstance(time_ms, bool) or not isinstance(time_ms, int) or not 0 <= time_ms <= LATEST_MS:
        raise InvalidRecord(f"{where}: not a time between 0 and {LATEST_MS // 3_600_000} hours")
    return time_ms


def clock(time_ms: int, comma: str = ".") -> str:
    """`HH:MM:SS.mmm`, hours as wide as they need to be."""
    seconds, part = divmod(time_ms, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{comma}{part:03d}"
