"""Labels as tiers over time, for ELAN and Praat: one tier for each speaker, task and person.

    A                     ├── so how was the week ──┤      what was said
    A - emotion (ada)     ├──────── neutral ────────┤      ada's answers, from the labels of the codebook
    A - emotion [models]  ├──────── neutral ────────┤      to look at; not read back

An interval answers for the turn of its speaker that it covers: both must share more than half of the time that they
span together, so that a border which was moved a little still counts and none can mean two turns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ai_therapist.annotation.exchange.answers import CANNOT, Given, word_of
from ai_therapist.annotation.exchange.sheet import TASKS, Sheet
from ai_therapist.formats.elan import read_elan, write_elan
from ai_therapist.formats.text import clock
from ai_therapist.formats.textgrid import read_textgrid, write_textgrid
from ai_therapist.formats.tiers import KIND_MARK, Interval, Tier, make_tier
from ai_therapist.records import Codebook, Role, Task, TimeSpan, Utterance

_KIND = re.compile(r"(emotion|strategy) \(([^()]*)\)")


def write_labels_elan(sheet: Sheet, codebook: Codebook) -> bytes:
    """The session as an ELAN document: controlled vocabularies, and an empty interval for each turn to label.

    Raises InvalidRecord where two turns of one speaker overlap, which tiers cannot hold.
    """
    return write_elan(_tiers(sheet, codebook, empty=True))


def write_labels_textgrid(sheet: Sheet, codebook: Codebook) -> bytes:
    """The session as a TextGrid, which holds answers and silence, no empty interval. Raises as for ELAN."""
    return write_textgrid(_tiers(sheet, codebook, empty=False))


def read_labels_elan(data: bytes, where: str, turns: Sequence[Utterance]) -> Iterator[Given]:
    """The answers in an ELAN document about a session of these turns. Raises InvalidRecord for what is none."""
    return _read(read_elan(data, where), where, turns)


def read_labels_textgrid(data: bytes, where: str, turns: Sequence[Utterance]) -> Iterator[Given]:
    """The answers in a TextGrid about a session of these turns. Raises InvalidRecord for what is none."""
    return _read(read_textgrid(data, where), where, turns)


def _tiers(sheet: Sheet, codebook: Codebook, *, empty: bool) -> list[Tier]:
    tiers = []
    for speaker in dict.fromkeys(turn.speaker for turn in sheet.turns):
        own = [turn for turn in sheet.turns if turn.speaker == speaker]
        said = [(turn.span.start_ms, turn.span.end_ms, turn.text) for turn in own]
        tiers.append(make_tier(speaker, said, sheet.session.id, participant=speaker))
        for task in TASKS:
            if task is Task.STRATEGY and sheet.role(own[0]) not in (Role.THERAPIST, Role.UNKNOWN):
                continue
            vocabulary = (*codebook.names(task), CANNOT)
            for rater in sheet.raters():
                pieces = _answers(sheet, own, task, rater, empty=empty)
                name = f"{speaker}{KIND_MARK}{task.value} ({rater})"
                tiers.append(make_tier(name, pieces, sheet.session.id, vocabulary, speaker, rater))
            votes = [piece for turn in own for piece in _models(sheet, turn, task)]
            if votes:
                name = f"{speaker}{KIND_MARK}{task.value} [models]"
                tiers.append(make_tier(name, votes, sheet.session.id, None, speaker, "models"))
    return tiers


def _answers(
    sheet: Sheet, turns: Sequence[Utterance], task: Task, rater: str, *, empty: bool
) -> list[tuple[int, int, str]]:
    found = []
    for turn in turns:
        question = sheet.question(turn, task)
        word = "" if question is None else word_of(question.of(rater))
        if word or empty:
            found.append((turn.span.start_ms, turn.span.end_ms, word))
    return found


def _models(sheet: Sheet, turn: Utterance, task: Task) -> Iterator[tuple[int, int, str]]:
    question = sheet.question(turn, task)
    words = [] if question is None else [word_of(vote) for vote in sheet.votes(question)]
    if words:
        yield turn.span.start_ms, turn.span.end_ms, " | ".join(words)


def _read(tiers: Sequence[Tier], where: str, turns: Sequence[Utterance]) -> Iterator[Given]:
    by_speaker: dict[str, list[Utterance]] = {}
    for turn in turns:
        by_speaker.setdefault(turn.speaker, []).append(turn)
    for tier in tiers:
        kind = _KIND.fullmatch(tier.kind or "")
        if kind is not None:
            speaker = tier.name.rpartition(KIND_MARK)[0]
            yield from _given(tier, kind[1], kind[2], by_speaker.get(speaker, ()), where)


def _given(tier: Tier, task: str, rater: str, turns: Sequence[Utterance], where: str) -> Iterator[Given]:
    for interval in tier.intervals:
        if interval.text:
            place = f"{where}, tier {tier.name!r} at {clock(interval.span.start_ms)}"
            yield Given(place, rater, _turn_at(interval, turns), task, interval.text)


def _turn_at(interval: Interval, turns: Sequence[Utterance]) -> str:
    """Id of the turn that an interval answers for; nothing where there is none."""
    shares: Mapping[str, float] = {turn.id: _shared(interval.span, turn.span) for turn in turns}
    best = max(shares, key=shares.__getitem__, default=None)
    return best if best is not None and shares[best] > 0.5 else ""


def _shared(one: TimeSpan, other: TimeSpan) -> float:
    """Time that both cover, as a share of the time from the first start to the last end."""
    return one.overlap_ms(other) / one.joined(other).duration_ms
