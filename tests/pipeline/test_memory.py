"""A stage that takes more memory than it may is stopped, for good, and its neighbours are done."""

import sys

import pytest

from ai_therapist.pipeline.driver import Item, drive
from ai_therapist.pipeline.memory import limited_memory
from ai_therapist.pipeline.stage import Stage
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.store.workspace import Status, Workspace
from tests.pipeline import stages as functions
from tests.pipeline.stages import Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit is set on Linux only")


def test_what_takes_too_much_is_set_aside_and_the_worker_goes_on(workspace: Workspace) -> None:
    stage = Stage("test.greedy", 1, functions.greedy, ("text",), ("upper",), Settings(), memory_mb=400)
    items = [
        Item(name, name, {"text": workspace.store.put_bytes(name.encode())}) for name in ("good", "bad", "also good")
    ]
    records = drive(workspace, [stage], items, LocalExecutor(workspace.store, 1))
    assert [record.status for record in records] == [Status.DONE, Status.QUARANTINED, Status.DONE]
    assert records[1].reason == "test.greedy needs more memory than it may take"


def test_the_limit_ends_with_the_task() -> None:
    with limited_memory(100), pytest.raises(MemoryError):
        bytearray(300_000_000)
    assert len(bytearray(300_000_000)) == 300_000_000
    with limited_memory(0):
        assert len(bytearray(300_000_000)) == 300_000_000
