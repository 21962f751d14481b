"""Settings of annotation."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ai_therapist.models.options import ModelOptions
from ai_therapist.pipeline.stage import StageConfig
from ai_therapist.records.annotation import Modality, Task

Spec = Annotated[str, Field(min_length=1)]
Part = Literal["all", "words", "clips"]


class AnnotationConfig(StageConfig):
    """How the turns of a session are labelled."""

    annotator: Spec = "embedded"
    """Model that labels: "embedded", or another spec that models/catalogue.py lists, such as "gemini"."""
    clip_annotator: Spec | None = None
    """Another model for the turns whose clip can be shown; without one, `annotator` labels all turns."""
    panel: tuple[Spec, ...] = ()
    """Further models that label every turn too; every vote is kept, and `settle` says what they come to."""
    settle: Literal["majority", "unanimous"] = "majority"
    """When a panel has a label: more than half of all its members gave it, or every one."""
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)] = (Task.EMOTION, Task.STRATEGY)
    """What is asked about a turn: "emotion", "strategy", "cues"; each at most once."""
    context_turns: Annotated[int, Field(ge=0, le=50)] = 5
    """Turns before the target that the annotator also sees, 0 to 50; never with their labels."""
    context_tokens: Annotated[int, Field(ge=0, le=100_000)] = 1_000
    """Tokens that these turns may take, about four bytes each: the oldest that do not fit are left out."""
    min_probability: Annotated[float, Field(ge=0, le=1)] = 0.3
    """A model that weighs labels abstains where its best one has less, 0 to 1."""
    min_margin: Annotated[float, Field(ge=0, le=1)] = 0.05
    """It also abstains where the best label leads the second by less, 0 to 1."""
    attempts: Annotated[int, Field(ge=1, le=5)] = 2
    """How often a model that writes is asked about one turn until its reply can be read, 1 to 5."""
    emotion_from_media: bool = False
    """Whether annotators are shown faces and voices. The law treats what is inferred from them apart from what is
    inferred from words (EU AI Act, Article 50): it needs `media_notice` and a permission in every consent record."""
    media_notice: Annotated[str, Field(min_length=1)] | None = None
    """Where it is on record that the people recorded were told of emotion recognition from face and voice: a document
    and its date. It is kept in the run's record."""
    model: ModelOptions = ModelOptions()
    """How the models are reached and what they may cost."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError("a task is named twice")
        if len({self.annotator, self.clip_annotator, *self.panel}) != 2 + len(self.panel):
            raise ValueError("an annotator is named twice")
        return self

    @model_validator(mode="after")
    def _faces_and_voices_come_with_a_notice(self) -> Self:
        if self.emotion_from_media and not (self.media_notice or "").strip():
            raise ValueError("emotion_from_media needs media_notice: where the people recorded were told of it")
        if not self.emotion_from_media and (Task.CUES in self.tasks or self.clip_annotator is not None):
            raise ValueError("cues and a clip_annotator need emotion_from_media, and that a media_notice")
        return self


class ResolvedAnnotation(AnnotationConfig):
    """The settings of one annotator with what determines its labels in their place: the stage's key rests on these.

    What names a model or says how it is reached stays out of the key: it may hold a path, and the model's own name,
    which says all that changes its answers, stands for it. So does the rest of a panel.
    """

    annotator: Annotated[str, Field(exclude=True)]
    clip_annotator: Annotated[str | None, Field(exclude=True)] = None
    panel: Annotated[tuple[str, ...], Field(exclude=True)] = ()
    settle: Annotated[Literal["majority", "unanimous"], Field(exclude=True)] = "majority"
    media_notice: Annotated[str | None, Field(exclude=True)] = None
    model: Annotated[ModelOptions, Field(exclude=True)] = ModelOptions()
    revision: str
    """Name and revision of the model that the spec opened."""
    prompts: dict[str, str]
    """Sha256 of each prompt file in use."""
    codebook: str
    """Version of the codebook."""
    part: Part = "all"
    """Which turns are asked about: all, or those whose clip is shown to the clip annotator, or the others."""
    clip_accepts: frozenset[Modality] = frozenset()
    """What the clip annotator accepts, which decides between the two parts."""


class SettleConfig(StageConfig):
    """How the votes of several annotators are put together."""

    rule: Literal["majority", "unanimous"]
    """When a panel has a label."""
    members: tuple[tuple[str, ...], ...]
    """Votes of each member of the panel: those of one annotator, or of one for words and one for clips."""
