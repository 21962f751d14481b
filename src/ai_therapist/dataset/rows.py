"""The rows of the four tables of a dataset: replies to predict, turns with labels, sessions with rights, every vote.

default    one row for each example: what came before, and the reply to predict
clips      one row for each turn: what was said, and what it was labelled; the other task, never mixed with the first
sessions   one row for each session: rights, split, lengths, digests
labels     one row for each answer of a model or a person, the ones that lost among them
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from ai_therapist.dataset.build import SessionParts
from ai_therapist.dataset.split import SALT
from ai_therapist.dataset.tables import Feature, Row, Table
from ai_therapist.dataset.votes import Votes
from ai_therapist.records import Abstention, Annotation, Clip, Example, Label, Provenance, Task, Turn, Use

_TURN: Mapping[str, Feature] = {
    "role": "string",
    "start_ms": "int64",
    "end_ms": "int64",
    "text": "string",
    "utterance": "string",
}

REPLIES = Table(
    "default",
    "One row for each reply to predict, with what was said before it.",
    {
        "id": "string",
        "session": "string",
        "group": "string",
        "context": [_TURN],
        "client": _TURN,
        "reply": _TURN,
        "client_emotion": "string",
        "strategy": "string",
        "therapist_emotion": "string",
        "client_emotion_source": "string",
        "strategy_source": "string",
        "therapist_emotion_source": "string",
        "clip_sha256": "string",
    },
)
"""Labels, their sources ("people" or "models") and `clip_sha256` are null where there are none."""

TURNS = Table(
    "clips",
    "One row for each turn, labelled by what was said in it.",
    {
        "id": "string",
        "session": "string",
        "group": "string",
        "index": "int32",
        "role": "string",
        "start_ms": "int64",
        "end_ms": "int64",
        "text": "string",
        "emotion": "string",
        "emotion_source": "string",
        "strategy": "string",
        "strategy_source": "string",
        "clip_sha256": "string",
        "clip_faults": ["string"],
    },
)
"""`index` counts the turns of a session, so that what came before a turn is the rows before it."""

SESSIONS = Table(
    "sessions",
    "One row for each session, with what its rights record permits.",
    {
        "session": "string",
        "group": "string",
        "basis": "string",
        "subject": "string",
        "permitted_uses": ["string"],
        "recorded_on": "string",
        "expires_on": "string",
        "duration_ms": "int64",
        "turns": "int32",
        "usable_clips": "int32",
        "transcriber": "string",
        "recording_sha256": "string",
    },
)
"""Neither evidence nor revocation contact is given away: they may name people."""

LABELS = Table(
    "labels",
    "One row for each answer of an annotator, abstentions and outvoted ones among them.",
    {
        "id": "string",
        "session": "string",
        "utterance": "string",
        "task": "string",
        "annotator": "string",
        "by": "string",
        "label": "string",
        "reason": "string",
        "probabilities": [{"label": "string", "p": "float64"}],
        "prompt_sha256": "string",
        "codebook": "string",
        "modalities": ["string"],
        "route": "string",
        "request_sha256": "string",
        "at": "string",
    },
)


def reply_row(example: Example) -> Row:
    """An example as a row. The group's name becomes a digest: it may name a person."""
    return {
        "id": example.id,
        "session": example.session,
        "group": pseudonym(example.group),
        "context": [_turn_row(turn) for turn in example.context],
        "client": _turn_row(example.client),
        "reply": _turn_row(example.reply),
        **example.labels.model_dump(),
        **{f"{field}_source": source for field, source in example.sources.model_dump().items()},
        "clip_sha256": example.clip_sha256,
    }


def turn_rows(parts: SessionParts, votes: Votes, texts: Mapping[str, str]) -> Iterator[Row]:
    """The turns of a session in order of time; `texts` holds what may be shown of each, by utterance id."""
    clips = {utterance: clip for clip in parts.clips for utterance in clip.utterances}
    # Learning emotions from face and voice needs its own permission, and a digest finds the file.
    seen = parts.session.consent.allows(Use.EMOTION_FROM_MEDIA)
    for turn in parts.transcript.utterances:
        emotion, strategy = votes.on(turn.id, Task.EMOTION), votes.on(turn.id, Task.STRATEGY)
        yield {
            "id": turn.id,
            "session": parts.session.id,
            "group": pseudonym(parts.session.group),
            "index": turn.index,
            "role": parts.session.role_of(turn.speaker).value,
            "start_ms": turn.span.start_ms,
            "end_ms": turn.span.end_ms,
            "text": texts[turn.id],
            "emotion": emotion.label,
            "emotion_source": emotion.source,
            "strategy": strategy.label,
            "strategy_source": strategy.source,
            **_clip_columns(clips.get(turn.id) if seen else None),
        }


def session_row(parts: SessionParts) -> Row:
    """A session with its rights, without names, evidence and addresses."""
    consent, session = parts.session.consent, parts.session
    return {
        "session": session.id,
        "group": pseudonym(session.group),
        "basis": consent.basis.value,
        "subject": None if consent.subject is None else consent.subject.value,
        "permitted_uses": sorted(use.value for use in consent.permitted_uses),
        "recorded_on": consent.recorded_on.isoformat(),
        "expires_on": None if consent.expires_on is None else consent.expires_on.isoformat(),
        "duration_ms": session.media.duration_ms,
        "turns": len(parts.transcript.utterances),
        "usable_clips": sum(clip.usable for clip in parts.clips),
        "transcriber": parts.transcript.transcriber,
        "recording_sha256": session.media.sha256,
    }


def label_rows(parts: SessionParts) -> Iterator[Row]:
    """Every answer about emotion or strategy, models' first. Free text on what was seen is left out: it describes
    people."""
    for annotation in (*parts.annotations, *parts.decisions):
        if annotation.task is not Task.CUES:
            yield _label_row(parts.session.id, annotation)


def pseudonym(group: str) -> str:
    """A name for a group that tells groups apart without naming anyone.

    It hides the name from readers, not from someone who guesses names and hashes them.
    """
    return "grp_" + hashlib.sha256(f"{SALT}:published:{group}".encode()).hexdigest()[:12]


def _label_row(session: str, annotation: Annotation) -> Row:
    outcome, provenance = annotation.outcome, annotation.provenance
    given = outcome.probabilities if isinstance(outcome, Label) else None
    return {
        "id": annotation.id,
        "session": session,
        "utterance": annotation.utterance,
        "task": annotation.task.value,
        "annotator": provenance.annotator,
        "by": _side(provenance),
        "label": annotation.label,
        "reason": outcome.reason if isinstance(outcome, Abstention) else None,
        "probabilities": None if given is None else [{"label": name, "p": p} for name, p in given.items()],
        "prompt_sha256": provenance.prompt_sha256,
        "codebook": provenance.codebook,
        "modalities": sorted(modality.value for modality in provenance.modalities),
        "route": provenance.route,
        "request_sha256": provenance.request_sha256,
        "at": provenance.at,
    }


def _side(provenance: Provenance) -> str:
    """Who answered: "people", "models", or a "panel" of models, whose outcome is no vote of its own."""
    if provenance.rater is not None:
        return "people"
    return "panel" if provenance.is_panel else "models"


def _clip_columns(clip: Clip | None) -> Row:
    if clip is None:
        return {"clip_sha256": None, "clip_faults": []}
    usable = clip.media.sha256 if clip.usable and clip.media is not None else None
    return {"clip_sha256": usable, "clip_faults": sorted(fault.value for fault in clip.faults)}


def _turn_row(turn: Turn) -> Row:
    return {
        "role": turn.role.value,
        "start_ms": turn.start_ms,
        "end_ms": turn.end_ms,
        "text": turn.text,
        "utterance": turn.utterance,
    }
