"""What a message says in the light of the turns before it: "yes" means nothing by itself, and everything then.

Two readings, both written down in context_rules.json: the short answer to a question about danger, and the question
about means that comes after distress, in the same message or in an earlier one of the client.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Literal

from pydantic import Field

from ai_therapist.records.base import Record
from ai_therapist.records.session import Role
from ai_therapist.safety.assessment import CLEAR, Assessment, Category, Level, Said
from ai_therapist.safety.normalise import clauses
from ai_therapist.safety.rules import compiled, read_data

_LONGEST_ANSWER_WORDS = 14
_DISTRESS_TURNS = 6
"""How many turns back distress still counts for a question about means."""


class ContextRule(Record):
    """One reading as its file states it."""

    id: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d\d$")]
    level: Literal["risk", "imminent"]
    category: Annotated[Category, Field(strict=False)]
    note: str
    patterns: Annotated[tuple[str, ...], Field(min_length=1)]


class ContextRules(Record):
    """The whole rule file."""

    version: str
    about: str
    fragments: dict[str, tuple[str, ...]]
    questions: tuple[ContextRule, ...]
    safe_question: ContextRule
    """A question to which a no is the alarming answer."""
    yes: tuple[str, ...]
    no: tuple[str, ...]
    means_questions: ContextRule
    distress: tuple[str, ...]

    @property
    def all(self) -> tuple[ContextRule, ...]:
        """Every rule that can stand in an assessment."""
        return (*self.questions, self.safe_question, self.means_questions)


def assess_in_context(text: str, earlier: Sequence[Said]) -> Assessment:
    """What the message says after `earlier` (oldest first), or CLEAR."""
    answered = _answer(text, earlier)
    return answered if answered.at_risk else _question_about_means(text, earlier)


@cache
def load_context_rules() -> ContextRules:
    """The rules that ship with the package."""
    return ContextRules.model_validate_json(read_data("context_rules.json"))


class _Patterns:
    def __init__(self, book: ContextRules) -> None:
        words = book.fragments
        self.questions = [(rule, compiled(rule.patterns, words)) for rule in book.questions]
        self.safe = (book.safe_question, compiled(book.safe_question.patterns, words))
        self.yes, self.no = compiled(book.yes, words), compiled(book.no, words)
        self.means = (book.means_questions, compiled(book.means_questions.patterns, words))
        self.distress = compiled(book.distress, words)


@cache
def _patterns() -> _Patterns:
    return _Patterns(load_context_rules())


def _answer(text: str, earlier: Sequence[Said]) -> Assessment:
    """A short answer to the question that the other side asked last; longer ones speak for themselves."""
    if not earlier or earlier[-1].role is not Role.THERAPIST or "?" not in earlier[-1].text:
        return CLEAR
    answer = " ".join(clauses(text))
    if len(answer.split()) > _LONGEST_ANSWER_WORDS:
        return CLEAR
    asked = clauses(earlier[-1].text)
    patterns = _patterns()
    if patterns.no.match(answer):
        return _found(*patterns.safe, asked)
    if patterns.yes.match(answer):
        for rule, pattern in patterns.questions:
            if (found := _found(rule, pattern, asked)).at_risk:
                return found
    return CLEAR


def _question_about_means(text: str, earlier: Sequence[Said]) -> Assessment:
    patterns = _patterns()
    found = _found(*patterns.means, clauses(text))
    if not found.at_risk:
        return CLEAR
    own = [said.text for said in earlier[-_DISTRESS_TURNS:] if said.role is Role.CLIENT]
    distressed = any(patterns.distress.search(clause) for said in (*own, text) for clause in clauses(said))
    return found if distressed else CLEAR


def _found(rule: ContextRule, pattern: re.Pattern[str], among: Sequence[str]) -> Assessment:
    if not any(pattern.search(clause) for clause in among):
        return CLEAR
    return Assessment(level=Level[rule.level.upper()], category=rule.category, rule=rule.id)
