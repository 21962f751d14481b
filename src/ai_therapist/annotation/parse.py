"""Turns what a model gave back into an outcome. What cannot be read is an abstention with a reason, never a guess.

A reply is read when it is one JSON object with the one key that was asked for and a string that the codebook knows.
One repair is made: where the whole reply is not JSON, the single fenced block or else the single object in braces
that it holds is taken in its place.

Reasons never quote the reply: it may repeat what people said.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from ai_therapist.annotation.config import AnnotationConfig
from ai_therapist.records import Abstention, Codebook, Cues, Label, Outcome, Task

MAX_REPLY_CHARACTERS = 4_000
"""No honest reply is longer; reading stops here."""

_FENCED = re.compile(r"```[a-zA-Z]*\n(.*?)```", re.DOTALL)
_BRACED = re.compile(r"\{[^{}]*\}")
_DIGITS = 6


class _Unreadable(ValueError):
    """Why a text is not the object that was asked for."""


class _NotJson(_Unreadable):
    """The text as a whole is not JSON; a part of it may be."""


def collect_reply(pieces: Iterable[str]) -> str:
    """The pieces of a reply as one text, cut off just beyond MAX_REPLY_CHARACTERS."""
    text = ""
    for piece in pieces:
        text += piece
        if len(text) > MAX_REPLY_CHARACTERS:
            break
    return text[: MAX_REPLY_CHARACTERS + 1]


def parse_reply(reply: str | bytes, task: Task, key: str, codebook: Codebook) -> Outcome:
    """The label or the cues that a reply gives, or an abstention that says what is wrong with it."""
    try:
        text = reply.decode("utf-8") if isinstance(reply, bytes) else reply
        if not text.strip():
            raise _Unreadable("empty reply")
        if len(text) > MAX_REPLY_CHARACTERS:
            raise _Unreadable(f"reply longer than {MAX_REPLY_CHARACTERS} characters")
        answer = _only_value(_read_object(text), key)
        answer.encode("utf-8")  # JSON can spell half a character, which no record may hold.
    except UnicodeError:
        return Abstention(reason="reply is not UTF-8")
    except _Unreadable as error:
        return Abstention(reason=str(error))
    if task is Task.CUES:
        return Cues(text=answer.strip())
    label = codebook.canonical(task, answer)
    return Abstention(reason="label is not in the codebook") if label is None else Label(value=label)


def parse_scores(scores: Mapping[str, float], labels: Sequence[str], config: AnnotationConfig) -> Outcome:
    """The most probable label with all probabilities, or an abstention where they are too close or too low.

    Scores that are no probabilities of exactly these labels are an abstention as well.
    """
    values = [scores.get(label, math.nan) for label in labels]
    if len(scores) != len(labels) or not all(0 <= value <= 1 for value in values) or abs(sum(values) - 1) > 1e-3:
        return Abstention(reason="scores are not probabilities of the labels")
    best, second = sorted((*values, 0.0), reverse=True)[:2]
    if best < config.min_probability:
        return Abstention(reason=f"most probable label below {config.min_probability:g}")
    if best - second < config.min_margin:
        return Abstention(reason=f"two labels closer than {config.min_margin:g}")
    probabilities = {label: round(value, _DIGITS) for label, value in zip(labels, values, strict=True)}
    return Label(value=labels[values.index(best)], probabilities=probabilities)


def _read_object(text: str) -> dict[str, object]:
    """The JSON object that a text is, or failing that the only one in it."""
    try:
        return _strict_object(text)
    except _NotJson:
        candidates = _FENCED.findall(text) or _BRACED.findall(text)
        if len(candidates) != 1:
            raise _Unreadable(f"{len(candidates) or 'no'} JSON objects in the reply") from None
    return _strict_object(candidates[0])


def _strict_object(text: str) -> dict[str, object]:
    """A JSON object without doubled keys and without NaN or infinities."""
    try:
        value = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_refuse_constant)
    except RecursionError:
        raise _Unreadable("reply is nested too deeply") from None
    except json.JSONDecodeError:
        raise _NotJson("reply is not JSON") from None
    if not isinstance(value, dict):
        raise _Unreadable("reply is not a JSON object")
    return value


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise _Unreadable("a key stands twice in the reply")
    return dict(pairs)


def _refuse_constant(_: str) -> object:
    raise _Unreadable("reply holds a number that JSON does not have")


def _only_value(answer: dict[str, object], key: str) -> str:
    value = answer.get(key)
    if len(answer) != 1 or not isinstance(value, str) or not value.strip():
        raise _Unreadable(f"reply is not an object with the one key {key!r} and a text")
    return value
