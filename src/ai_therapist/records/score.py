"""A figure with its interval, or the reason why there is none. "Could not be measured" is not a number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ai_therapist.records.base import Record


class Scored(Record):
    """A measured value, with a 95 % interval where one was computed."""

    kind: Literal["scored"] = "scored"
    value: float
    low: float | None = None
    high: float | None = None
    n: Annotated[int, Field(gt=0)]
    """How many items the value rests on."""

    @model_validator(mode="after")
    def _interval_is_whole(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval needs both ends")
        return self


class Unscored(Record):
    """No value, and why."""

    kind: Literal["unscored"] = "unscored"
    reason: Annotated[str, Field(min_length=1)]


Score = Annotated[Scored | Unscored, Field(discriminator="kind")]


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean. Raises ValueError over nothing: an empty mean is not zero."""
    items = list(values)
    if not items:
        raise ValueError("the mean of nothing is not defined")
    return sum(items) / len(items)
