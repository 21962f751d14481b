"""Settings of annotation."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from ai_therapist.pipeline.stage import StageConfig
from ai_therapist.records.annotation import Task


class AnnotationConfig(StageConfig):
    """How the turns of a session are labelled."""

    annotator: Annotated[str, Field(min_length=1)] = "embedded"
    """Model that labels: "embedded", or another spec that models/catalogue.py lists."""
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)] = (Task.EMOTION, Task.STRATEGY)
    """What is asked about a turn: "emotion", "strategy", "cues"; each at most once."""
    context_turns: Annotated[int, Field(ge=0, le=50)] = 5
    """Turns before the target that the annotator also sees, 0 to 50."""
    min_probability: Annotated[float, Field(ge=0, le=1)] = 0.3
    """A model that weighs labels abstains where its best one has less, 0 to 1."""
    min_margin: Annotated[float, Field(ge=0, le=1)] = 0.05
    """It also abstains where the best label leads the second by less, 0 to 1."""
    attempts: Annotated[int, Field(ge=1, le=5)] = 2
    """How often a model that writes is asked about one turn until its reply can be read, 1 to 5."""

    @model_validator(mode="after")
    def _names_each_task_once(self) -> Self:
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError("a task is named twice")
        return self


class ResolvedAnnotation(AnnotationConfig):
    """The settings with what determines the labels in their place: the stage's key rests on these."""

    annotator: Annotated[str, Field(exclude=True)]
    """Spec of the model; it may hold a path, so the model's own name enters the key instead."""
    revision: str
    """Name and revision of the model that the spec opened."""
    prompts: dict[str, str]
    """Sha256 of the prompt of each task."""
    codebook: str
    """Version of the codebook."""
