"""Asks an annotator about every turn of a session: from turns, roles and clips to annotations, without a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from ai_therapist.annotation.ask import Answered, ClipRefused, Ending, Question, ask
from ai_therapist.annotation.config import AnnotationConfig, Part
from ai_therapist.annotation.context import turns_before
from ai_therapist.annotation.journal import Journal
from ai_therapist.annotation.prompt import (
    ASKED,
    ClipFile,
    SpokenTurn,
    build_messages,
    load_prompt,
    request_digest,
)
from ai_therapist.annotation.route import Route, route, words_instead
from ai_therapist.models.catalogue import AnyModel
from ai_therapist.models.turn_lines import mark_for
from ai_therapist.records import (
    Abstention,
    Annotation,
    Clip,
    Codebook,
    Modality,
    Provenance,
    Role,
    Session,
    Task,
    Utterance,
)
from ai_therapist.records.base import Record
from ai_therapist.records.ids import RecordId


class UnreadReply(Record):
    """A reply that gave no label, and why. It may repeat what people said, so it stands in the store alone."""

    utterance: RecordId
    task: Task
    annotator: str
    reason: str
    reply: str = Field(repr=False)
    """As far as it was read."""


@dataclass(frozen=True)
class Annotator:
    """A model with all that it needs to be asked. `now` gives the moment in UTC, ISO 8601 to the second."""

    model: AnyModel
    config: AnnotationConfig
    codebook: Codebook
    now: Callable[[], str]
    journal: Journal = field(default_factory=Journal)
    part: Part = "all"
    """Which turns are asked about, where another annotator is asked about the others."""
    clip_accepts: frozenset[Modality] = frozenset()
    """What the annotator of clips accepts: turns whose clip it can be shown are its part."""


@dataclass(frozen=True)
class SessionClips:
    """The clips of a session, each usable one with its file."""

    records: Sequence[Clip]
    files: Mapping[str, Path]
    """Path by clip id."""

    def of(self, utterance: str) -> Clip | None:
        """The clip that shows this utterance, or None."""
        return next((clip for clip in self.records if utterance in clip.utterances), None)

    def file_of(self, clip: Clip | None) -> ClipFile | None:
        """File and digest of a clip, or None where there is no file."""
        if clip is None or clip.media is None or clip.id not in self.files:
            return None
        return ClipFile(self.files[clip.id], clip.media.sha256)


NO_CLIPS = SessionClips((), {})


@dataclass
class Labelled:
    """What an annotator made of a session: annotations, replies that gave no label, and how the questions ended."""

    annotations: list[Annotation] = field(default_factory=list)
    unread: list[UnreadReply] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def annotate_turns(session: Session, turns: Sequence[Utterance], clips: SessionClips, annotator: Annotator) -> Labelled:
    """The annotations of a session's turns: for every turn in order, one for each task that is about its speaker.

    Raises what the model raises: TransientError where another attempt may help, Postponed where the next run may.
    """
    asking = _Asking(session, turns, clips, annotator, mark_for([turn.text for turn in turns]))
    for turn in turns:
        for task in annotator.config.tasks:
            if session.role_of(turn.speaker) in ASKED[task] | {Role.UNKNOWN}:
                asking.about(turn, task)
    return asking.labelled


class _Asking:
    """One annotator at work on one session."""

    def __init__(
        self, session: Session, turns: Sequence[Utterance], clips: SessionClips, annotator: Annotator, mark: str
    ) -> None:
        self.labelled = Labelled()
        self._session = session
        self._turns = turns
        self._clips = clips
        self._annotator = annotator
        self._mark = mark

    def about(self, turn: Utterance, task: Task) -> None:
        """Ask one question and enter what came of it."""
        annotator = self._annotator
        clip = self._clips.of(turn.id)
        faces = annotator.config.emotion_from_media
        if annotator.part != "all":
            clips_part = route(clip, annotator.clip_accepts, faces=faces)
            if clips_part.shows_clip != (annotator.part == "clips"):
                return
        shown = route(clip, annotator.model.accepts, faces=faces)
        if annotator.part == "words":
            # Why the other annotator was not asked says more than that this one only reads.
            shown = Route(shown.modalities, clips_part.reason)
        question = self._question(turn, task, shown)
        silence = self._reason_not_to_ask(turn, task, shown)
        if silence is not None:
            self._enter(turn, task, question, Route(frozenset(), "not asked"), _silent(silence))
            return
        try:
            answered = self._ask(turn, task, question)
        except ClipRefused as error:
            shown = words_instead(str(error))
            if task is Task.CUES:
                self._enter(turn, task, question, Route(frozenset(), shown.reason), _silent("nothing to see or hear"))
                return
            question = self._question(turn, task, shown)
            answered = self._ask(turn, task, question)
        self._enter(turn, task, question, shown, answered)

    def _ask(self, turn: Utterance, task: Task, question: Question) -> Answered:
        annotator = self._annotator
        prompt = load_prompt(task, self._session.role_of(turn.speaker))
        return ask(annotator.model, question, prompt, annotator.config, annotator.codebook, annotator.journal)

    def _question(self, turn: Utterance, task: Task, shown: Route) -> Question:
        session, annotator = self._session, self._annotator
        role = session.role_of(turn.speaker)
        config = annotator.config
        window = turns_before(self._turns, turn, config.context_turns, config.context_tokens)
        context = [SpokenTurn(session.role_of(earlier.speaker), earlier.text) for earlier in window]
        file = self._clips.file_of(self._clips.of(turn.id))
        target = SpokenTurn(role, turn.text)
        messages = build_messages(load_prompt(task, role), annotator.codebook, context, target, shown, file, self._mark)
        digests = {} if file is None else {str(file.path): file.sha256}
        return Question(task, messages, request_digest(annotator.model.name, task, messages, digests))

    def _reason_not_to_ask(self, turn: Utterance, task: Task, shown: Route) -> str | None:
        if self._session.role_of(turn.speaker) not in ASKED[task]:
            return "role of the speaker is not known"
        if task is Task.CUES and not shown.shows_clip:
            return "nothing to see or hear"
        return None

    def _enter(self, turn: Utterance, task: Task, question: Question, shown: Route, answered: Answered) -> None:
        annotator = self._annotator
        provenance = Provenance(
            annotator=annotator.model.name,
            prompt_sha256=load_prompt(task, self._session.role_of(turn.speaker)).sha256,
            codebook=annotator.codebook.version,
            modalities=shown.modalities,
            route=shown.reason,
            request_sha256=question.digest,
            at=annotator.now(),
        )
        self.labelled.annotations.append(Annotation.of(turn.id, task, answered.outcome, provenance))
        self.labelled.unread += [
            UnreadReply(utterance=turn.id, task=task, annotator=annotator.model.name, reason=reason, reply=reply)
            for reason, reply in answered.unread
        ]
        self.labelled.counts.update({"questions": 1, answered.ending.value: 1, "calls": answered.calls})


def _silent(reason: str) -> Answered:
    return Answered(Abstention(reason=reason), Ending.NOT_ASKED, 0)
