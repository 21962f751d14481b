"""From assessments to what is shown: the full card once, a varied pointer while the risk is open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from ai_therapist.safety.crisis import CLEAR, About, Assessment, Category, Level

CONCERNS_OF_A_RISK = 3
"""Concerns about the writer's own life after which they count as a risk together: none says it, all of them do."""
ADDED_UP = Assessment(level=Level.RISK, category=Category.SUICIDE, rule="CV-01")
"""Stands for several concerns of one conversation."""
CALM_TURNS = 6
"""Messages without any finding after which a concern counts as resolved, and a risk is recalled only now and then."""


class Handoff(IntEnum):
    """What a turn must carry besides the reply, the least first."""

    NOTHING = 0
    POINTER = 1
    CARD = 2


@dataclass(frozen=True)
class Watch:
    """What a conversation remembers of risk: levels and rule ids, never words."""

    open: Assessment = CLEAR
    """The gravest finding that is still unresolved."""
    calm_turns: int = 0
    """Messages without a finding since the last one with."""
    pointers: int = 0
    """Pointers shown, so that their words change."""
    concerns: int = 0
    """Concerns about the writer's own life since the conversation was calm last."""

    @property
    def is_open(self) -> bool:
        """Whether an earlier message left a risk unresolved."""
        return self.open.at_risk

    def after(self, found: Assessment) -> tuple[Watch, Handoff]:
        """The watch after a message with this finding, and what its turn must carry.

        A card is due at the first finding, when the level rises, when the danger is another one, and when it comes back
        after calm messages; otherwise a pointer. Concerns about the writer's own life add up to a RISK. That stays open
        to the end, because what the check takes for calm may only be said in other words: the first calm messages
        carry a pointer, later ones now and then, and all of them where the danger was IMMINENT.
        """
        if not found.at_risk:
            return self._after_calm()
        concerns = self.concerns + _concerns_own_life(found)
        if found.level is Level.CONCERN and concerns >= CONCERNS_OF_A_RISK and self.open.level < Level.RISK:
            found = ADDED_UP
        seen = replace(self, calm_turns=0, concerns=concerns)
        if self._is_news(found):
            graver = found if found.level >= self.open.level else self.open
            return replace(seen, open=graver), Handoff.CARD
        return replace(seen, pointers=self.pointers + 1), Handoff.POINTER

    def subject(self, found: Assessment) -> Assessment:
        """What the card of a turn is about whose message had this finding, asked of the watch after it."""
        if not found.at_risk or (found.level is Level.CONCERN and self.open == ADDED_UP):
            return self.open
        return found

    def _after_calm(self) -> tuple[Watch, Handoff]:
        if not self.is_open:
            return self, Handoff.NOTHING
        calm = self.calm_turns + 1
        if self.open.level < Level.RISK:
            forgotten = calm > CALM_TURNS
            return Watch(pointers=self.pointers) if forgotten else replace(self, calm_turns=calm), Handoff.NOTHING
        recalled = self.open.level is Level.IMMINENT or calm <= CALM_TURNS or calm % CALM_TURNS == 0
        if not recalled:
            return replace(self, calm_turns=calm), Handoff.NOTHING
        return replace(self, calm_turns=calm, pointers=self.pointers + 1), Handoff.POINTER

    def _is_news(self, found: Assessment) -> bool:
        if found.level > self.open.level:
            return True
        if found.level >= Level.RISK and self.calm_turns >= CALM_TURNS:
            return True
        other = (found.category, found.about) != (self.open.category, self.open.about)
        return other and found.level >= Level.RISK


def _concerns_own_life(found: Assessment) -> bool:
    own = found.about is About.SELF and found.category in (Category.SUICIDE, Category.SELF_HARM)
    return own and found.level is Level.CONCERN
