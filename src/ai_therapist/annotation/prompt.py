"""What an annotator is asked: versioned prompt files, filled with the codebook, and the turns as marked data.

The contract with every model: one message of the system with the instruction, which holds no word of the transcript,
then one message of the user with the turns before, the clip where one is shown, and the turn in question. Turns are
marked lines (models/turn_lines.py), the last one is the one to label.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from ai_therapist.annotation.route import Route
from ai_therapist.errors import ConfigError
from ai_therapist.models.turn_lines import mark_for, render_turn
from ai_therapist.records import Codebook, Modality, Role, Task
from ai_therapist.records.message import Message, Part, TextPart, VideoPart
from ai_therapist.store.codec import canonical_json

_FIELDS = ("task", "role", "version", "key")
_SPEAKERS = {
    Role.THERAPIST: "the therapist",
    Role.CLIENT: "the client",
    Role.OTHER: "a third person in the room",
    Role.UNKNOWN: "a speaker whose role is not known",
}
_AGAIN = "Your last reply could not be read. Reply with the JSON object alone, in the form that was asked for."


_FILE_ROLES: Mapping[Role, str] = {
    Role.THERAPIST: "therapist",
    Role.CLIENT: "client",
    Role.OTHER: "other",
    Role.UNKNOWN: "other",
}
"""Whose prompt is used for whose turns."""

ASKED: Mapping[Task, frozenset[Role]] = {
    Task.EMOTION: frozenset(Role),
    Task.STRATEGY: frozenset({Role.THERAPIST}),
    Task.CUES: frozenset({Role.CLIENT}),
}
"""Whose turns a task is about. Where the role decides and is not known, the annotation is an abstention."""


@dataclass(frozen=True)
class Prompt:
    """One prompt file. `key` is the one key of the JSON object that it asks for."""

    task: Task
    role: str
    version: str
    key: str
    template: string.Template
    sha256: str

    @property
    def reply_prefix(self) -> str:
        """How a reply begins, up to the label."""
        return f'{{"{self.key}": "'


@dataclass(frozen=True)
class SpokenTurn:
    """A turn as an annotator sees it."""

    role: Role
    text: str


@dataclass(frozen=True)
class ClipFile:
    """A clip's file and the sha256 of its content."""

    path: Path
    sha256: str


@cache
def load_prompt(task: Task, role: Role) -> Prompt:
    """The prompt that ships for a task and a speaker's role. Raises ConfigError where its file is not well formed.

    A task that is not about turns of this role has no prompt for it; that of its own role stands for it.
    """
    name = _FILE_ROLES[role if role in ASKED[task] else min(ASKED[task])]
    data = resources.files("ai_therapist.annotation").joinpath("prompts", f"{task.value}_{name}.md").read_bytes()
    return parse_prompt(data, f"{task.value}_{name}.md")


def prompt_digests(tasks: Iterable[Task]) -> dict[str, str]:
    """Sha256 of every prompt file that the tasks use, by its name."""
    prompts = (load_prompt(task, role) for task in tasks for role in sorted(ASKED[task]))
    return {f"{prompt.task.value}_{prompt.role}": prompt.sha256 for prompt in prompts}


def parse_prompt(data: bytes, name: str) -> Prompt:
    """The prompt that a file holds.

    Raises ConfigError unless the file has exactly the fields task, role, version and key between two lines of three
    dashes, and names its placeholders right.
    """
    text = data.decode("utf-8")
    opening, _, rest = text.partition("---\n")
    head, fence, body = rest.partition("---\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    if opening or not fence or tuple(fields) != _FIELDS or len(head.splitlines()) != len(_FIELDS):
        raise ConfigError(f"prompt {name} must begin with the fields {', '.join(_FIELDS)} between lines of ---")
    template = string.Template(body.strip())
    known = {"speaker", "definitions", "mark"}
    if not template.is_valid() or not set(template.get_identifiers()) <= known:
        raise ConfigError(f"prompt {name} has a placeholder other than {', '.join(sorted(known))}")
    if fields["task"] not in set(Task):
        raise ConfigError(f"prompt {name} is for a task that does not exist")
    if fields["role"] not in _FILE_ROLES.values():
        raise ConfigError(f"prompt {name} is for a role that does not exist")
    digest = hashlib.sha256(data).hexdigest()
    return Prompt(Task(fields["task"]), fields["role"], fields["version"], fields["key"], template, digest)


def render_definitions(codebook: Codebook, task: Task) -> str:
    """One line for each label with its definition, an example and a counterexample; empty for CUES."""
    if task is Task.CUES:
        return ""
    return "\n".join(
        f"- {category.name}: {category.definition} Such as: {category.examples[0]} Not: {category.counterexamples[0]}"
        for category in codebook.categories(task)
    )


def build_messages(
    prompt: Prompt,
    codebook: Codebook,
    context: Sequence[SpokenTurn],
    target: SpokenTurn,
    route: Route,
    clip: ClipFile | None,
    mark: str | None = None,
) -> list[Message]:
    """The messages that ask about `target`. Raises ValueError where the route shows a clip and there is none.

    `mark` is that of the whole session, so that a model that has read the instruction once need not read it again;
    without it the mark follows from the turns that are shown.
    """
    mark = mark or mark_for([turn.text for turn in (*context, target)])
    instruction = prompt.template.substitute(
        speaker=_SPEAKERS[target.role], definitions=render_definitions(codebook, prompt.task), mark=mark
    )
    parts: list[Part] = []
    if context:
        lines = (render_turn(mark, turn.role, turn.text) for turn in context)
        parts.append(TextPart(text="\n".join(("Turns before:", *lines))))
    if route.shows_clip:
        if clip is None:
            raise ValueError("the route shows a clip, but there is none")
        parts.append(VideoPart(path=str(clip.path), sound=Modality.AUDIO in route.modalities))
    parts.append(TextPart(text=f"The turn in question:\n{render_turn(mark, target.role, target.text)}"))
    return [Message.of_text("system", instruction), Message(role="user", parts=tuple(parts))]


def ask_again(messages: Sequence[Message]) -> list[Message]:
    """The same request with a word that the last reply could not be read. The reply itself is not shown again."""
    *first, last = messages
    return [*first, Message(role="user", parts=(*last.parts, TextPart(text=_AGAIN)))]


def request_digest(annotator: str, task: Task, messages: Sequence[Message], clips: Mapping[str, str]) -> str:
    """Sha256 over annotator, task and messages, with every clip by its digest (`clips`: path to digest)."""
    shown = [
        [
            message.role,
            [clips[part.path] if isinstance(part, VideoPart) else part.model_dump() for part in message.parts],
        ]
        for message in messages
    ]
    return hashlib.sha256(canonical_json([annotator, task.value, shown])).hexdigest()
