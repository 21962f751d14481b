"""The training view: what came before, and what the model should predict next."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest, RecordId, content_id
from ai_therapist.records.session import Role


class Split(StrEnum):
    """Which part of the dataset a group of sessions belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Turn(Record):
    """What one speaker said before handing over: text only, never a label."""

    utterance: RecordId
    role: Role
    start_ms: Annotated[int, Field(ge=0)]
    end_ms: int
    text: Annotated[str, Field(min_length=1, repr=False)]


class Labels(Record):
    """Labels of a target; None where the annotator abstained, which is never trained on."""

    client_emotion: str | None
    strategy: str | None
    therapist_emotion: str | None


LabelSource = Literal["people", "models"]
"""Whose answers a label rests on."""


class LabelSources(Record):
    """Whose each label is; None where there is no label."""

    client_emotion: LabelSource | None = None
    strategy: LabelSource | None = None
    therapist_emotion: LabelSource | None = None


class Example(Record):
    """One therapist reply to predict from the client turn before it and the talk before that.

    context … │ client │ → client_emotion, strategy, therapist_emotion, reply
    """

    id: RecordId
    session: RecordId
    group: str
    split: Split
    context: tuple[Turn, ...]
    """Turns before the client's current one, oldest first."""
    client: Turn
    reply: Turn
    labels: Labels
    sources: LabelSources = LabelSources()
    """Whose the labels are. Nothing is learned from it."""
    clip: RecordId | None
    """Usable clip of the client turn, or None: then the example is text only."""
    clip_sha256: Digest | None
    cues: Annotated[str | None, Field(min_length=1, repr=False)] = None
    """What is seen and heard of the client's current turn, written down; only where its clip may be shown."""

    @model_validator(mode="after")
    def _looks_only_back(self) -> Self:
        past = (*self.context, self.client)
        if any(turn.start_ms >= self.reply.start_ms for turn in past):
            raise ValueError("a turn of the context starts at or after the target")
        if any(turn.utterance == self.reply.utterance for turn in past):
            raise ValueError("the target stands in its own context")
        if self.client.role is not Role.CLIENT or self.reply.role is not Role.THERAPIST:
            raise ValueError("an example goes from a client turn to a therapist turn")
        if (self.clip is None) != (self.clip_sha256 is None):
            raise ValueError("clip and clip_sha256 come together")
        if self.cues is not None and self.clip is None:
            raise ValueError("cues describe a clip, and there is none")
        return self

    @staticmethod
    def id_of(session: str, client: str, reply: str) -> str:
        """Id of the example that goes from one client utterance to one therapist utterance."""
        return content_id("exm", session, client, reply)
