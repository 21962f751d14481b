"""The output gate: what a model must not say is withheld and a fixed sentence stands in its place.

Rules that hold for every reply stand in output_rules.json; what the state of the client forbids or asks for stands in
states.json. They know wording, not meaning: a reply that harms in other words passes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Self

from pydantic import Field, model_validator

from ai_therapist.records.base import Record
from ai_therapist.safety.normalise import clauses
from ai_therapist.safety.rules import compiled, compiled_before, is_quoted, read_data
from ai_therapist.safety.states import NOTHING, Heard, State

WINDOW_CHARS = 240
"""Characters of a reply that are judged together with the sentence after them."""


class Reason(StrEnum):
    """Why a reply is withheld."""

    CLAIMS_PROFESSIONAL = "claims_professional"
    CLAIMS_HUMAN = "claims_human"
    DIAGNOSIS = "diagnosis"
    MEDICINE = "medicine"
    METHOD_INFORMATION = "method_information"
    AGREES_TO_HARM = "agrees_to_harm"
    SECRECY = "secrecy"
    DEPENDENCE = "dependence"
    ENDS_CONVERSATION = "ends_conversation"
    CONTRACT = "contract"
    AGREES_WITH_DELUSION = "agrees_with_delusion"
    FEEDS_EPISODE = "feeds_episode"
    STIGMA = "stigma"
    DISCOURAGES_HELP = "discourages_help"


_ASIDE = "The model's answer was held back here, because it was not safe to show."

REPAIRS: dict[Reason, str] = {
    Reason.CLAIMS_PROFESSIONAL: "I am an AI program, not a therapist or any other professional.",
    Reason.CLAIMS_HUMAN: "I am an AI program, not a person.",
    Reason.DIAGNOSIS: "Only a professional who knows you can say what lies behind this.",
    Reason.CONTRACT: "You owe me no promise; what matters is that you do not stay alone with this.",
    Reason.FEEDS_EPISODE: "Nothing has to be decided or finished right now.",
}
"""What stands in the place of a single sentence that is left out of a reply."""

REPLACEMENTS: dict[Reason, str] = {
    Reason.CLAIMS_PROFESSIONAL: f"{_ASIDE} {REPAIRS[Reason.CLAIMS_PROFESSIONAL]}",
    Reason.CLAIMS_HUMAN: f"{_ASIDE} {REPAIRS[Reason.CLAIMS_HUMAN]}",
    Reason.DIAGNOSIS: f"{_ASIDE} {REPAIRS[Reason.DIAGNOSIS]}",
    Reason.METHOD_INFORMATION: f"{_ASIDE} I would rather hear what makes this moment so hard.",
    Reason.AGREES_TO_HARM: f"{_ASIDE} Your safety matters, and so does that of the people around you.",
    Reason.MEDICINE: f"{_ASIDE} Medicines are a matter for the doctor who prescribes them; please ask before a change.",
    Reason.SECRECY: f"{_ASIDE} I can promise no secrecy, and telling somebody you trust can help.",
    Reason.DEPENDENCE: f"{_ASIDE} I am a program; the people around you can give what I cannot.",
    Reason.ENDS_CONVERSATION: f"{_ASIDE} You can go on talking here for as long as you like.",
    Reason.CONTRACT: f"{_ASIDE} {REPAIRS[Reason.CONTRACT]}",
    Reason.AGREES_WITH_DELUSION: f"{_ASIDE} What you go through sounds frightening. You are alive and here, and there "
    "may be another explanation for what you notice. A doctor or somebody you trust can look at it with you.",
    Reason.FEEDS_EPISODE: f"{_ASIDE} Nothing has to be decided now. Sleep, and a talk with a doctor or with somebody "
    "you trust, can come first.",
    Reason.STIGMA: f"{_ASIDE} What you feel says nothing against you.",
    Reason.DISCOURAGES_HELP: f"{_ASIDE} Help from other people is worth seeking: a doctor, or somebody you trust.",
}
"""The sentence that is shown instead of a withheld reply."""


_OF_STATES = frozenset({Reason.AGREES_WITH_DELUSION, Reason.FEEDS_EPISODE})
"""Reasons that only the state of a client gives."""


class Verdict(Record):
    """Whether a piece of a reply may be shown; a rule id and reason where it may not, never its words."""

    reason: Reason | None = None
    rule: str | None = None
    isolated: bool = False
    """Whether the piece may be left out and the rest be shown."""

    @property
    def passed(self) -> bool:
        """Whether it may be shown."""
        return self.reason is None


class OutputRule(Record):
    """One rule as its file states it."""

    id: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d\d$")]
    reason: Annotated[Reason, Field(strict=False)]
    note: str
    isolated: bool = False
    """Whether a sentence that meets it says nothing against those around it."""
    excused: tuple[str, ...] = ()
    """What makes it no fault where it ends right before: a refusal, a worry, a possibility."""
    quotable: str | None = None
    """Fragment whose words are no news where the client said them."""
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
        if {rule.reason for rule in self.rules} != set(Reason) - _OF_STATES:
            raise ValueError("a reason has no rule")
        if any(rule.isolated and rule.reason not in REPAIRS for rule in self.rules):
            raise ValueError("nothing is written for the place of what an isolated rule takes out")
        return self


def judge_reply(shown: str, piece: str, heard: Heard = NOTHING) -> Verdict:
    """Whether `piece` may follow what is `shown` of the reply already.

    The piece is judged by itself and together with the end of what stands before it, across full stops too, so
    that a claim cut into several sentences is seen. `heard` is what the client said: what a state of the client forbids
    is withheld as well. A verdict is isolated only where nothing else speaks against the piece.
    """
    window = clauses(f"{shown[-WINDOW_CHARS:]} {piece}")
    # Each clause once: at the beginning of a reply the piece and the window are the same.
    alone = tuple(dict.fromkeys((*clauses(piece), *window)))
    whole = tuple(dict.fromkeys((*alone, " ".join(window))))
    met = [
        rule
        for rule in _rules()
        # Most rules find none of their words: only where one does is it asked what excuses them.
        if any(map(rule.pattern.search, whole)) and any(rule.stands(each, heard.clauses) for each in whole)
    ]
    for rule in met:
        if not rule.rule.isolated:
            return Verdict(reason=rule.rule.reason, rule=rule.rule.id)
    for state in heard.states:
        if state.needs_rest:
            continue  # Only the whole reply tells.
        # What a state forbids is an instruction or a name: it stands in one clause, unlike a claim cut into pieces.
        if state.forbids(alone, heard.clauses):
            return Verdict(reason=Reason(state.rule.reason), rule=state.rule.id)
    return Verdict(reason=met[0].rule.reason, rule=met[0].rule.id, isolated=True) if met else Verdict()


def needs_whole(heard: Heard) -> bool:
    """Whether a state of the client asks for words or excuses by words: only a whole reply is judged and shown."""
    return _asking(heard) is not None or any(state.needs_rest for state in heard.states)


def judge_whole(reply: str, heard: Heard) -> Verdict:
    """Whether a complete reply may be shown: all of `judge_reply`, and what a state of the client asks for."""
    verdict = judge_reply("", reply, heard)
    return judge_rest(reply, heard) if verdict.passed else verdict


def judge_rest(reply: str, heard: Heard) -> Verdict:
    """Whether a complete reply may be shown of which every sentence was judged: what a state of the client asks for.

    Up to WINDOW_CHARS its sentences were seen together too, so that nothing else is left to judge.
    """
    whole = clauses(reply)
    failed = [
        state
        for state in heard.states
        if state.needs_rest and state.forbids(whole, heard.clauses) and not state.is_turned_from(whole)
    ]
    asking = _asking(heard)
    if asking is not None and not asking.is_met_by(whole):
        failed.append(asking)
    if not failed:
        return Verdict()
    return Verdict(reason=Reason(failed[0].rule.reason), rule=failed[0].rule.id)


def _asking(heard: Heard) -> State | None:
    """The state that asks for words in the reply: the first that the client shows, or none where it asks for none."""
    first = next(iter(heard.states), None)
    return first if first is not None and first.needs is not None else None


@dataclass(frozen=True)
class _Rule:
    """A rule, ready to judge clauses."""

    rule: OutputRule
    pattern: re.Pattern[str]
    excused: re.Pattern[str] | None
    quotable: re.Pattern[str] | None

    def stands(self, clause: str, client: Collection[str]) -> bool:
        """Whether the rule meets a clause of a reply to a client who said these clauses."""
        return any(
            not (self.excused is not None and self.excused.search(clause[: match.start()]))
            and not is_quoted(match.group(), self.quotable, client)
            for match in self.pattern.finditer(clause)
        )


@cache
def load_output_rules() -> OutputRules:
    """The rules that ship with the package; those of client states are in `states`."""
    return OutputRules.model_validate_json(read_data("output_rules.json"))


@cache
def _rules() -> tuple[_Rule, ...]:
    book = load_output_rules()
    return tuple(
        _Rule(
            rule,
            compiled(rule.patterns, book.fragments),
            compiled_before(rule.excused, book.fragments) if rule.excused else None,
            compiled([f"{{{rule.quotable}}}"], book.fragments) if rule.quotable else None,
        )
        for rule in book.rules
    )
