"""What a model is asked in a turn: the three labels in the renderer's order, then the reply that they condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

from ai_therapist.dataset.render import LABEL_FIELDS, Field, answer_prefix, reply_line
from ai_therapist.errors import TransientError
from ai_therapist.inference.events import LabelsPredicted
from ai_therapist.inference.stop import until
from ai_therapist.models.protocol import (
    GREEDY,
    AheadReader,
    LabelScorer,
    Sampling,
    SamplingGenerator,
    Tally,
    TextGenerator,
)
from ai_therapist.records import Abstention, Label, Labels
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import Message, TextPart

_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Manner:
    """How the reply is to be written, as the one who asks wants it."""

    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    """Texts before the first of which the reply ends."""


AS_USUAL = Manner()
"""Greedy, to its own end."""


@dataclass(frozen=True)
class Speaker:
    """The model that talks: what writes the reply, and what weighs the labels before it."""

    generator: TextGenerator
    scorer: LabelScorer | None
    """None where nothing predicts labels: then each is an abstention."""
    is_toy: bool
    """Whether the opening must call it a toy."""
    predicts: frozenset[Field] = frozenset(LABEL_FIELDS)
    """What the scorer can predict: one that labels what was said knows nothing of what comes next."""
    context_turns: int | None = None
    """Most earlier turns that it was trained with; None where nobody knows."""
    labels_lead: bool = True
    """Whether its labels stand before the reply and before each other, as they did in its training."""
    alone: Lock | None = None
    """Held while the model is asked, where it can answer one question at a time only."""

    @cached_property
    def sampler(self) -> SamplingGenerator | None:
        """The generator where it can draw its words: asked once, since asking costs a part of a millisecond."""
        return self.generator if isinstance(self.generator, SamplingGenerator) else None

    @cached_property
    def ahead_reader(self) -> AheadReader | None:
        """The generator where it keeps what it has read."""
        return self.generator if isinstance(self.generator, AheadReader) else None

    @contextmanager
    def held(self, wait_s: float) -> Iterator[None]:
        """The model for oneself. Raises TransientError where another turn has it for longer than `wait_s`."""
        if self.alone is None:
            yield
            return
        if not self.alone.acquire(timeout=wait_s):
            raise TransientError("the model is busy with another turn")
        try:
            yield
        finally:
            self.alone.release()


def answer_pieces(
    speaker: Speaker,
    messages: Sequence[Message],
    max_tokens: int,
    wait_s: float = 60.0,
    *,
    manner: Manner = AS_USUAL,
    tally: Tally | None = None,
) -> Iterator[LabelsPredicted | str]:
    """The predicted labels, then the reply piece by piece; `tally` is counted up with the reply's tokens.

    Raises TransientError where another turn holds the model for longer than `wait_s`, and whatever the models raise.
    """
    with speaker.held(wait_s):
        yield from _answered(speaker, messages, max_tokens, manner, tally or Tally())


def _answered(
    speaker: Speaker, messages: Sequence[Message], max_tokens: int, manner: Manner, tally: Tally
) -> Iterator[LabelsPredicted | str]:
    outcomes: dict[Field, Label | Abstention] = {}
    given = Labels(client_emotion=None, strategy=None, therapist_emotion=None)
    for field in LABEL_FIELDS:
        outcome = _predict(speaker, messages, field, given)
        outcomes[field] = outcome
        if isinstance(outcome, Label) and speaker.labels_lead:
            given = _with(given, field, outcome.value)
    yield LabelsPredicted(
        client_emotion=outcomes[Field.CLIENT_EMOTION],
        strategy=outcomes[Field.STRATEGY],
        therapist_emotion=outcomes[Field.THERAPIST_EMOTION],
    )
    prefix = answer_prefix(Field.REPLY, given)
    sampler = speaker.sampler
    pieces = (
        speaker.generator.generate(messages, max_tokens=max_tokens, prefix=prefix)
        if sampler is None
        else sampler.sample(messages, max_tokens=max_tokens, prefix=prefix, sampling=manner.sampling, tally=tally)
    )
    yield from reply_line(until(manner.stop, pieces))


def _predict(speaker: Speaker, messages: Sequence[Message], field: Field, given: Labels) -> Label | Abstention:
    if speaker.scorer is None:
        return Abstention(reason="no model weighs labels here")
    if field not in speaker.predicts:
        return Abstention(reason="the classifier labels what was said and predicts nothing")
    shown = [_accepted(message, speaker.scorer.accepts) for message in messages]
    weights = speaker.scorer.score(shown, field.choices, prefix=answer_prefix(field, given))
    return _outcome(weights, field.choices)


def _accepted(message: Message, accepts: frozenset[Modality]) -> Message:
    """The message without what a scorer beside the generator cannot take."""
    if message.modalities <= accepts:
        return message
    return Message(role=message.role, parts=tuple(part for part in message.parts if isinstance(part, TextPart)))


def _outcome(weights: Mapping[str, float], choices: Sequence[str]) -> Label | Abstention:
    """The likeliest label with the probability of each, or an abstention where they are no probabilities."""
    if set(weights) != set(choices):
        return Abstention(reason="the model weighed other labels than it was given")
    # NaN fails the first test, since it compares false with everything.
    if not all(0 <= weight <= 1 for weight in weights.values()) or abs(sum(weights.values()) - 1) > _TOLERANCE:
        return Abstention(reason="the model gave weights that are no probabilities")
    best = max(choices, key=lambda choice: weights[choice])
    return Label(value=best, probabilities=dict(weights))


def _with(labels: Labels, field: Field, value: str) -> Labels:
    match field:
        case Field.CLIENT_EMOTION:
            return labels.model_copy(update={"client_emotion": value})
        case Field.STRATEGY:
            return labels.model_copy(update={"strategy": value})
        case _:
            return labels.model_copy(update={"therapist_emotion": value})
