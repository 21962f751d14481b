"""Who is the therapist: decided from what the speakers said, never from a label or from who spoke first.

Evidence adds up over the whole session, in log-odds for THERAPIST against CLIENT: questions, other turns of phrase, the
share of the talk, and, where the settings name one, the vote of a model. What a person says in the settings goes before
all of it. A role is given only where the evidence leads clearly; else it is UNKNOWN and the session is for review.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ai_therapist.extraction.config import RolesConfig
from ai_therapist.formats.passages import UNKNOWN_SPEAKER
from ai_therapist.records import Role, Speaker, Transcript

DECIDED_BY_EVIDENCE = "evidence 2"
DECIDED_BY_HAND = "configuration"


@dataclass(frozen=True)
class Cue:
    """Something said that tells the two roles apart."""

    name: str
    pattern: re.Pattern[str]
    weight: float
    """Log-odds for THERAPIST against CLIENT that one occurrence adds; negative speaks for CLIENT."""


@dataclass(frozen=True)
class Vote:
    """Whom a model takes for the therapist."""

    therapist: str
    """Label of the speaker."""
    model: str
    """Name and revision of the model."""


def _cue(name: str, pattern: str, weight: float) -> Cue:
    return Cue(name, re.compile(rf"\b(?:{pattern})\b"), weight)


_BEGINS = r"(?:^|[.?!,] |\b(?:and|so|but|well|okay|now) )"
"""Where a clause begins, in text with punctuation or without."""


CUES = (
    # Therapists ask, and their questions are open. Recognised speech has no question marks, so the form must do.
    _cue(
        "open question", r"(?:what|how) (?:do|does|did|is|was|were|has|have|would|could|might|comes|happens|makes)", 1.2
    ),
    Cue("closed question", re.compile(_BEGINS + r"(?:do|did|are|were|have|would|could|can|will) you\b"), 0.8),
    Cue("question mark", re.compile(r"\?"), 0.5),
    # They ask whether they may, and scale and frame what is spoken of.
    _cue(
        "permission",
        r"would (?:it|that) be (?:ok|okay|all right|helpful)|would you mind|is it (?:ok|okay|all right) if"
        r"|do you mind if|okay with you",
        1.5,
    ),
    _cue(
        "frame",
        r"what brings you|brought you (?:in|here)|i(?:'d| would) like to (?:ask|hear|understand|talk)"
        r"|on a scale|how (?:important|confident|ready)",
        1.5,
    ),
    # They thank for trust and praise effort.
    _cue(
        "affirmation",
        r"(?:thank you|thanks) for (?:coming|sharing|telling|talking|being)|i appreciate|good for you",
        0.8,
    ),
    # Clients answer.
    Cue("answer", re.compile(r"^(?:yeah|yes|no|nope|yep|not really|i guess|i think|i mean|i don't)\b"), -0.4),
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


VOTE_WEIGHT = 2.0
"""Log-odds that the vote of a model adds: less than any margin we recommend, so that alone it decides nothing."""

DOUBT = 1.0
"""Log-odds taken off a lead before it becomes a confidence: cues of one talk are not independent.

With it the confidence of short excerpts is near the share of them that were right (benchmarks/roles.py)."""


def find_roles(transcript: Transcript, name: str, config: RolesConfig, vote: Vote | None = None) -> tuple[Speaker, ...]:
    """The speakers of a transcript in order of appearance, each with a role and how sure it is.

    A role given by hand for the session `name` goes first. Else the speaker whose words weigh most for THERAPIST is
    the therapist and the one whose weigh most for CLIENT is the client, each only where it leads the next speaker by
    `min_margin`; where both are found every further voice is OTHER, and where not it is UNKNOWN. The label of those
    whom a transcript does not name is always UNKNOWN: it may stand for several people.
    """
    scores = weigh(transcript)
    nameless = scores.pop(UNKNOWN_SPEAKER, None) is not None
    decided_by = DECIDED_BY_EVIDENCE
    if vote is not None and vote.therapist in scores:
        scores[vote.therapist] += VOTE_WEIGHT
        decided_by += f" and {vote.model}"
    roles = _by_evidence(scores, config.min_margin)
    if nameless:
        roles[UNKNOWN_SPEAKER] = Role.UNKNOWN, None
    given = config.roles.get(name, {})
    return tuple(
        Speaker(label=label, role=given[label], decided_by=DECIDED_BY_HAND, confidence=None)
        if label in given
        else Speaker(label=label, role=role, decided_by=decided_by, confidence=confidence)
        for label, (role, confidence) in sorted(roles.items(), key=lambda one: _first_heard(transcript, one[0]))
    )


def for_review(speakers: Sequence[Speaker]) -> int:
    """How many voices a person should look at: those whose role is UNKNOWN."""
    return sum(speaker.role is Role.UNKNOWN for speaker in speakers)


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


def _first_heard(transcript: Transcript, label: str) -> int:
    return next(one.index for one in transcript.utterances if one.speaker == label)


def _probability(lead: float) -> float:
    return round(1 / (1 + math.exp(DOUBT - lead)), 4)
