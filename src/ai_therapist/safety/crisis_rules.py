"""The written half of the crisis gate. It reads words, not people: it misses what is only implied.

The rules stand in crisis_rules.json, one id each. A message is cut into clauses; idioms are taken out; a rule that
matches counts unless its clause denies it, tells of long ago, reports somebody's question, or is about fiction.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ai_therapist.records.base import Record
from ai_therapist.safety.assessment import CLEAR, About, Assessment, Category, Level
from ai_therapist.safety.normalise import clauses
from ai_therapist.safety.rules import Fragments, compiled, read_data

FrameName = Literal["negation", "negation_blocked", "past", "present", "reported", "fiction", "other_subject"]

_FIRST_PERSON = r"(?:i|im|ive|id|ill|me|my|mine|myself|we|us)"


class CrisisRule(Record):
    """One rule as its file states it."""

    id: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d\d$")]
    category: Annotated[Category, Field(strict=False)]
    level: Literal["concern", "risk", "imminent"]
    about: Annotated[About, Field(strict=False)]
    when_past: Literal["none", "concern"]
    """What is left of the level where the clause speaks of long ago."""
    needs_open: bool = False
    """Whether the rule only speaks after an earlier message left a risk open."""
    note: str
    patterns: Annotated[tuple[str, ...], Field(min_length=1)]


class CrisisRules(Record):
    """The whole rule file."""

    version: str
    about: str
    fragments: dict[str, tuple[str, ...]]
    frames: dict[FrameName, tuple[str, ...]]
    idioms: tuple[str, ...]
    rules: tuple[CrisisRule, ...]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        ids = [rule.id for rule in self.rules]
        if len(set(ids)) != len(ids):
            raise ValueError("two rules share an id")
        return self


IsHarmless = Callable[[str, Level, bool], bool]
"""Told a clause, the level that a rule finds in it, and whether that is of the past or of another person."""


def never(clause: str, level: Level, is_told: bool) -> bool:
    """No clause is harmless."""
    return False


def assess_by_rules(text: str, *, risk_open: bool = False, is_harmless: IsHarmless = never) -> Assessment:
    """The gravest finding of the rules in a message, or CLEAR.

    `risk_open` says that an earlier message left a risk unresolved: then short answers count that say nothing by
    themselves, such as having a plan. `is_harmless` is asked of a clause in which a rule finds a danger that is not
    imminent; where it is true the rule says nothing, and those after it have their say.
    """
    gate = _gate()
    found = CLEAR
    for clause in clauses(text):
        finding = gate.judge(clause, risk_open, is_harmless)
        if finding.level > found.level:
            found = finding
    return found


def mentioned_rules(clause: str) -> list[str]:
    """Ids of the rules whose words stand in a clause, whatever excuses them: what the classifier sees of the rules."""
    return _gate().mentions(clause)


@cache
def load_rules() -> CrisisRules:
    """The rules that ship with the package."""
    return CrisisRules.model_validate_json(read_data("crisis_rules.json"))


@dataclass(frozen=True)
class _Frames:
    negation: re.Pattern[str]
    negation_blocked: re.Pattern[str]
    past: re.Pattern[str]
    present: re.Pattern[str]
    reported: re.Pattern[str]
    fiction: re.Pattern[str]
    other_subject: re.Pattern[str]
    first_person: re.Pattern[str]

    def denied(self, clause: str, start: int) -> bool:
        """Whether a negation stands at most four words before `start`."""
        before = clause[:start]
        return self.negation.search(before) is not None and self.negation_blocked.search(before) is None

    def of_another(self, clause: str, match: re.Match[str]) -> bool:
        """Whether the words matched speak of somebody named before them, and not of the writer."""
        return (
            self.first_person.search(match[0]) is None
            and self.other_subject.search(clause[: match.start()]) is not None
        )

    def is_past(self, clause: str) -> bool:
        return self.past.search(clause) is not None and self.present.search(clause) is None


class _Gate:
    def __init__(self, rules: CrisisRules) -> None:
        words = rules.fragments
        frames = rules.frames
        self._idioms = compiled(rules.idioms, words)
        self._rules = [
            (rule, Level[rule.level.upper()], compiled(rule.patterns, words))
            for rule in sorted(rules.rules, key=lambda rule: -Level[rule.level.upper()])
        ]
        self._frames = _Frames(
            negation=re.compile(rf"{compiled(frames['negation'], words).pattern}(?: \w+){{0,4}} ?$"),
            negation_blocked=compiled(frames["negation_blocked"], words),
            past=compiled(frames["past"], words),
            present=compiled(frames["present"], words),
            reported=_at_end(frames["reported"], words),
            fiction=compiled(frames["fiction"], words),
            other_subject=re.compile(
                rf"{compiled(frames['other_subject'], words).pattern}(?: (?!{_FIRST_PERSON}\b)\w+){{0,4}} ?$"
            ),
            first_person=re.compile(rf"\b{_FIRST_PERSON}\b"),
        )

    def mentions(self, clause: str) -> list[str]:
        """Ids of the rules whose words stand in the clause, whatever excuses them."""
        literal = self._idioms.sub(" ~ ", clause)
        return [rule.id for rule, _, pattern in self._rules if not rule.needs_open and pattern.search(literal)]

    def judge(self, clause: str, risk_open: bool, is_harmless: IsHarmless) -> Assessment:
        """The gravest rule that the clause meets."""
        literal = self._idioms.sub(" ~ ", clause)
        for rule, level, pattern in self._rules:
            if rule.needs_open and not risk_open:
                continue
            if all(self._excused(rule, literal, match) for match in pattern.finditer(literal)):
                continue
            past = self._frames.is_past(literal)
            if past:
                if rule.when_past == "none":
                    continue
                level = min(level, Level.CONCERN)
            # What answers an open risk says nothing by itself, so nobody can tell by its words that it is harmless.
            is_told = past or rule.about is About.OTHER
            if level < Level.IMMINENT and not rule.needs_open and is_harmless(clause, level, is_told):
                continue
            return Assessment(level=level, category=rule.category, rule=rule.id, about=rule.about)
        return CLEAR

    def _excused(self, rule: CrisisRule, clause: str, match: re.Match[str]) -> bool:
        frames = self._frames
        start = match.start()
        if frames.denied(clause, start) or frames.reported.search(clause[:start]):
            return True
        if rule.about is About.OTHER:
            return frames.fiction.search(clause) is not None
        return frames.of_another(clause, match)


def _at_end(patterns: tuple[str, ...], fragments: Fragments) -> re.Pattern[str]:
    """Matches a frame that is followed by at most five words."""
    return re.compile(rf"{compiled(patterns, fragments).pattern}(?: \w+){{0,5}} ?$")


@cache
def _gate() -> _Gate:
    return _Gate(load_rules())
