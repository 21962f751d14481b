"""A first gate for replies: what a model must not say is withheld and a fixed sentence stands in its place.

The rules stand in output_rules.json. They know wording, not meaning: a reply that harms in other words passes.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from typing import Annotated, Self

from pydantic import Field, model_validator

from ai_therapist.records.base import Record
from ai_therapist.safety.normalise import clauses
from ai_therapist.safety.rules import compiled, read_data

_WINDOW_CHARS = 240


class Reason(StrEnum):
    """Why a reply is withheld."""

    CLAIMS_PROFESSIONAL = "claims_professional"
    CLAIMS_HUMAN = "claims_human"
    DIAGNOSIS = "diagnosis"
    METHOD_INFORMATION = "method_information"
    AGREES_TO_HARM = "agrees_to_harm"
    SECRECY = "secrecy"
    DEPENDENCE = "dependence"
    ENDS_CONVERSATION = "ends_conversation"
    CONTRACT = "contract"


_ASIDE = "The model's answer was held back here, because it was not safe to show."

REPLACEMENTS: dict[Reason, str] = {
    Reason.CLAIMS_PROFESSIONAL: f"{_ASIDE} I am an AI program, not a therapist or any other professional.",
    Reason.CLAIMS_HUMAN: f"{_ASIDE} I am an AI program, not a person.",
    Reason.DIAGNOSIS: f"{_ASIDE} Only a professional who knows you can say what lies behind this.",
    Reason.METHOD_INFORMATION: f"{_ASIDE} I would rather hear what makes this moment so hard.",
    Reason.AGREES_TO_HARM: f"{_ASIDE} Your safety matters, and so does that of the people around you.",
    Reason.SECRECY: f"{_ASIDE} I can promise no secrecy, and telling somebody you trust can help.",
    Reason.DEPENDENCE: f"{_ASIDE} I am a program; the people around you can give what I cannot.",
    Reason.ENDS_CONVERSATION: f"{_ASIDE} You can go on talking here for as long as you like.",
    Reason.CONTRACT: f"{_ASIDE} You owe me no promise; what matters is that you do not stay alone with this.",
}
"""The sentence that is shown instead of a withheld reply."""


class Verdict(Record):
    """Whether a piece of a reply may be shown; a rule id and reason where it may not, never its words."""

    reason: Reason | None = None
    rule: str | None = None

    @property
    def passed(self) -> bool:
        """Whether it may be shown."""
        return self.reason is None


class OutputRule(Record):
    """One rule as its file states it."""

    id: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d\d$")]
    reason: Annotated[Reason, Field(strict=False)]
    note: str
    patterns: Annotated[tuple[str, ...], Field(min_length=1)]


class OutputRules(Record):
    """The whole rule file."""

    version: str
    about: str
    fragments: dict[str, tuple[str, ...]]
    rules: tuple[OutputRule, ...]

    @model_validator(mode="after")
    def _covers_every_reason(self) -> Self:
        ids = [rule.id for rule in self.rules]
        if len(set(ids)) != len(ids):
            raise ValueError("two rules share an id")
        if {rule.reason for rule in self.rules} != set(Reason):
            raise ValueError("a reason has no rule")
        return self


def judge_reply(shown: str, piece: str) -> Verdict:
    """Whether `piece` may follow what is `shown` of the reply already.

    The piece is judged by itself and together with the end of what stands before it, across full stops too, so
    that a claim cut into several sentences is seen.
    """
    window = f"{shown[-_WINDOW_CHARS:]} {piece}"
    candidates = (*clauses(piece), *clauses(window), " ".join(clauses(window)))
    for rule, pattern in _rules():
        if any(pattern.search(candidate) for candidate in candidates):
            return Verdict(reason=rule.reason, rule=rule.id)
    return Verdict()


@cache
def load_output_rules() -> OutputRules:
    """The rules that ship with the package."""
    return OutputRules.model_validate_json(read_data("output_rules.json"))


@cache
def _rules() -> tuple[tuple[OutputRule, re.Pattern[str]], ...]:
    book = load_output_rules()
    return tuple((rule, compiled(rule.patterns, book.fragments)) for rule in book.rules)
