"""One in a hundred items is bad in one of five ways: each good one is done, each bad one is set aside and stays so."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ai_therapist.pipeline.driver import Item, Unobserved, drive
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.pipeline.stage import Stage
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from tests.pipeline import stages as functions
from tests.pipeline.stages import Settings

ITEMS = 1000
REASONS = {
    "exception": "poison.make failed with KeyError in stages.py, line ",
    "suicide": "the worker of poison.make died",
    "hang": "poison.make took longer than 3 s",
    "unreadable": ": cannot be read",
    "wrong": "transcript of i",
}
KINDS = tuple(REASONS)


@dataclass
class Count(Unobserved):
    """How many attempts failed, and what ran."""

    failures: list[str] = field(default_factory=list)
    worked: int = 0

    def finished(self, stage: str, item: str, *, reused: bool) -> None:
        self.worked += not reused

    def failed(self, stage: str, item: str, reason: str, *, final: bool) -> None:
        self.failures.append(item)


def kind_of(number: int) -> str | None:
    """What is wrong with an item: with every hundredth something, each kind twice."""
    return KINDS[number // 100 % len(KINDS)] if number % 100 == 57 else None


def plan() -> list[Stage]:
    return [
        Stage("poison.make", 1, functions.poisoned, ("text",), ("transcript",), Settings(), timeout_s=3, attempts=2),
        Stage("poison.read", 1, functions.read_back, ("transcript",), (), Settings()),
    ]


def run(root: Path) -> tuple[tuple[ItemRecord, ...], Count]:
    workspace, count = Workspace(root), Count()
    items = []
    for number in range(ITEMS):
        # Good items of the same content keep the test short: an action is one for all that have its inputs.
        text = f"{kind_of(number)} {number}" if kind_of(number) else f"good {number % 250}"
        items.append(Item(f"i{number}", f"item {number}", {"text": workspace.store.put_bytes(text.encode())}))
    records = drive(workspace, plan(), items, LocalExecutor(workspace.store, 2), count)
    workspace.save_run(RunRecord(run="poison", config={}, read=ITEMS, items=records))
    workspace.index.close()
    return records, count


def test_one_bad_item_in_a_hundred_costs_itself_only_and_the_verdict_stays(tmp_path: Path) -> None:
    records, count = run(tmp_path)
    bad = {number for number in range(ITEMS) if kind_of(number)}
    assert len(bad) == ITEMS // 100
    for number, record in enumerate(records):
        kind = kind_of(number)
        assert record.status is (Status.QUARANTINED if kind else Status.DONE), (number, record.reason)
        if kind:
            assert REASONS[kind] in str(record.reason)
            assert "quincy" not in str(record.reason)
    assert set(count.failures) == {f"item {number}" for number in bad}
    # Another run, in another driver's hands, runs nothing and says the same.
    workspace, again = Workspace(tmp_path), Count()
    items = [
        Item(record.item, record.name, {"text": record.artefacts["text"]})
        for record in workspace.load_run("poison", "extract").items
    ]
    assert drive(workspace, plan(), items, InlineExecutor(workspace.store), again) == records
    assert again.worked == 0
    # The two wrong outputs are the same bytes, and so one action of the stage that reads them.
    assert len(list(workspace.store.quarantines())) == len(bad) - 1
