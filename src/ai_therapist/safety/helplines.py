"""The helplines that a card can name. The world directory leads; a number that was not checked says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import cache
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ai_therapist.records.base import Record
from ai_therapist.safety.rules import read_data

FRESH_DAYS = 180
"""After so many days a check of a number counts no longer."""

WORLD = "world"
EU_COUNTRIES = frozenset(
    {"AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV"}
    | {"MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"}
)

CountryCode = Annotated[str, Field(pattern=r"^([A-Z]{2}|world)$")]


class Checked(Record):
    """A row of the table: what place it serves, and when its number was read where."""

    country: CountryCode
    """ISO 3166-1 alpha-2, EU for the Union, or "world"."""
    place: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(pattern=r"^https?://")] | None
    """The operator's page that was read."""
    verified_on: Annotated[date, Field(strict=False)] | None
    """The day on which it was read, or None: unverified."""

    @model_validator(mode="after")
    def _date_has_a_source(self) -> Self:
        if (self.source is None) != (self.verified_on is None):
            raise ValueError("source and verified_on come together")
        return self

    def is_verified(self, on: date) -> bool:
        """Whether the number was read on its operator's page at most FRESH_DAYS before `on`."""
        return self.verified_on is not None and (on - self.verified_on).days <= FRESH_DAYS


class EmergencyNumber(Checked):
    """The number to call when life is in danger."""

    number: Annotated[str, Field(pattern=r"^\d{3}$")]

    def entry(self, on: date) -> str:
        """The number, then its place, and "unverified" where that is so on the day `on`."""
        return f"{self.number} ({self.place}{'' if self.is_verified(on) else ', unverified'})"


class Helpline(Checked):
    """One service, with the ways in which it can be reached."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    name: Annotated[str, Field(min_length=1)]
    kind: Literal["directory", "crisis", "abuse"]
    phone: Annotated[str, Field(pattern=r"^[0-9][0-9 -]+$")] | None
    text: Annotated[str, Field(pattern=r"^[0-9]+$")] | None
    """Number for text messages."""
    url: Annotated[str, Field(pattern=r"^https://")]
    hours: str | None

    def line(self, on: date) -> str:
        """One line for a card: place, name, the ways in, and "unverified" where that is so on the day `on`."""
        ways = []
        if self.phone is not None:
            ways.append(f"call {self.phone}")
        if self.text is not None:
            ways.append(f"text {self.text}")
        ways.append(self.url.removeprefix("https://").removeprefix("www."))
        hours = f", {self.hours}" if self.hours else ""
        mark = "" if self.is_verified(on) else " (unverified)"
        return f"{self.place}: {self.name}, {', '.join(ways)}{hours}{mark}"


class Helplines(Record):
    """The whole table, in the order of display."""

    about: str
    emergency: tuple[EmergencyNumber, ...]
    helplines: tuple[Helpline, ...]

    @model_validator(mode="after")
    def _world_comes_first(self) -> Self:
        if not self.helplines or self.helplines[0].country != WORLD:
            raise ValueError("the first helpline must be the world directory")
        if len({line.id for line in self.helplines}) != len(self.helplines):
            raise ValueError("two helplines share an id")
        return self

    @property
    def world(self) -> Helpline:
        """The directory that serves every country."""
        return self.helplines[0]

    def of_country(self, country: str | None) -> tuple[Helpline, ...]:
        """Helplines of one country, or of every country for None; without the world directory."""
        return tuple(line for line in self.helplines[1:] if country is None or line.country == country)

    def emergency_of(self, country: str | None) -> tuple[EmergencyNumber, ...]:
        """Emergency numbers of one country, the Union's for its members, or all of them for None."""
        wanted = {country, "EU"} if country in EU_COUNTRIES else {country}
        return tuple(row for row in self.emergency if country is None or row.country in wanted)

    def expired(self, on: date) -> tuple[str, ...]:
        """Ids of the rows whose check is more than FRESH_DAYS old on the day `on`: no release with any of them."""
        return tuple(name for name, row in self._rows() if row.verified_on is not None and not row.is_verified(on))

    def unverified(self, on: date) -> tuple[str, ...]:
        """Ids of the rows whose number was not read on the operator's page, or too long ago."""
        return tuple(name for name, row in self._rows() if not row.is_verified(on))

    def _rows(self) -> Iterator[tuple[str, Checked]]:
        """Every row with its id; that of an emergency number is its country."""
        yield from ((row.country, row) for row in self.emergency)
        yield from ((line.id, line) for line in self.helplines)


@cache
def load_helplines() -> Helplines:
    """The table that ships with the package."""
    return Helplines.model_validate_json(read_data("helplines.json"))
