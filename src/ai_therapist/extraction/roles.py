"""Who is the therapist: decided from what the speakers said, never from a label or from who spoke first."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ai_therapist.extraction.config import RolesConfig
from ai_therapist.records import Role, Speaker, Transcript

DECIDED_BY_EVIDENCE = "evidence 1"
DECIDED_BY_HAND = "configuration"


@dataclass(frozen=True)
class Cue:
    """Something said that tells the two roles apart."""

    name: str
    pattern: re.Pattern[str]
    weight: float
    """Log-odds for THERAPIST against CLIENT that one occurrence adds; negative speaks for CLIENT."""


def _cue(name: str, pattern: str, weight: float) -> Cue:
    return Cue(name, re.compile(rf"\b(?:{pattern})\b"), weight)


CUES = (
    # Therapists ask, and their questions are open. Recognised speech has no question marks, so the form must do.
    _cue(
        "open question", r"(?:what|how) (?:do|does|did|is|was|were|has|have|would|could|might|comes|happens|makes)", 1.2
    ),
    _cue("invitation", r"tell me|can you (?:say|describe)|could you (?:say|describe)|say more|help me understand", 1.5),
    # They give back what they heard, speaking of the other.
    _cue(
        "reflection", r"(?:it )?sounds (?:like|as)|i hear|it seems|you seem|so you|you(?: a|')re feeling|you feel", 1.2
    ),
    # They hold the frame of the session.
    _cue("structure", r"let us|let's|our (?:session|time|work)|we (?:can|could|will|might)|next (?:time|session)", 1.0),
    _cue("suggestion", r"you (?:could|might|can) (?:try|write|begin|start)|i (?:suggest|invite|wonder)", 1.0),
    # The talk is about the client: one says "you", the other "I". "You know" is a filler of either.
    _cue("second person", r"you(?! know)|your|yours|yourself", 0.4),
    _cue("first person", r"i|i'm|i've|i'd|i'll|my|me|mine|myself", -0.4),
    # Clients tell what they feel and fail at.
    _cue("disclosure", r"i (?:feel|felt|am|was|can't|cannot|could not|don't know|do not know|keep|just)|i'm", -0.6),
    _cue(
        "own people",
        r"my (?:mother|father|sister|brother|wife|husband|partner|boss|son|daughter|family|friends?)",
        -0.8,
    ),
)
"""Set by hand from how counselling skills are described; each reason stands above its line."""

SHARE_WEIGHT = -0.7
"""Log-odds per natural logarithm of a speaker's words against the average: clients speak longer."""


def find_roles(transcript: Transcript, name: str, config: RolesConfig) -> tuple[Speaker, ...]:
    """The speakers of a transcript in order of appearance, each with a role and how sure it is.

    A role given by hand for the session `name` goes first. Else the speaker whose words weigh most for THERAPIST is
    the therapist and the one whose weigh most for CLIENT is the client, each only where it leads the next speaker by
    `min_margin`; where both are found every further voice is OTHER, and where not it is UNKNOWN.
    """
    scores = weigh(transcript)
    roles = _by_evidence(scores, config.min_margin)
    given = config.roles.get(name, {})
    return tuple(
        Speaker(label=label, role=given[label], decided_by=DECIDED_BY_HAND, confidence=None)
        if label in given
        else Speaker(label=label, role=role, decided_by=DECIDED_BY_EVIDENCE, confidence=confidence)
        for label, (role, confidence) in roles.items()
    )


def weigh(transcript: Transcript) -> dict[str, float]:
    """Log-odds for THERAPIST against CLIENT of each speaker, in order of appearance."""
    said: dict[str, list[str]] = {}
    for utterance in transcript.utterances:
        said.setdefault(utterance.speaker, []).append(utterance.text.lower())
    words = {label: sum(len(text.split()) for text in texts) for label, texts in said.items()}
    average = sum(words.values()) / max(1, len(words))
    return {
        label: sum(cue.weight * len(cue.pattern.findall(text)) for cue in CUES for text in texts)
        + SHARE_WEIGHT * math.log(words[label] / average)
        for label, texts in said.items()
    }


def _by_evidence(scores: Mapping[str, float], min_margin: float) -> dict[str, tuple[Role, float | None]]:
    if len(scores) == 1:
        return {label: _alone(score, min_margin) for label, score in scores.items()}
    ranked = sorted(scores, key=lambda label: scores[label])
    roles: dict[str, tuple[Role, float | None]] = dict.fromkeys(scores, (Role.UNKNOWN, None))
    if len(ranked) > 1:
        lead = scores[ranked[-1]] - scores[ranked[-2]]
        trail = scores[ranked[1]] - scores[ranked[0]]
        if lead >= min_margin:
            roles[ranked[-1]] = (Role.THERAPIST, _probability(lead))
        if trail >= min_margin:
            roles[ranked[0]] = (Role.CLIENT, _probability(trail))
        if min(lead, trail) >= min_margin:
            for label in ranked[1:-1]:
                distance = min(scores[ranked[-1]] - scores[label], scores[label] - scores[ranked[0]])
                roles[label] = (Role.OTHER, _probability(distance))
    return roles


def _alone(score: float, min_margin: float) -> tuple[Role, float | None]:
    if abs(score) < min_margin:
        return Role.UNKNOWN, None
    return (Role.THERAPIST if score > 0 else Role.CLIENT), _probability(abs(score))


def _probability(log_odds: float) -> float:
    return round(1 / (1 + math.exp(-log_odds)), 4)
