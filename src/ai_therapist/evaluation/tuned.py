"""The tuned model as a system: it is asked field by field, and its own answers condition the next ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from ai_therapist.dataset.render import LABEL_FIELDS, Field, answer_prefix, render_prompt
from ai_therapist.evaluation.predictions import Reply
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.records import Abstention, Example, Label, Labels, Modality


class TunedModel(LabelScorer, TextGenerator, Protocol):
    """A model that weighs labels and writes."""


class Tuned:
    """Asks a model what comes next. Gold labels never enter a prompt: not of this turn, not of earlier ones."""

    def __init__(self, model: TunedModel, clip_of: Callable[[Example], Path | None], reply_tokens: int) -> None:
        self._model = model
        self._clip_of = clip_of
        self._reply_tokens = reply_tokens

    def predict(self, example: Example) -> Mapping[Field, Label | Reply | Abstention]:
        """A label with probabilities for each labelled field, then the reply that they condition."""
        sees = {Modality.VIDEO, Modality.AUDIO} <= self._model.accepts
        messages = render_prompt(example.context, example.client, self._clip_of(example) if sees else None)
        outcomes: dict[Field, Label | Reply | Abstention] = {}
        given: dict[Field, str] = {}
        for field in LABEL_FIELDS:
            weights = self._model.score(messages, field.choices, prefix=answer_prefix(field, _labels(given)))
            given[field] = max(weights, key=weights.__getitem__)
            outcomes[field] = Label(value=given[field], probabilities=weights)
        if self._reply_tokens:
            prefix = answer_prefix(Field.REPLY, _labels(given))
            text = "".join(self._model.generate(messages, max_tokens=self._reply_tokens, prefix=prefix)).strip()
            outcomes[Field.REPLY] = Reply(text=text) if text else Abstention(reason="the reply is empty")
        return outcomes


def _labels(given: Mapping[Field, str]) -> Labels:
    return Labels(
        client_emotion=given.get(Field.CLIENT_EMOTION),
        strategy=given.get(Field.STRATEGY),
        therapist_emotion=given.get(Field.THERAPIST_EMOTION),
    )
