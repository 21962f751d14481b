"""Answers as they come, one a line, so that a run that was stopped asks no question again that it has had answered.

An answer is written and synced before anything is made of it. So a kill costs at most the calls under way.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import Field

from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest
from ai_therapist.store.codec import decode, encode
from ai_therapist.store.durable import append_durably, whole_lines


class Answer(Record):
    """What a model answered to one attempt: a text, weights of labels, or nothing with a reason."""

    question: Digest
    """Of the request and the attempt."""
    reply: str | None = Field(None, repr=False)
    scores: dict[str, float] | None = None
    refusal: str | None = None
    """Why there is no answer; `reply` is then what the model wrote instead."""
    about_clip: bool = False
    """Whether the model does not take the clip, so that words alone may do."""


class Journal:
    """Answers by question. Without a path they are kept in memory alone."""

    def __init__(self, path: Path | None = None) -> None:
        """Raises InvalidRecord where the file holds something else than answers."""
        self._path = path
        lines = [] if path is None else whole_lines(path)
        answers = [decode(Answer, line, f"{path} line {number}") for number, line in enumerate(lines, start=1)]
        self._answers = {answer.question: answer for answer in answers}

    def find(self, question: str) -> Answer | None:
        """The answer that was given, or None where the question was not answered yet."""
        return self._answers.get(question)

    def keep(self, answer: Answer) -> Answer:
        """Write an answer down; it survives a kill once this has returned."""
        if self._path is not None:
            append_durably(self._path, encode(answer).rstrip(b"\n") + b"\n")
        self._answers[answer.question] = answer
        return answer


def question_digest(request_sha256: str, attempt: int) -> str:
    """Digest of one attempt, from 0, at a request."""
    return hashlib.sha256(f"{request_sha256} {attempt}".encode()).hexdigest()
