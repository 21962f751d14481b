"""Asks an annotator about every turn of a session: from turns, roles and clips to annotations, without a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_therapist.annotation.config import AnnotationConfig
from ai_therapist.annotation.context import turns_before
from ai_therapist.annotation.parse import collect_reply, parse_reply, parse_scores
from ai_therapist.annotation.prompt import (
    ClipFile,
    Prompt,
    SpokenTurn,
    ask_again,
    build_messages,
    request_digest,
)
from ai_therapist.annotation.route import Route, route
from ai_therapist.models.catalogue import AnyModel
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.records import (
    Abstention,
    Annotation,
    Clip,
    Codebook,
    Modality,
    Outcome,
    Provenance,
    Role,
    Session,
    Task,
    Utterance,
)
from ai_therapist.records.message import Message

_ASKED: Mapping[Task, frozenset[Role]] = {
    Task.EMOTION: frozenset(Role),
    Task.STRATEGY: frozenset({Role.THERAPIST}),
    Task.CUES: frozenset({Role.CLIENT}),
}
"""Whose turns a task is about. Where the role decides and is not known, the annotation is an abstention."""

_MAX_TOKENS: Mapping[Task, int] = {Task.EMOTION: 64, Task.STRATEGY: 64, Task.CUES: 256}


@dataclass(frozen=True)
class Annotator:
    """A model with all that it needs to be asked. `now` gives the moment in UTC, ISO 8601 to the second."""

    model: AnyModel
    config: AnnotationConfig
    prompts: Mapping[Task, Prompt]
    codebook: Codebook
    now: Callable[[], str]


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


@dataclass(frozen=True)
class _Request:
    """One question about one turn."""

    task: Task
    role: Role
    messages: Sequence[Message]
    route: Route
    digest: str


def annotate_turns(
    session: Session, turns: Sequence[Utterance], clips: SessionClips, annotator: Annotator
) -> list[Annotation]:
    """The annotations of a session's turns: for every turn in order, one for each task that is about its speaker.

    Raises what the model raises: TransientError where another attempt may help.
    """
    return [
        _annotate_turn(session, turns, turn, task, clips, annotator)
        for turn in turns
        for task in annotator.config.tasks
        if session.role_of(turn.speaker) in _ASKED[task] | {Role.UNKNOWN}
    ]


def _annotate_turn(
    session: Session, turns: Sequence[Utterance], turn: Utterance, task: Task, clips: SessionClips, annotator: Annotator
) -> Annotation:
    request = _request(session, turns, turn, task, clips, annotator)
    silence = _reason_not_to_ask(request)
    if silence is None:
        outcome, shown, reason = _ask(request, annotator), request.route.modalities, request.route.reason
    else:
        outcome, shown, reason = Abstention(reason=silence), frozenset[Modality](), "not asked"
    provenance = Provenance(
        annotator=annotator.model.name,
        prompt_sha256=annotator.prompts[task].sha256,
        codebook=annotator.codebook.version,
        modalities=shown,
        route=reason,
        request_sha256=request.digest,
        at=annotator.now(),
    )
    return Annotation.of(turn.id, task, outcome, provenance)


def _request(
    session: Session, turns: Sequence[Utterance], turn: Utterance, task: Task, clips: SessionClips, annotator: Annotator
) -> _Request:
    role = session.role_of(turn.speaker)
    clip = clips.of(turn.id)
    file = clips.file_of(clip)
    shown = route(clip, annotator.model.accepts)
    context = [
        SpokenTurn(session.role_of(earlier.speaker), earlier.text)
        for earlier in turns_before(turns, turn, annotator.config.context_turns)
    ]
    messages = build_messages(
        annotator.prompts[task], annotator.codebook, context, SpokenTurn(role, turn.text), shown, file
    )
    digests = {} if file is None else {str(file.path): file.sha256}
    return _Request(task, role, messages, shown, request_digest(annotator.model.name, task, messages, digests))


def _reason_not_to_ask(request: _Request) -> str | None:
    if request.role not in _ASKED[request.task]:
        return "role of the speaker is not known"
    if request.task is Task.CUES and not request.route.shows_clip:
        return "nothing to see or hear"
    return None


def _ask(request: _Request, annotator: Annotator) -> Outcome:
    model = annotator.model
    prompt = annotator.prompts[request.task]
    if request.task is not Task.CUES and isinstance(model, LabelScorer):
        labels = annotator.codebook.names(request.task)
        return parse_scores(model.score(request.messages, labels, prefix=prompt.reply_prefix), labels, annotator.config)
    if isinstance(model, TextGenerator):
        return _converse(model, request, annotator)
    return Abstention(reason="annotator cannot write cues")


def _converse(model: TextGenerator, request: _Request, annotator: Annotator) -> Outcome:
    """Ask until the reply can be read, `attempts` times at most; the last reason stands."""
    prompt = annotator.prompts[request.task]
    messages = request.messages
    for attempt in range(annotator.config.attempts):
        pieces = model.generate(messages, max_tokens=_MAX_TOKENS[request.task])
        outcome = parse_reply(collect_reply(pieces), request.task, prompt.key, annotator.codebook)
        if not isinstance(outcome, Abstention) or attempt == annotator.config.attempts - 1:
            return outcome
        messages = ask_again(request.messages)
    raise ValueError("an annotator needs at least one attempt")
