"""The crisis gate: written rules, a classifier, the turns before the message, and the gravest of what they find."""

from __future__ import annotations

from collections.abc import Sequence

from ai_therapist.records.session import Role
from ai_therapist.safety.assessment import CLEAR, UNCHECKED, About, Assessment, Category, Level, Said
from ai_therapist.safety.context import assess_in_context
from ai_therapist.safety.crisis_classifier import load_classifier
from ai_therapist.safety.crisis_rules import assess_by_rules

__all__ = ["BUILT_UP", "CLEAR", "UNCHECKED", "About", "Assessment", "Category", "Level", "Said", "assess", "prepare"]

BUILT_UP = Assessment(level=Level.CONCERN, category=Category.SUICIDE, rule="LM-20")
"""Stands for several messages none of which is enough by itself."""

_TENSE = 0.6
"""Share of the threshold of a concern from which a message counts as tense."""
_TENSE_BEFORE = 2
"""How many of the client's last messages must be tense too."""
_LAST_MESSAGES = 4


def assess(text: str, *, risk_open: bool = False, earlier: Sequence[Said] = ()) -> Assessment:
    """The gravest finding in a message, or CLEAR.

    `risk_open` says that an earlier message left a risk unresolved: then short answers count that say nothing by
    themselves, such as having a plan. `earlier` are the turns before it, oldest first: a "yes" counts for what was
    asked, and several tense messages together are a concern. Raises StoreError where the classifier cannot be read.
    """
    findings = (
        assess_by_rules(text, risk_open=risk_open),
        assess_in_context(text, earlier),
        load_classifier().assess(text),
    )
    gravest = max(findings, key=lambda finding: finding.level)
    return gravest if gravest.at_risk or not _has_built_up(text, earlier) else BUILT_UP


def prepare() -> None:
    """Read the classifier now, so that the first message need not wait. Raises StoreError as `assess` does."""
    load_classifier().assess("")


def _has_built_up(text: str, earlier: Sequence[Said]) -> bool:
    own = [said.text for said in earlier if said.role is Role.CLIENT][-_LAST_MESSAGES:]
    if len(own) < _TENSE_BEFORE:
        return False
    classifier = load_classifier()
    tense = _TENSE * classifier.card.concern
    if classifier.read(text).danger < tense:
        return False
    return sum(classifier.read(said).danger >= tense for said in own) >= _TENSE_BEFORE
