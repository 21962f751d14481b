"""The labels and their definitions, read from the one versioned file that lists them (codebook.json)."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Annotated, Self

from pydantic import Field, model_validator

from ai_therapist.records.annotation import Task
from ai_therapist.records.base import Record


class Category(Record):
    """One label: its name, what it means, what shows it and what does not."""

    name: str
    definition: str
    examples: tuple[str, ...]
    counterexamples: Annotated[tuple[str, ...], Field(alias="not")]
    aliases: tuple[str, ...]
    """Other spellings and inflections of the same label; never a neighbouring concept."""


class Codebook(Record):
    """The categories of both tasks, in the order in which every table and matrix shows them."""

    version: str
    emotions: tuple[Category, ...]
    strategies: tuple[Category, ...]

    @model_validator(mode="after")
    def _spellings_are_unique(self) -> Self:
        for categories in (self.emotions, self.strategies):
            spellings = [
                _folded(spelling) for category in categories for spelling in (category.name, *category.aliases)
            ]
            if len(set(spellings)) != len(spellings):
                raise ValueError("two categories share a spelling")
        return self

    def categories(self, task: Task) -> tuple[Category, ...]:
        """Categories of EMOTION or STRATEGY. Raises ValueError for CUES, which has none."""
        if task is Task.EMOTION:
            return self.emotions
        if task is Task.STRATEGY:
            return self.strategies
        raise ValueError(f"the codebook has no categories for {task.value!r}")

    def names(self, task: Task) -> tuple[str, ...]:
        """Canonical names of a task's categories, in the codebook's order."""
        return tuple(category.name for category in self.categories(task))

    def canonical(self, task: Task, spelling: str) -> str | None:
        """The canonical name for a spelling, or None where the codebook does not know it.

        Case, surrounding white space and hyphens do not matter; everything else is unknown, not corrected.
        """
        wanted = _folded(spelling)
        for category in self.categories(task):
            if wanted in {_folded(text) for text in (category.name, *category.aliases)}:
                return category.name
        return None


def _folded(spelling: str) -> str:
    return re.sub(r"[\s\-‐-―]+", " ", spelling).strip().casefold()


@cache
def load_codebook() -> Codebook:
    """The codebook that ships with the package."""
    text = resources.files("ai_therapist.records").joinpath("codebook.json").read_text("utf-8")
    return Codebook.model_validate_json(text)
