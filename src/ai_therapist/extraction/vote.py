"""Asks a model who the therapist is. Its answer is one vote among the evidence, never the decision."""

from __future__ import annotations

from collections.abc import Sequence

from ai_therapist.errors import RequestError
from ai_therapist.extraction.config import ResolvedRoles, RolesConfig
from ai_therapist.extraction.roles import Vote
from ai_therapist.formats.passages import UNKNOWN_SPEAKER
from ai_therapist.models.catalogue import open_model, sends_away
from ai_therapist.models.protocol import TextGenerator
from ai_therapist.privacy.consent import refusal
from ai_therapist.records import Consent, Transcript, Use, Utterance
from ai_therapist.records.message import Message

_MOST_CHARACTERS = 6000
"""Of the talk that the model sees, half from the beginning and half from the middle on."""

_MAX_TOKENS = 8

_QUESTION = """Below is a part of a counselling session. Each line begins with the label of its speaker.
Which label is the therapist's, the one who asks, reflects and leads? Answer with that label alone.
If it cannot be told, answer: unclear."""


def resolve(config: RolesConfig) -> RolesConfig:
    """The settings with the revision of the model they name. Raises ConfigError, and RequestError for one that
    does not write."""
    if config.model is None:
        return config
    model = open_model(config.model)
    if not isinstance(model, TextGenerator):
        raise RequestError(f"the model {model.name!r} weighs labels and cannot say who the therapist is: name another")
    return ResolvedRoles(**config.model_dump(), revision=model.name)


def ask(transcript: Transcript, consent: Consent, config: RolesConfig) -> Vote | None:
    """The vote of the model that the settings name.

    None without one, for an answer that is no label of the transcript, and where the model runs on another computer
    and the consent record does not let words go there. Raises TransientError where another attempt may help.
    """
    labels = {one.speaker for one in transcript.utterances} - {UNKNOWN_SPEAKER}
    if config.model is None or len(labels) < 2:
        return None
    if sends_away(config.model) and refusal(consent, Use.ANNOTATE_CLOUD) is not None:
        return None
    model = open_model(config.model)
    if not isinstance(model, TextGenerator):
        return None
    message = Message.of_text("user", f"{_QUESTION}\n\n{_excerpt(transcript.utterances)}")
    answer = "".join(model.generate([message], max_tokens=_MAX_TOKENS)).strip().strip(".\"'").casefold()
    named = [label for label in labels if answer in {label.casefold(), f"speaker {label}".casefold()}]
    return Vote(named[0], model.name) if len(named) == 1 else None


def _excerpt(spoken: Sequence[Utterance]) -> str:
    lines = [f"{one.speaker}: {one.text}" for one in spoken]
    if sum(map(len, lines)) <= _MOST_CHARACTERS:
        return "\n".join(lines)
    middle = len(lines) // 2
    return "\n".join((*_first(lines[:middle]), "…", *_first(lines[middle:])))


def _first(lines: Sequence[str]) -> list[str]:
    """Lines from the first on, up to half of what the model sees."""
    kept: list[str] = []
    for line in lines:
        if sum(map(len, kept)) + len(line) > _MOST_CHARACTERS // 2:
            break
        kept.append(line)
    return kept
