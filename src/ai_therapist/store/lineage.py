"""The chain of actions from a record back to the recording it came from."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ai_therapist.errors import MissingInput
from ai_therapist.store.actions import ActionRecord
from ai_therapist.store.workspace import Workspace

_SESSION = re.compile(r"ses_[0-9a-f]{12}")


@dataclass(frozen=True)
class Step:
    """One action of the chain: what it read and what it gave that the step before needed."""

    depth: int
    """0 for the action that gave the record itself."""
    action: ActionRecord
    output: str
    sources: tuple[tuple[str, str], ...]
    """Name and digest of each input that no action gave: what came in from outside."""


def find_record(workspace: Workspace, record_id: str) -> dict[str, object]:
    """The record itself as plain JSON values. Raises MissingInput where no action gave one of this id."""
    key, name = _holder(workspace, record_id)
    action = _action(workspace, key)
    value: object = json.loads(workspace.store.read(action.outputs[name]))
    for candidate in _objects(value):
        if candidate.get("id") == record_id:
            return candidate
    raise MissingInput(f"{record_id}: the index is out of date; delete {workspace.root / 'index.db'} and try again")


def trace(workspace: Workspace, record_id: str) -> list[Step]:
    """The actions behind a record, each once, every one followed by those whose outputs it read.

    Inputs that belong to another session are left out, so that the row of a dataset leads to its own recording.
    Raises MissingInput where no action gave a record of this id.
    """
    record = find_record(workspace, record_id)
    session = record_id if record_id.startswith("ses_") else record.get("session")
    key, name = _holder(workspace, record_id)
    if session is None:
        session = _action(workspace, key).item
    steps: list[Step] = []
    seen: set[str] = set()
    stack = [(0, key, name)]
    while stack:
        depth, key, name = stack.pop()
        if key in seen:
            continue
        seen.add(key)
        action = _action(workspace, key)
        inputs = _inputs_of(action, session)
        producers = {digest: workspace.index.producers(digest) for digest in inputs.values()}
        stack += [(depth + 1, *found[0]) for found in reversed(producers.values()) if found]
        sources = tuple((source, digest) for source, digest in inputs.items() if not producers[digest])
        steps.append(Step(depth, action, name, sources))
    return steps


def _inputs_of(action: ActionRecord, session: object) -> dict[str, str]:
    return {
        name: digest
        for name, digest in action.inputs.items()
        if (owner := _SESSION.search(name)) is None or owner.group() == session
    }


def _holder(workspace: Workspace, record_id: str) -> tuple[str, str]:
    holders = workspace.index.holders(record_id)
    # The index may have been made by an older run; the records themselves are the truth.
    if not holders:
        workspace.index.rebuild()
        holders = workspace.index.holders(record_id)
    if not holders:
        raise MissingInput(f"{record_id!r}: no record of this id in {workspace.root}")
    return holders[0]


def _action(workspace: Workspace, key: str) -> ActionRecord:
    action = workspace.store.action(key)
    if action is None:
        raise MissingInput(f"action {key[:12]} or one of its outputs is gone; run  ai-therapist verify")
    return action


def _objects(value: object) -> list[dict[str, object]]:
    """All JSON objects inside a value, outermost first."""
    found: list[dict[str, object]] = []
    queue = [value]
    while queue:
        item = queue.pop(0)
        if isinstance(item, dict):
            found.append(item)
            queue += list(item.values())
        elif isinstance(item, list):
            queue += item
    return found
