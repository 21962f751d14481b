"""Subtitles, WebVTT and SubRip (SRT): timed cues of text, with the speaker in a voice tag or in a label before it.

WebVTT     <v Anna>so how was the week          names the speaker
SRT        [Anna]: so how was the week          as WhisperX writes it; "Anna: …" is read too, where every cue has one

Neither holds word times or confidence. Markup such as <i> is left out on reading, so a text that looks like markup
does not survive SRT, which knows no way to escape it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ai_therapist.errors import InvalidRecord
from ai_therapist.formats.passages import Passage, in_order, make_passage
from ai_therapist.formats.text import checked_ms, clean, clock, decode_text

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{3})"
_TIMING = re.compile(rf"\s*{_TIME}\s+-->\s+{_TIME}")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^>]*)>")
_TAG = re.compile(r"</?[^<>]*>")
_SRT_MARKUP = re.compile(r"</?(?:[ibus]|font)(?:\s[^<>]*)?>|\{\\[^{}]*\}", re.IGNORECASE)
_BRACKETED = re.compile(r"\[([^\[\]]{0,100})\]:(?: |$)")
_BARE = re.compile(r"([^\s:\[\]][^:\[\]]{0,39}):(?: |$)")

_MOST_BARE_LABELS = 8
"""More different beginnings "WORD:" than this are a manner of writing, not speakers."""


@dataclass(frozen=True)
class _Cue:
    span: tuple[int, int]
    payload: str
    where: str


def read_webvtt(data: bytes, where: str) -> tuple[Passage, ...]:
    """The cues of a WebVTT file. One in which two voices speak has no speaker, since it does not say who when.

    Raises InvalidRecord that names the line.
    """
    text = decode_text(data, where)
    if not re.match(r"WEBVTT(?:[ \t\n]|$)", text):
        raise InvalidRecord(f"{where}: not WebVTT: the first line is not WEBVTT")
    head, _, body = text.partition("\n\n")
    passages = []
    for cue in _cues(body, where, head.count("\n") + 3, comments=True):
        voices = {clean(html.unescape(name)) for name in _VOICE.findall(cue.payload)}
        spoken = html.unescape(_TAG.sub("", cue.payload))
        speaker = voices.pop() if len(voices) == 1 else None
        passages.append(make_passage(cue.span, cue.where, speaker, spoken))
    return in_order(passages)


def write_webvtt(passages: Sequence[Passage]) -> bytes:
    """Passages as WebVTT in UTF-8."""
    blocks = ["WEBVTT"]
    for one in in_order(passages):
        voice = "" if one.speaker is None else f"<v {_escaped(one.speaker)}>"
        span = f"{clock(one.span.start_ms)} --> {clock(one.span.end_ms)}"
        blocks.append(f"{span}\n{voice}{_escaped(one.text)}")
    return ("\n\n".join(blocks) + "\n").encode()


def read_srt(data: bytes, where: str) -> tuple[Passage, ...]:
    """The cues of an SRT file. Raises InvalidRecord that names the line."""
    found = list(_cues(decode_text(data, where), where, 1, comments=False))
    said = [clean(_SRT_MARKUP.sub("", cue.payload)) for cue in found]
    bare = _has_bare_labels(said)
    passages = []
    for cue, text in zip(found, said, strict=True):
        label = _BRACKETED.match(text) or (_BARE.match(text) if bare else None)
        speaker, spoken = (label[1] or None, text[label.end() :]) if label else (None, text)
        passages.append(make_passage(cue.span, cue.where, speaker, spoken))
    return in_order(passages)


def write_srt(passages: Sequence[Passage]) -> bytes:
    """Passages as SRT in UTF-8. A text that begins like a label is kept from being read as one by an empty label.

    Raises InvalidRecord for a label that holds a square bracket.
    """
    blocks = []
    for number, one in enumerate(in_order(passages), start=1):
        if one.speaker is not None and set(one.speaker) & set("[]"):
            raise InvalidRecord(f"speaker {one.speaker!r}: SRT holds no label with a square bracket: rename")
        ambiguous = _BRACKETED.match(one.text) or _BARE.match(one.text)
        label = f"[{one.speaker or ''}]: " if one.speaker is not None or ambiguous else ""
        span = f"{clock(one.span.start_ms, ',')} --> {clock(one.span.end_ms, ',')}"
        blocks.append(f"{number}\n{span}\n{label}{one.text}\n")
    return "\n".join(blocks).encode()


def _cues(body: str, where: str, line: int, *, comments: bool) -> Iterator[_Cue]:
    """The cues of blocks that blank lines part, `line` being the number of the first."""
    for block in re.split(r"\n(?=[ \t]*\n)", body):
        lines = block.split("\n")
        # All but the first block begin with the blank line that parts them from the one before.
        blank = next((place for place, text in enumerate(lines) if text.strip()), None)
        if blank is not None and not (comments and re.match(r"(?:NOTE|STYLE|REGION)\b", lines[blank])):
            # A number or name may stand above the times.
            timing = blank if "-->" in lines[blank] else blank + 1
            here = f"{where}, line {line + min(timing, len(lines) - 1)}"
            yield _Cue(_span(lines[timing] if timing < len(lines) else "", here), " ".join(lines[timing + 1 :]), here)
        line += len(lines)


def _span(line: str, where: str) -> tuple[int, int]:
    match = _TIMING.match(line)
    if match is None:
        raise InvalidRecord(f"{where}: times should stand here, as 00:00:01.000 --> 00:00:02.500")
    numbers = [int(number or 0) for number in match.groups()]
    start, end = (
        ((hours * 60 + minutes) * 60 + seconds) * 1000 + part
        for hours, minutes, seconds, part in (numbers[:4], numbers[4:])
    )
    return checked_ms(start, where), checked_ms(end, where)


def _has_bare_labels(texts: Sequence[str]) -> bool:
    """Whether "WORD:" before a text is a speaker: every cue has one, few differ, and one comes twice."""
    labels = [match[1] if (match := _BARE.match(text)) else None for text in texts if not _BRACKETED.match(text)]
    return None not in labels and len(set(labels)) < len(labels) and len(set(labels)) <= _MOST_BARE_LABELS


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
