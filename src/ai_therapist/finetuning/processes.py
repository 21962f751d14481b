"""Several processes that train together: how many there are, and waiting for what the first one makes alone."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from ai_therapist.errors import ItemError
from ai_therapist.pipeline.stage import Stage
from ai_therapist.store.actions import ActionRecord
from ai_therapist.store.blobs import Store

_POLL_S = 0.5


def process() -> tuple[int, int]:
    """How many processes train together, and the number of this one, as torchrun and accelerate tell them."""
    return int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process does what only one may do: opening bases, encoding clips, saving."""
    return process()[1] == 0


def awaited(store: Store, stage: Stage, inputs: Mapping[str, str]) -> ActionRecord | None:
    """The action that the first process commits, once it is there; None where it was set aside.

    There is no limit of time: torchrun ends every process as soon as one fails.
    """
    key = stage.key(stage.inputs(inputs))
    while (record := store.action(key)) is None:
        if store.quarantined(key) is not None:
            return None
        time.sleep(_POLL_S)
    return record


def needed(store: Store, stage: Stage, inputs: Mapping[str, str]) -> ActionRecord:
    """As `awaited`, for what nothing goes on without. Raises ItemError where it was set aside."""
    record = awaited(store, stage, inputs)
    if record is None:
        raise ItemError(f"{stage.name} was set aside in the first process, which says why")
    return record
