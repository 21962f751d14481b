"""Brings remote recordings into the store: each once, whatever is killed, with retries and quarantine as any stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ai_therapist.errors import SourcePaused
from ai_therapist.extraction.sources.recording import Refusal
from ai_therapist.pipeline.driver import Item, Observer, drive
from ai_therapist.pipeline.executors import Executor
from ai_therapist.pipeline.stage import Stage
from ai_therapist.store.blobs import Store
from ai_therapist.store.workspace import Workspace

MakeExecutor = Callable[[Store], Executor]


def fetch_all(
    workspace: Workspace, stage: Stage, items: Sequence[Item], make: MakeExecutor, observer: Observer | None = None
) -> tuple[dict[str, str], dict[str, Refusal], SourcePaused | None]:
    """Sha256 of every item that `stage` could fetch, why others are not there, and what stopped it half-way.

    What is in the store is not fetched again; what was forgotten is never fetched again. The stage gives "recording".
    """
    refused = {item.id: _forgotten(item) for item in items if workspace.was_forgotten(key_of(stage, item))}
    wanted = [item for item in items if item.id not in refused]
    pause = None
    try:
        drive(workspace, (stage,), wanted, make(workspace.store), observer)
    except SourcePaused as stopped:
        pause = stopped
    fetched = {}
    for item in wanted:
        key = key_of(stage, item)
        action, failure = workspace.store.action(key), workspace.store.quarantined(key)
        if action is not None:
            fetched[item.id] = action.outputs["recording"]
        elif failure is not None:
            refused[item.id] = Refusal(item.name, failure.reason, failure=True)
        else:
            refused[item.id] = Refusal(item.name, f"{item.name}: {pause}")
    return fetched, refused, pause


def key_of(stage: Stage, item: Item) -> str:
    """Key of the action that fetching the item is."""
    return stage.key(stage.inputs(item.artefacts))


def _forgotten(item: Item) -> Refusal:
    return Refusal(item.name, f"{item.name} was forgotten here on request and is not fetched again")
