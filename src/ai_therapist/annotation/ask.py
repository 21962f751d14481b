"""Asks a model one question about one turn: at most some attempts, each answer written down before it is read.

label weights      a label, or unsure
reply read         a label, or cues
not read           asked once more, then invalid (or empty)
refused, blocked   refused, and not asked again
clip not taken     told to the caller, who asks with words alone
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ai_therapist.annotation.config import AnnotationConfig
from ai_therapist.annotation.journal import Answer, Journal, question_digest
from ai_therapist.annotation.parse import MAX_REPLY_CHARACTERS, collect_reply, parse_reply, parse_scores
from ai_therapist.annotation.prompt import Prompt, ask_again
from ai_therapist.errors import CannotTake, NoAnswer, UnreadableMedia
from ai_therapist.models.catalogue import AnyModel
from ai_therapist.models.protocol import LabelScorer, StructuredGenerator, TextGenerator, answer_schema
from ai_therapist.records import Abstention, Codebook, Cues, Label, Outcome, Task
from ai_therapist.records.message import Message

_MAX_TOKENS = {Task.EMOTION: 64, Task.STRATEGY: 64, Task.CUES: 256}


class Ending(StrEnum):
    """How a question ended; every annotation is counted under exactly one."""

    LABEL = "labels"
    CUES = "cues"
    UNSURE = "unsure"
    INVALID = "invalid"
    EMPTY = "empty"
    REFUSED = "refused"
    NOT_ASKED = "not_asked"


@dataclass(frozen=True)
class Question:
    """What is asked, of which request."""

    task: Task
    messages: Sequence[Message]
    digest: str


@dataclass(frozen=True)
class Answered:
    """The outcome, how it came about, and the replies that could not be read, each with the reason."""

    outcome: Outcome
    ending: Ending
    calls: int
    unread: tuple[tuple[str, str], ...] = ()
    """Reason and reply."""


class ClipRefused(Exception):
    """The model does not take the clip of the question."""


def ask(
    model: AnyModel, question: Question, prompt: Prompt, config: AnnotationConfig, codebook: Codebook, journal: Journal
) -> Answered:
    """The answer of a model, from the journal where it was given before.

    Raises ClipRefused where the model does not take the clip, and what the model raises where it must be asked later.
    """
    labels = None if question.task is Task.CUES else codebook.names(question.task)
    if labels is not None and isinstance(model, LabelScorer):
        answer = _weighed(model, question, labels, prompt, journal)
        if answer.scores is None:
            return _refused(answer, 1)
        outcome = parse_scores(answer.scores, labels, config)
        return Answered(outcome, Ending.LABEL if isinstance(outcome, Label) else Ending.UNSURE, 1)
    if isinstance(model, TextGenerator):
        return _converse(model, question, labels, prompt, config, codebook, journal)
    return Answered(Abstention(reason="annotator cannot write cues"), Ending.NOT_ASKED, 0)


def _converse(
    model: TextGenerator,
    question: Question,
    labels: Sequence[str] | None,
    prompt: Prompt,
    config: AnnotationConfig,
    codebook: Codebook,
    journal: Journal,
) -> Answered:
    """Ask until the reply can be read, `attempts` times at most; the last reason stands."""
    unread: list[tuple[str, str]] = []
    messages = question.messages
    for attempt in range(config.attempts):
        answer = _written(model, question, messages, attempt, labels, prompt, journal)
        if answer.refusal is not None or answer.reply is None:
            return _refused(answer, attempt + 1, tuple(unread))
        outcome = parse_reply(answer.reply, question.task, prompt.key, codebook)
        if not isinstance(outcome, Abstention):
            ending = Ending.CUES if isinstance(outcome, Cues) else Ending.LABEL
            return Answered(outcome, ending, attempt + 1, tuple(unread))
        unread.append((outcome.reason, answer.reply))
        messages = ask_again(question.messages)
    reason, reply = unread[-1]
    ending = Ending.INVALID if reply.strip() else Ending.EMPTY
    return Answered(Abstention(reason=reason), ending, config.attempts, tuple(unread))


def _weighed(model: LabelScorer, question: Question, labels: Sequence[str], prompt: Prompt, journal: Journal) -> Answer:
    key = question_digest(question.digest, 0)
    known = journal.find(key)
    if known is not None:
        return known
    try:
        scores = model.score(question.messages, labels, prefix=prompt.reply_prefix)
    except (CannotTake, UnreadableMedia, NoAnswer) as error:
        return journal.keep(_no_answer(key, error))
    return journal.keep(Answer(question=key, scores=scores))


def _written(
    model: TextGenerator,
    question: Question,
    messages: Sequence[Message],
    attempt: int,
    labels: Sequence[str] | None,
    prompt: Prompt,
    journal: Journal,
) -> Answer:
    key = question_digest(question.digest, attempt)
    known = journal.find(key)
    if known is not None:
        return known
    most = _MAX_TOKENS[question.task]
    try:
        if isinstance(model, StructuredGenerator):
            text = model.reply(messages, max_tokens=most, schema=answer_schema(prompt.key, labels))
            reply = collect_reply([text])
        else:
            reply = collect_reply(model.generate(messages, max_tokens=most))
    except (CannotTake, UnreadableMedia, NoAnswer) as error:
        return journal.keep(_no_answer(key, error))
    # Half a character cannot be written down; the reader refuses what stands for it.
    return journal.keep(Answer(question=key, reply=reply.encode("utf-8", "replace").decode("utf-8")))


def _no_answer(key: str, error: CannotTake | UnreadableMedia | NoAnswer) -> Answer:
    wrote = error.reply if isinstance(error, NoAnswer) else None
    kept = None if wrote is None else wrote[:MAX_REPLY_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    return Answer(question=key, reply=kept, refusal=str(error), about_clip=not isinstance(error, NoAnswer))


def _refused(answer: Answer, calls: int, unread: tuple[tuple[str, str], ...] = ()) -> Answered:
    reason = answer.refusal or "no answer"
    if answer.about_clip:
        raise ClipRefused(reason)
    kept = unread if answer.reply is None else (*unread, (reason, answer.reply))
    return Answered(Abstention(reason=reason), Ending.REFUSED, calls, kept)
