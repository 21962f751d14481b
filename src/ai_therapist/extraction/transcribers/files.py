"""The transcriber that recognises nothing: transcripts that lie beside the recordings are taken as they are.

    anna_1.mp4
    anna_1.vtt       any format of docs/formats.md; one that holds words
    anna_1.rttm      optional: who spoke when, for passages whose speaker the transcript does not name

Whoever is named in neither is UNKNOWN, and words without times stay in the text alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ai_therapist.errors import InvalidRecord
from ai_therapist.extraction.sources.recording import Neighbours
from ai_therapist.formats.catalogue import FORMATS, format_named, format_of
from ai_therapist.formats.passages import Passage, to_transcript, with_speakers
from ai_therapist.formats.text import LARGEST_BYTES, clock
from ai_therapist.records import TimeSpan, Transcript

TURNS = "rttm"
"""The format that only says who spoke."""

_BEYOND_MS = 1000
"""How far a transcript may go on after the end of its recording: clocks of programs differ by that much."""


@dataclass(frozen=True)
class Beside:
    """The contents of the files of one recording; that of the words with the name of its format."""

    words: tuple[str, bytes]
    turns: bytes | None

    def artefacts(self) -> dict[str, bytes]:
        """The contents by the names under which `transcribe` finds them; the format is part of the name."""
        kind, content = self.words
        return {f"words/{kind}": content, **({} if self.turns is None else {"turns": self.turns})}


def find_beside(stem: str, beside: Neighbours) -> Beside | str:
    """The transcript beside the recording of this name without suffix, or the reason why there is none to take."""
    sizes = beside.sizes()
    found: dict[str, str] = {}
    suffixes = [(one.name, suffix) for one in FORMATS for suffix in one.suffixes]
    for name in sorted(sizes):
        kind = next((kind for kind, suffix in suffixes if name.lower() == f"{stem.lower()}{suffix}"), None)
        if kind is None and name.lower() == f"{stem.lower()}.json":
            kind = "json"
        if kind is None:
            continue
        if sizes[name] > LARGEST_BYTES:
            return f"{name} is larger than {LARGEST_BYTES >> 20} MB: it is no transcript"
        found[kind] = name
    turns = found.pop(TURNS, None)
    if not found:
        known = ", ".join(suffix for kind, suffix in suffixes if kind != TURNS)
        return f"{stem} has no transcript beside it: put {stem} with one of {known} there"
    if len(found) > 1:
        names = " and ".join(sorted(found.values()))
        return f"{stem} has several transcripts, {names}: keep the right one"
    ((kind, name),) = found.items()
    content = beside.read(name)
    if kind == "json":
        try:
            kind = format_of(Path(name), content).name
        except InvalidRecord as error:
            return str(error)
    return Beside((kind, content), None if turns is None else beside.read(turns))


def transcribe(kind: str, words: bytes, turns: bytes | None, session: str, duration_ms: int) -> Transcript:
    """The transcript that a file of format `kind` holds; `turns` is the RTTM file beside it.

    Raises InvalidRecord for a file that is not of its format, holds no word, or goes on after the recording.
    """
    where = f"transcript ({kind})"
    passages = format_named(kind).read(words, where)
    name = f"files: {kind}"
    if turns is not None:
        passages = with_speakers(passages, format_named(TURNS).read(turns, f"turns ({TURNS})"))
        name += f" with {TURNS}"
    return to_transcript([_within(one, duration_ms, where) for one in passages], session, name, where)


def _within(passage: Passage, duration_ms: int, where: str) -> Passage:
    """The passage up to the end of the recording."""
    span = passage.span
    if span.end_ms > duration_ms + _BEYOND_MS or span.start_ms >= duration_ms:
        raise InvalidRecord(
            f"{where}: someone speaks at {clock(span.start_ms)} to {clock(span.end_ms)}, but the recording ends at "
            f"{clock(duration_ms)}: is it the transcript of this recording?"
        )
    if span.end_ms <= duration_ms:
        return passage
    whole = TimeSpan(start_ms=span.start_ms, end_ms=duration_ms)
    words = tuple(word for word in passage.words if whole.contains(word.span))
    return passage.model_copy(update={"span": whole, "words": words})
