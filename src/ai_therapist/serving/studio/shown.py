"""Records as the plain JSON that the page draws. Words of the sessions go to this page and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable

from ai_therapist.annotation.context import turns_before
from ai_therapist.annotation.review import CANNOT_TELL, PairAgreement, Question, instruction, proposed, shown_to
from ai_therapist.records import (
    Abstention,
    Annotation,
    Label,
    Score,
    Scored,
    Session,
    Task,
    Utterance,
    load_codebook,
)
from ai_therapist.serving.studio.library import Recorded
from ai_therapist.store.actions import JsonObject
from ai_therapist.store.workspace import ItemRecord

EMOTION_KEYS = "1234567"
STRATEGY_KEYS = "abcdefghij"
"""Keys of the labels, in the order of the codebook."""

_CONTEXT_TURNS = 6
"""Turns before the one in question that a person who labels sees, as many as fit beside it."""


def item_line(item: ItemRecord) -> JsonObject:
    """A recording in the list, whatever became of it."""
    return {"id": item.item, "name": item.name, "status": item.status.value, "reason": item.reason}


def session_line(recorded: Recorded) -> JsonObject:
    """A session in the list."""
    session = recorded.session
    faulty = sum(not clip.usable for clip in recorded.clips)
    return {
        **item_line(recorded.item),
        "duration": session.media.duration_ms,
        "turns": len(recorded.turns),
        "labels": sum(isinstance(note.outcome, Label) for note in recorded.annotations),
        "faults": faulty,
        "picture": session.media.video is not None,
    }


def session_page(recorded: Recorded, questions: Iterable[Question], rater: str | None, *, blind: bool) -> JsonObject:
    """A whole session: media, speakers, and its turns with labels and faults.

    A person who labels sees of others' labels what the review shows too, so that this page gives nothing away. With
    `blind` somebody of whom it is not known who labels sees none.
    """
    session = recorded.session
    labels: dict[str, list[JsonObject]] = {}
    for question in questions:
        if rater is None:
            visible = () if blind else (*question.votes, *question.standing)
        else:
            own = question.of(rater)
            visible = (*shown_to(question, rater, blind=blind), *(() if own is None else (own,)))
        labels.setdefault(question.turn.id, []).extend(label_line(note) for note in visible)
    return {
        **session_line(recorded),
        "group": session.group,
        "media": media_of(recorded),
        "consent": consent_lines(session),
        "transcriber": recorded.transcript.transcriber,
        "speakers": [speaker.model_dump(mode="json") for speaker in session.speakers],
        "hidden": blind or rater is not None,
        "rows": [turn_row(recorded, turn, labels.get(turn.id, [])) for turn in recorded.turns],
    }


def media_of(recorded: Recorded) -> JsonObject:
    """Where the page finds picture and sound, None where there is none."""
    base = f"/studio/media/{recorded.session.id}"
    artefacts = recorded.item.artefacts
    return {
        "video": f"{base}/video" if "video" in artefacts else None,
        "audio": f"{base}/audio" if "audio" in artefacts else None,
    }


def consent_lines(session: Session) -> JsonObject:
    """What may be done with a session, and why."""
    consent = session.consent
    return {
        "basis": consent.basis.value,
        "uses": sorted(use.value for use in consent.permitted_uses),
        "recorded": consent.recorded_on.isoformat(),
        "revoked": consent.revoked_on is not None,
    }


def turn_row(recorded: Recorded, turn: Utterance, labels: list[JsonObject]) -> JsonObject:
    """A turn of the transcript."""
    clip = recorded.clip_of(turn)
    return {
        "id": turn.id,
        "index": turn.index,
        "speaker": turn.speaker,
        "role": recorded.session.role_of(turn.speaker).value,
        "start": turn.span.start_ms,
        "end": turn.span.end_ms,
        "text": turn.text,
        "words": [[word.span.start_ms, word.span.end_ms, word.text] for word in turn.words],
        "confidence": turn.confidence,
        "clip": clip.id if clip is not None and clip.media is not None else None,
        "faults": sorted(fault.value for fault in clip.faults) if clip is not None else ["no_clip"],
        "labels": labels,
    }


def label_line(note: Annotation) -> JsonObject:
    """An answer with its probabilities, the likeliest first, or why there is none."""
    outcome, told = note.outcome, note.provenance
    chances = outcome.probabilities if isinstance(outcome, Label) else None
    return {
        "task": note.task.value,
        "annotator": told.rater or told.annotator,
        "person": told.rater is not None,
        "value": note.label,
        "reason": outcome.reason if isinstance(outcome, Abstention) else None,
        "chances": sorted(chances.items(), key=lambda pair: -pair[1]) if chances else [],
        "seen": sorted(told.modalities),
        "route": told.route,
    }


def question_page(recorded: Recorded, question: Question, rater: str, *, blind: bool) -> JsonObject:
    """A question as it is put: the turn, what came before, the choices with their keys, and what may be shown."""
    visible = shown_to(question, rater, blind=blind)
    own = question.of(rater)
    refused = recorded.media_refusal
    return {
        **question_key(question),
        "name": recorded.session.name,
        "role": question.role.value,
        "speaker": question.turn.speaker,
        "start": question.turn.span.start_ms,
        "end": question.turn.span.end_ms,
        "text": question.turn.text,
        "before": [
            {"role": recorded.session.role_of(turn.speaker).value, "text": turn.text}
            for turn in turns_before(recorded.turns, question.turn, _CONTEXT_TURNS)
        ],
        "media": media_of(recorded) if refused is None else {"video": None, "audio": None},
        "media_refused": refused,
        "choices": choices(question.task),
        "shown": [label_line(note) for note in visible],
        "proposed": proposed(visible),
        "own": None if own is None else label_line(own),
        "guide": instruction(load_codebook(), question.task).partition("\n\n")[0],
        "cannot_tell": CANNOT_TELL,
    }


def question_key(question: Question) -> JsonObject:
    """What names a question."""
    return {"session": question.session, "utterance": question.turn.id, "task": question.task.value}


def choices(task: Task) -> list[JsonObject]:
    """The labels of a task with key, definition, an example and a counterexample."""
    keys = EMOTION_KEYS if task is Task.EMOTION else STRATEGY_KEYS
    categories = load_codebook().categories(task)
    return [
        {
            "key": key,
            "value": category.name,
            "definition": category.definition,
            "example": category.examples[0],
            "not": category.counterexamples[0],
        }
        for key, category in zip(keys, categories, strict=True)
    ]


def agreement_line(found: PairAgreement) -> JsonObject:
    """How two people agree."""
    return {
        "other": found.other,
        "task": found.task.value,
        "both": found.both,
        "same": found.same,
        "abstained": found.abstained,
        "kappa": score_line(found.kappa),
    }


def score_line(score: Score) -> JsonObject:
    """A figure, or the reason why there is none."""
    if isinstance(score, Scored):
        return {"value": score.value, "low": score.low, "high": score.high, "n": score.n, "reason": None}
    return {"value": None, "low": None, "high": None, "n": 0, "reason": score.reason}
