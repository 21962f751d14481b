"""The crisis gate: written rules, what a message means after the turns before it, and the gravest of what they find."""

from __future__ import annotations

from collections.abc import Sequence

from ai_therapist.safety.assessment import CLEAR, UNCHECKED, About, Assessment, Category, Level, Said
from ai_therapist.safety.context import assess_in_context
from ai_therapist.safety.crisis_rules import assess_by_rules

__all__ = ["CLEAR", "UNCHECKED", "About", "Assessment", "Category", "Level", "Said", "assess"]


def assess(text: str, *, risk_open: bool = False, earlier: Sequence[Said] = ()) -> Assessment:
    """The gravest finding in a message, or CLEAR.

    `risk_open` says that an earlier message left a risk unresolved: then short answers count that say nothing by
    themselves, such as having a plan. `earlier` are the turns before it, oldest first: a "yes" counts for what was
    asked.
    """
    found = assess_by_rules(text, risk_open=risk_open)
    answered = assess_in_context(text, earlier)
    return answered if answered.level > found.level else found
