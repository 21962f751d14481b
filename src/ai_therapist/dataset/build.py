"""Turns, annotations and clips of a session become examples: what came before, and the one reply to predict.

therapist   client   therapist   client   therapist
─────────   ──────   ─────────   ──────   ─────────▶ time
└────────── context ───────────┘ └client┘ └─ reply ─┘
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.votes import Votes
from ai_therapist.records import (
    Annotation,
    Clip,
    Example,
    Labels,
    LabelSources,
    Role,
    Session,
    Split,
    Task,
    Transcript,
    Turn,
    Use,
    Utterance,
)

MEDIA_NOT_PERMITTED = "session_without_clips_emotion_from_media_not_permitted"
"""The note on a session whose clips were left out."""


class Drop(StrEnum):
    """Why a turn of the therapist is the target of no example."""

    NO_CLIENT_BEFORE = "no_client_turn_before"
    AFTER_THERAPIST = "follows_another_therapist_turn"
    BACKCHANNEL = "backchannel_dropped"
    MERGED = "backchannel_merged"
    SIMULTANEOUS = "starts_with_the_client"
    NO_LABEL = "no_label"
    NEAR_DUPLICATE = "near_duplicate_across_splits"


@dataclass(frozen=True)
class SessionParts:
    """What is known about one session."""

    session: Session
    transcript: Transcript
    clips: tuple[Clip, ...]
    annotations: tuple[Annotation, ...]
    """Answers of models."""
    decisions: tuple[Annotation, ...] = ()
    """Answers of people that stand."""


@dataclass(frozen=True)
class Built:
    """Examples of one session and the account of its turns.

    therapist turns read = examples + the sum of `dropped`; `notes` counts what else was decided on the way.
    """

    examples: tuple[Example, ...]
    therapist_turns: int
    dropped: Counter[Drop]
    notes: Counter[str]


@dataclass(frozen=True)
class _Talk:
    """One turn of the client or the therapist: several utterances where a backchannel between them was merged."""

    role: Role
    utterances: tuple[Utterance, ...]

    @property
    def last(self) -> Utterance:
        """The utterance that lends the turn its id, its label and its clip."""
        return self.utterances[-1]

    def until(self, moment_ms: int) -> Turn | None:
        """The turn as far as it was spoken before `moment_ms`; None where nothing was."""
        texts = [text for utterance in self.utterances if (text := _text_until(utterance, moment_ms))]
        if not texts:
            return None
        return Turn(
            utterance=self.last.id,
            role=self.role,
            start_ms=self.utterances[0].span.start_ms,
            end_ms=min(self.last.span.end_ms, moment_ms),
            text=" ".join(texts),
        )

    def whole(self) -> Turn:
        """The turn with all its words."""
        return Turn(
            utterance=self.last.id,
            role=self.role,
            start_ms=self.utterances[0].span.start_ms,
            end_ms=self.last.span.end_ms,
            text=" ".join(utterance.text for utterance in self.utterances),
        )


def build_examples(parts: SessionParts, split: Split, config: DatasetConfig) -> Built:
    """One example for every therapist turn that answers a client turn and carries a label.

    Voices that are neither client nor therapist stay out of the talk. Words spoken after the reply has begun stay out
    of its context. Raises InvalidRecord for a label that the codebook does not hold.
    """
    talk, notes = _talk_of(parts)
    # Learning emotions from face and voice needs its own permission; words alone do not.
    if parts.clips and not parts.session.consent.allows(Use.EMOTION_FROM_MEDIA):
        parts = replace(parts, clips=())
        notes[MEDIA_NOT_PERMITTED] += 1
    dropped: Counter[Drop] = Counter()
    therapist_turns = sum(turn.role is Role.THERAPIST for turn in talk)
    if config.backchannels == "merge":
        talk, merged = _without_backchannels(talk, config.min_reply_words)
        if merged:
            dropped[Drop.MERGED] = merged
    votes = Votes(parts.annotations, parts.decisions, config)
    examples = []
    for place, turn in enumerate(talk):
        if turn.role is not Role.THERAPIST:
            continue
        built = _example_or_reason(parts, talk[: place + 1], votes, split, config, notes)
        if isinstance(built, Drop):
            dropped[built] += 1
        else:
            examples.append(built)
    return Built(tuple(examples), therapist_turns, dropped, notes)


def _talk_of(parts: SessionParts) -> tuple[list[_Talk], Counter[str]]:
    """The turns of client and therapist in order of time, and how many of other voices were left out."""
    notes: Counter[str] = Counter()
    talk = []
    for utterance in parts.transcript.utterances:
        role = parts.session.role_of(utterance.speaker)
        if role in (Role.CLIENT, Role.THERAPIST):
            talk.append(_Talk(role, (utterance,)))
        else:
            notes[f"{role.value}_voice_left_out"] += 1
    return talk, notes


def _without_backchannels(talk: Sequence[_Talk], min_words: int) -> tuple[list[_Talk], int]:
    """The talk without short therapist turns between two client turns, which become one; and how many were taken."""
    kept: list[_Talk] = []
    merged = 0
    for place, turn in enumerate(talk):
        next_role = talk[place + 1].role if place + 1 < len(talk) else None
        after_client = bool(kept) and kept[-1].role is Role.CLIENT
        if _is_backchannel(turn, min_words) and after_client and next_role is Role.CLIENT:
            merged += 1
        elif turn.role is Role.CLIENT and after_client and talk[place - 1].role is Role.THERAPIST:
            kept[-1] = _Talk(Role.CLIENT, (*kept[-1].utterances, *turn.utterances))
        else:
            kept.append(turn)
    return kept, merged


def _is_backchannel(turn: _Talk, min_words: int) -> bool:
    return turn.role is Role.THERAPIST and sum(len(part.text.split()) for part in turn.utterances) < min_words


def _example_or_reason(
    parts: SessionParts,
    talk: Sequence[_Talk],
    votes: Votes,
    split: Split,
    config: DatasetConfig,
    notes: Counter[str],
) -> Example | Drop:
    """The example whose target is the last turn of `talk`, or why there is none; `notes` counts what is missing."""
    *earlier_talk, target = talk
    if not earlier_talk:
        return Drop.NO_CLIENT_BEFORE
    *before, speaker = earlier_talk
    if speaker.role is Role.THERAPIST:
        return Drop.AFTER_THERAPIST
    if _is_backchannel(target, config.min_reply_words):
        return Drop.BACKCHANNEL
    reply = target.whole()
    client = speaker.until(reply.start_ms)
    if client is None:
        return Drop.SIMULTANEOUS
    asked = {
        "client_emotion": (speaker, Task.EMOTION),
        "strategy": (target, Task.STRATEGY),
        "therapist_emotion": (target, Task.EMOTION),
    }
    verdicts = {field: votes.on(turn.last.id, task) for field, (turn, task) in asked.items()}
    for field, (_, task) in asked.items():
        if verdicts[field].reason is not None:
            notes[f"{task.value}_{verdicts[field].reason}"] += 1
    if all(verdict.label is None for verdict in verdicts.values()):
        return Drop.NO_LABEL
    earlier = [turn.until(reply.start_ms) for turn in before[max(0, len(before) - config.context_turns) :]]
    clip, note = _clip_of(parts.clips, speaker, reply.start_ms + config.max_overlap_ms)
    if note is not None:
        notes[note] += 1
    return Example(
        id=Example.id_of(parts.session.id, client.utterance, reply.utterance),
        session=parts.session.id,
        group=parts.session.group,
        split=split,
        context=tuple(turn for turn in earlier if turn is not None),
        client=client,
        reply=reply,
        labels=Labels(**{field: verdict.label for field, verdict in verdicts.items()}),
        sources=LabelSources(**{field: verdict.source for field, verdict in verdicts.items()}),
        clip=None if clip is None else clip.id,
        clip_sha256=None if clip is None or clip.media is None else clip.media.sha256,
        # Written from the clip: what may not be shown may not be told either.
        cues=None if clip is None else votes.cues_on(speaker.last.id),
    )


def _text_until(utterance: Utterance, moment_ms: int) -> str:
    """Words that begin before `moment_ms`; all of them where their times are not known."""
    if utterance.span.start_ms >= moment_ms:
        return ""
    if utterance.span.end_ms <= moment_ms or not utterance.words:
        return utterance.text
    return " ".join(word.text for word in utterance.words if word.span.start_ms < moment_ms)


def _clip_of(clips: Iterable[Clip], turn: _Talk, latest_end_ms: int) -> tuple[Clip | None, str | None]:
    """The usable clip of the turn's last utterance, or None and why there is none."""
    found = next((clip for clip in clips if turn.last.id in clip.utterances), None)
    if found is None:
        return None, "no_clip"
    if not found.usable:
        return None, "clip_" + "_".join(sorted(found.faults))
    if found.span.end_ms > latest_end_ms:
        return None, "clip_runs_into_the_reply"
    return found, None
