"""Rows as the conversations that other trainers read: `messages`, ShareGPT for LLaMA-Factory, and ms-swift.

Two tasks, one file each, never mixed: "predict" asks for the reply that comes next, in the words of dataset/render.py;
"label" asks what was said in a turn that is shown.

messages    {"id", "messages": [{"role", "content"}]}; with a clip the content is a list of parts and "videos" its file
sharegpt    {"id", "system", "conversations": [{"from", "value"}]}, "videos"; <video> stands where the clip is
swift       {"id", "messages"}, "videos"; <video> as above; earlier answers carry "loss": false
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any

from ai_therapist.dataset.render import plain, render_prompt, target_text
from ai_therapist.dataset.tables import Row
from ai_therapist.records import Labels, Role, Task, Turn, load_codebook
from ai_therapist.records.message import Message, TextPart, VideoPart

OPENING = "(The session begins.)"
"""Stands as the first word of the user where the therapist spoke first: these formats must begin with the user."""

_EARLIER_TURNS = 6
"""Turns before the labelled one that are shown with it."""


class Form(StrEnum):
    """A format that another trainer reads."""

    MESSAGES = "messages"
    SHAREGPT = "sharegpt"
    SWIFT = "swift"


class Question(StrEnum):
    """What a model shall learn from a conversation."""

    PREDICT = "predict"
    LABEL = "label"


def predictions(rows: Iterable[Row], clips: frozenset[str]) -> Iterator[tuple[str, tuple[Message, ...]]]:
    """Id and messages of every reply to predict, the answer last; `clips` are digests of the files that come along."""
    for row in rows:
        turns = [_turn(turn) for turn in _listed(row["context"])]
        prompt = render_prompt(turns, _turn(row["client"]), _clip_path(row, clips))
        labels = Labels.model_validate({field: row[field] for field in Labels.model_fields})
        yield str(row["id"]), (*prompt, Message.of_text("assistant", target_text(labels, _turn(row["reply"]).text)))


def labellings(rows: Sequence[Row], clips: frozenset[str]) -> Iterator[tuple[str, tuple[Message, ...]]]:
    """Id and messages of every label of every turn. Turns before it are shown as words, never with a label."""
    earlier: list[Row] = []
    for row in rows:
        if earlier and earlier[-1]["session"] != row["session"]:
            earlier = []
        for task in (Task.EMOTION, Task.STRATEGY):
            if row[task.value] is not None:
                yield f"{row['id']}-{task.value}", _labelling(row, task, earlier[-_EARLIER_TURNS:], clips)
        earlier.append(row)


def conversation(form: Form, name: str, messages: Sequence[Message]) -> dict[str, Any]:
    """One conversation in a trainer's format."""
    videos = [part.path for message in messages for part in message.parts if isinstance(part, VideoPart)]
    shown = {"videos": videos} if videos else {}
    match form:
        case Form.MESSAGES:
            return {"id": name, "messages": [_with_parts(message) for message in messages], **shown}
        case Form.SHAREGPT:
            system, *rest = messages
            names = {"user": "human", "assistant": "gpt"}
            talk = [{"from": names[role], "value": text} for role, text in _alternating(rest)]
            return {"id": name, "system": system.text, "conversations": talk, **shown}
        case Form.SWIFT:
            system, *rest = messages
            said: list[dict[str, Any]] = [{"role": "system", "content": system.text}]
            said += [{"role": role, "content": text} for role, text in _alternating(rest)]
            for message in said[:-1]:
                if message["role"] == "assistant":
                    message["loss"] = False
            return {"id": name, "messages": said, **shown}


def llama_factory_index(name: str, files: Iterable[str], *, with_videos: bool) -> dict[str, Any]:
    """dataset_info.json, by which LLaMA-Factory finds the files."""
    columns = {"messages": "conversations", "system": "system"} | ({"videos": "videos"} if with_videos else {})
    return {
        f"{name}_{file.partition('.')[0]}": {"file_name": file, "formatting": "sharegpt", "columns": columns}
        for file in files
    }


def _labelling(row: Row, task: Task, earlier: Sequence[Row], clips: frozenset[str]) -> tuple[Message, ...]:
    names = ", ".join(load_codebook().names(task))
    system = (
        f"You label what was said in a counselling role-play that is used for research. Answer with one {task.value}: "
    )
    lines = [f"{turn['role']}: {plain(str(turn['text']))}" for turn in earlier]
    lines.append(f"To label, {row['role']}: {plain(str(row['text']))}")
    path = _clip_path(row, clips)
    seen = () if path is None else (VideoPart(path=path),)
    return (
        Message.of_text("system", system + names),
        Message(role="user", parts=(*seen, TextPart(text="\n".join(lines)))),
        Message.of_text("assistant", str(row[task.value])),
    )


def _with_parts(message: Message) -> dict[str, Any]:
    """Plain text where there is nothing but text, as every chat template takes it."""
    if all(isinstance(part, TextPart) for part in message.parts):
        return {"role": message.role, "content": message.text}
    parts = [
        {"type": "video"} if isinstance(part, VideoPart) else {"type": "text", "text": part.text}
        for part in message.parts
        if isinstance(part, VideoPart | TextPart)
    ]
    return {"role": message.role, "content": parts}


def _alternating(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """User and assistant in turn, the user first: neighbours of one role are joined, as these trainers demand."""
    talk: list[tuple[str, str]] = [] if messages[0].role == "user" else [("user", OPENING)]
    for message in messages:
        text = "<video>" * sum(isinstance(part, VideoPart) for part in message.parts) + message.text
        if talk and talk[-1][0] == message.role:
            talk[-1] = (message.role, f"{talk[-1][1]}\n{text}")
        else:
            talk.append((message.role, text))
    return talk


def _clip_path(row: Row, clips: frozenset[str]) -> str | None:
    digest = row["clip_sha256"]
    return f"media/{digest}.mp4" if isinstance(digest, str) and digest in clips else None


def _turn(value: object) -> Turn:
    assert isinstance(value, dict)
    return Turn.model_validate({**value, "role": Role(value["role"])})


def _listed(value: object) -> list[object]:
    assert isinstance(value, list)
    return value
