"""What a finder reports: a stretch of text that may identify somebody, and of which kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """What a stretch of text gives away; the value is what stands in its place."""

    PERSON = "PERSON"
    RELATIVE = "RELATIVE"
    PLACE = "PLACE"
    NAME = "NAME"
    """A name of a person, a place, a firm or a thing: nothing says which."""
    EMAIL = "EMAIL"
    URL = "URL"
    IP = "IP"
    PHONE = "PHONE"
    SSN = "SSN"
    CARD = "CARD"
    IBAN = "IBAN"
    NUMBER = "NUMBER"
    """A number long enough to name one person: an account, a licence, a record."""
    DATE = "DATE"
    ZIP = "ZIP"
    STREET = "STREET"
    AGE = "AGE"
    """An age of 90 or more, which few people reach."""


NAMED = frozenset({Kind.PERSON, Kind.RELATIVE, Kind.PLACE, Kind.NAME})
"""Kinds whose stand-ins are numbered, so that the same name is the same stand-in within a session."""


@dataclass(frozen=True)
class Finding:
    """Characters `start` up to `end`, end excluded."""

    start: int
    end: int
    kind: Kind
    rule: str
    """The rule that found it."""


class Finder(Protocol):
    """Finds identifiers in a text. A named-entity model joins the rules by implementing this."""

    def find(self, text: str) -> Sequence[Finding]:
        """The findings, in any order; they may overlap each other."""


def without_overlaps(findings: Iterable[Finding]) -> list[Finding]:
    """The findings in order of place: of two that overlap the earlier listed stays, and takes in the other's reach."""
    kept: list[Finding] = []
    for finding in findings:
        start, end = finding.start, finding.end
        first = finding
        for other in [other for other in kept if other.start < end and start < other.end]:
            kept.remove(other)
            first = other
            start, end = min(start, other.start), max(end, other.end)
        kept.append(Finding(start, end, first.kind, first.rule))
    return sorted(kept, key=lambda finding: finding.start)
