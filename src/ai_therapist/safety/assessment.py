"""What the crisis gate finds in a message: how urgent, what about, whose safety, and by which rule."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple, Self

from pydantic import model_validator

from ai_therapist.records.base import Record
from ai_therapist.records.session import Role


class Level(IntEnum):
    """How urgent a message is. CONCERN gives a softer card, IMMINENT leads with the emergency number."""

    NONE = 0
    CONCERN = 1
    RISK = 2
    IMMINENT = 3


class Category(StrEnum):
    """What the risk is about."""

    SUICIDE = "suicide"
    SELF_HARM = "self_harm"
    HARM_TO_OTHERS = "harm_to_others"
    ABUSE = "abuse"
    DANGER = "danger"


class About(StrEnum):
    """Whose safety is at stake: the writer's own life and acts, or somebody the writer speaks of."""

    SELF = "self"
    OTHER = "other"


class Assessment(Record):
    """What the check found: a rule id, never a word of the message."""

    level: Level
    category: Category | None = None
    rule: str | None = None
    about: About = About.SELF

    @model_validator(mode="after")
    def _names_its_rule(self) -> Self:
        if (self.level is Level.NONE) != (self.rule is None) or (self.rule is None) != (self.category is None):
            raise ValueError("a level above NONE comes with a category and a rule, NONE with neither")
        return self

    @property
    def at_risk(self) -> bool:
        """Whether a card or pointer is due."""
        return self.level > Level.NONE


CLEAR = Assessment(level=Level.NONE)

UNCHECKED = Assessment(level=Level.RISK, category=Category.DANGER, rule="CHECK-FAILED")
"""Stands for a message whose check did not come to an end: the shell fails closed, to the card."""


class Said(NamedTuple):
    """A turn of the conversation before the message that is judged."""

    role: Role
    text: str
