"""Models behind the models' door as systems: asked for what comes next, never shown a gold label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ai_therapist.dataset.render import (
    LABEL_FIELDS,
    Field,
    answer_prefix,
    label_of,
    parse_target,
    plain,
    render_prompt,
)
from ai_therapist.evaluation.predictions import Reply
from ai_therapist.evaluation.replies import GoldLikelihood
from ai_therapist.models.protocol import LabelScorer, LikelihoodReader, TextGenerator
from ai_therapist.models.turn_lines import mark_for, render_turn
from ai_therapist.records import Abstention, Example, Label, Labels, Modality, Turn, Unscored
from ai_therapist.records.message import AudioPart, Message, Part, VideoPart


class TunedModel(LabelScorer, TextGenerator, Protocol):
    """A model that weighs labels and writes."""


class Tuned:
    """Asks a model what comes next. Gold labels never enter a prompt: not of this turn, not of earlier ones."""

    def __init__(
        self,
        model: TunedModel,
        clip_of: Callable[[Example], Path | None],
        reply_tokens: int,
        *,
        keeps: Modality | None = None,
        cues: bool = False,
        chained: bool = True,
    ) -> None:
        """`keeps` is the one part of a clip that is shown, AUDIO or VIDEO; without it all of the clip is.

        `cues` tells the model what was written down of the client's clip, as in its training. `chained` lets its own
        labels stand before the next ones and before the reply, which is how it was trained unless its targets were
        apart.
        """
        self._model = model
        self._clip_of = clip_of
        self._reply_tokens = reply_tokens
        self._keeps = keeps
        self._cues = cues
        self._chained = chained
        self._answered: dict[str, Labels] = {}

    def predict(self, example: Example) -> Mapping[Field, Label | Reply | Abstention]:
        """A label with probabilities for each labelled field, then the reply; each follows from those before it."""
        messages = self._messages(example)
        outcomes: dict[Field, Label | Reply | Abstention] = {}
        given: dict[Field, str] = {}
        for field in LABEL_FIELDS:
            weights = self._model.score(messages, field.choices, prefix=self._prefix(field, _labels(given)))
            given[field] = max(weights, key=weights.__getitem__)
            outcomes[field] = Label(value=given[field], probabilities=weights)
        if self._reply_tokens:
            prefix = self._prefix(Field.REPLY, _labels(given))
            text = "".join(self._model.generate(messages, max_tokens=self._reply_tokens, prefix=prefix)).strip()
            outcomes[Field.REPLY] = Reply(text=text) if text else Abstention(reason="the reply is empty")
        self._answered[example.id] = _labels(given)
        return outcomes

    def gold_likelihood(self, example: Example) -> GoldLikelihood | None:
        """The likelihood of the reply that was given, after the model's own labels; None where it gives none."""
        if not isinstance(self._model, LikelihoodReader) or not self._reply_tokens:
            return None
        given = self._answered.get(example.id) or _labels(
            {field: each.value for field, each in self.predict(example).items() if isinstance(each, Label)}
        )
        prefix = self._prefix(Field.REPLY, given)
        found = self._model.likelihood(self._messages(example), plain(example.reply.text), prefix=prefix)
        return GoldLikelihood(nats=max(found.nats, 0.0), tokens=found.tokens)

    def _prefix(self, field: Field, given: Labels) -> str:
        return answer_prefix(field, given if self._chained else _labels({}))

    def _messages(self, example: Example) -> tuple[Message, ...]:
        sees = {Modality.VIDEO, Modality.AUDIO} <= self._model.accepts
        clip = self._clip_of(example) if sees else None
        messages = render_prompt(example.context, example.client, clip, example.cues if self._cues else None)
        return messages if self._keeps is None else only_part(messages, self._keeps)


class Writing:
    """A model that writes and weighs no labels: one answer in the trained form, read strictly."""

    def __init__(self, model: TextGenerator, clip_of: Callable[[Example], Path | None], max_tokens: int) -> None:
        self._model = model
        self._clip_of = clip_of
        self._max_tokens = max_tokens

    def predict(self, example: Example) -> Mapping[Field, Label | Reply | Abstention]:
        """The fields that the answer holds; an abstention for each that is missing or not in the codebook."""
        sees = {Modality.VIDEO, Modality.AUDIO} <= self._model.accepts
        messages = render_prompt(example.context, example.client, self._clip_of(example) if sees else None)
        answer = parse_target("".join(self._model.generate(messages, max_tokens=self._max_tokens)))
        if isinstance(answer, Unscored):
            return dict.fromkeys(Field, Abstention(reason=answer.reason))
        outcomes: dict[Field, Label | Reply | Abstention] = {}
        for field in LABEL_FIELDS:
            value = label_of(answer.labels, field)
            outcomes[field] = Abstention(reason="not in the answer") if value is None else Label(value=value)
        reply = answer.reply
        outcomes[Field.REPLY] = Abstention(reason="no reply in the answer") if reply is None else Reply(text=reply)
        return outcomes


class Listening:
    """A model that labels what was said: it can tell the client's emotion, and nothing that is still to come."""

    def __init__(self, model: LabelScorer) -> None:
        self._model = model

    def predict(self, example: Example) -> Mapping[Field, Label]:
        """The client's emotion, from the client's current turn and those before it."""
        field = Field.CLIENT_EMOTION
        weights = self._model.score(turn_messages((*example.context, example.client)), field.choices)
        return {field: Label(value=max(weights, key=weights.__getitem__), probabilities=weights)}


def only_part(messages: Sequence[Message], keeps: Modality) -> tuple[Message, ...]:
    """The messages with the sound of their clips alone (AUDIO) or with their pictures alone."""

    def kept(part: Part) -> Part:
        if not isinstance(part, VideoPart):
            return part
        return AudioPart(path=part.path) if keeps is Modality.AUDIO else VideoPart(path=part.path, sound=False)

    return tuple(Message(role=each.role, parts=tuple(map(kept, each.parts))) for each in messages)


def turn_messages(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """Turns as a classifier of what was said reads them, the one in question last."""
    mark = mark_for([turn.text for turn in turns])
    return (Message.of_text("user", "\n".join(render_turn(mark, turn.role, turn.text) for turn in turns)),)


def _labels(given: Mapping[Field, str]) -> Labels:
    return Labels(
        client_emotion=given.get(Field.CLIENT_EMOTION),
        strategy=given.get(Field.STRATEGY),
        therapist_emotion=given.get(Field.THERAPIST_EMOTION),
    )
