"""The checksums that a Matroska file carries: FFmpeg reads over them, so they are compared here.

An element of the first levels may begin with a CRC-32 of the rest of its content:

    Segment ─┬─ Info     CRC-32, ...
             ├─ Tracks   CRC-32, ...
             └─ Cluster  CRC-32, times and packets
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

from ai_therapist.errors import UnreadableMedia

_SEGMENT, _CRC = 0x18538067, 0xBF
_BLOCK_BYTES = 1 << 20


def check_matroska(path: Path) -> None:
    """Raises UnreadableMedia where an element is not what its checksum says; a file without any is not looked into."""
    size = path.stat().st_size
    with path.open("rb") as file:
        place = 0
        while (element := _element(file, place)) is not None:
            identity, begin, length = element
            # A Segment, or a part of it, whose length was not known when it was written goes on to the end.
            end = size if length is None else begin + length
            if identity == _SEGMENT:
                place = begin
                continue
            if length is None or end > size:
                return
            _compare(file, begin, end)
            place = end


def _compare(file: BinaryIO, begin: int, end: int) -> None:
    first = _element(file, begin)
    if first is None or first[0] != _CRC or first[2] != 4:
        return
    file.seek(first[1])
    said, found, left = int.from_bytes(file.read(4), "little"), 0, end - first[1] - 4
    while left > 0 and (block := file.read(min(left, _BLOCK_BYTES))):
        found = zlib.crc32(block, found)
        left -= len(block)
    if found != said:
        raise UnreadableMedia("the recording is damaged: a part of it is not what its checksum says; copy it again")


def _element(file: BinaryIO, place: int) -> tuple[int, int, int | None] | None:
    """Id, begin of the content and its length (None for an unknown one) of the element at a place; None for none."""
    file.seek(place)
    head = file.read(12)
    if not head or not head[0]:
        return None
    identity_bytes = 9 - head[0].bit_length()
    if len(head) <= identity_bytes or not head[identity_bytes]:
        return None
    length_bytes = 9 - head[identity_bytes].bit_length()
    raw = head[identity_bytes : identity_bytes + length_bytes]
    length = int.from_bytes(raw, "big") & ((1 << 7 * length_bytes) - 1)
    unknown = length == (1 << 7 * length_bytes) - 1
    identity = int.from_bytes(head[:identity_bytes], "big")
    return identity, place + identity_bytes + length_bytes, None if unknown else length
