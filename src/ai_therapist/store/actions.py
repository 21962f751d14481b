"""What is written down about a finished or quarantined action, and the key that names it."""

import hashlib
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest
from ai_therapist.store.codec import canonical_json

JsonObject = dict[str, object]


class ActionRecord(Record):
    """A finished action. It holds no time, path or host, so equal work gives equal bytes."""

    key: Digest
    stage: Annotated[str, Field(min_length=1)]
    version: int
    item: Annotated[str, Field(min_length=1)]
    config: JsonObject
    tools: dict[str, str]
    inputs: dict[str, Digest]
    outputs: dict[str, Digest]
    records: dict[str, str]
    """Ids of the records that the outputs hold, each with the name of its output."""
    counts: dict[str, int]


class QuarantineRecord(Record):
    """An action that failed for good, and why. It stands until it is released."""

    key: Digest
    stage: Annotated[str, Field(min_length=1)]
    item: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1)]
    attempts: Annotated[int, Field(ge=1)]


class TicketRecord(Record):
    """A paid job under way on another computer: what is asked for its result, so that it is never paid for twice."""

    key: Digest
    stage: Annotated[str, Field(min_length=1)]
    item: Annotated[str, Field(min_length=1)]
    ticket: Annotated[str, Field(min_length=1, max_length=500)]
    """Id of the job at the service."""


class IntentRecord(Record):
    """A paid job that is about to be submitted. While no ticket stands, only the service knows whether it was."""

    key: Digest
    stage: Annotated[str, Field(min_length=1)]
    item: Annotated[str, Field(min_length=1)]
    number: Annotated[int, Field(ge=0)]
    """From 0; each stands for one submission at most, and the next one says that this one came to nothing."""
    mark: Annotated[str, Field(min_length=1, max_length=500)]
    """What the job bears, so that it can be found at the service."""
    by: Annotated[str, Field(min_length=1, max_length=400)]
    """Private folder of the attempt that submits it: while it is there, the attempt may still be at it."""
    at_s: Annotated[int, Field(ge=0)]
    """When, in seconds since 1970."""


def action_key(
    stage: str,
    version: int,
    config: Mapping[str, object],
    tools: Mapping[str, str],
    inputs: Mapping[str, str],
) -> str:
    """Sha256 over what determines the result: stage, version, semantic settings, tools and input digests.

    Paths, times, worker counts and secrets never enter.
    """
    return key_of(key_head(stage, version, config, tools), inputs)


def key_head(stage: str, version: int, config: Mapping[str, object], tools: Mapping[str, str]) -> bytes:
    """The part of what is hashed that is the same for every item of a run."""
    return canonical_json([stage, version, dict(config), dict(tools)])[:-2]


def key_of(head: bytes, inputs: Mapping[str, str]) -> str:
    """The key of the action with these inputs, from the part that does not change."""
    return hashlib.sha256(head + b"," + canonical_json(dict(inputs))[:-1] + b"]\n").hexdigest()
