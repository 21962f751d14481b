"""The held-out examples as a task of another evaluation framework: Inspect or lmms-eval.

exports/inspect/     test.jsonl, answers.py, task.py
exports/lmms-eval/   test.jsonl, answers.py, utils.py, ai_therapist_FIELD.yaml

Either asks what `evaluate` asks, in the words of dataset/render.py, and scores the three labels apart. Gold labels
stand in the target and beside the example, never in what a model is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from importlib import resources
from typing import Any

from ai_therapist.dataset.chat import predictions
from ai_therapist.dataset.tables import Row
from ai_therapist.records import Labels
from ai_therapist.records.message import Message, VideoPart


class Harness(StrEnum):
    """An evaluation framework."""

    INSPECT = "inspect"
    LMMS_EVAL = "lmms-eval"


def task_files(harness: Harness, rows: Sequence[Row], clips: frozenset[str]) -> dict[str, str]:
    """Text of every file of the task by its name; `clips` are digests of the files that come along."""
    by_id = {str(row["id"]): row for row in rows}
    sample = _inspect if harness is Harness.INSPECT else _lmms_eval
    samples = [sample(by_id[name], messages) for name, messages in predictions(rows, clips)]
    files = {"test.jsonl": _jsonl(samples), "answers.py": _template("answers.py")}
    if harness is Harness.INSPECT:
        return files | {"task.py": _template("inspect.py")}
    task = _template("lmms_eval.yaml")
    tasks = {
        f"{name}.yaml": task.replace("FULL_NAME", name).replace("FIELD", field)
        for field in Labels.model_fields
        for name in (f"ai_therapist_{field}",)
    }
    return files | {"utils.py": _template("lmms_eval.py")} | tasks


def _inspect(row: Row, messages: Sequence[Message]) -> dict[str, Any]:
    *prompt, target = messages
    return {
        "id": row["id"],
        "input": [{"role": each.role, "content": _content(each)} for each in prompt],
        "target": target.text,
        "metadata": _told(row),
    }


def _lmms_eval(row: Row, messages: Sequence[Message]) -> dict[str, Any]:
    *prompt, target = messages
    return {
        "id": row["id"],
        "messages": [{"role": each.role, "content": each.text} for each in prompt],
        "videos": [part.path for each in prompt for part in each.parts if isinstance(part, VideoPart)],
        "target": target.text,
        **_told(row),
    }


def _told(row: Row) -> dict[str, Any]:
    """What scoring needs beside the answer: the session, and gold labels or None."""
    return {"session": row["session"], **{field: row[field] for field in Labels.model_fields}}


def _content(message: Message) -> str | list[dict[str, str]]:
    seen = [part for part in message.parts if isinstance(part, VideoPart)]
    if not seen:
        return message.text
    videos = [{"type": "video", "video": part.path, "format": "mp4"} for part in seen]
    return [*videos, {"type": "text", "text": message.text}]


def _jsonl(samples: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in samples)


def _template(name: str) -> str:
    return resources.files(__package__).joinpath(f"templates/{name}.txt").read_text("utf-8")
