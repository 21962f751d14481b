"""Ledgers add up, views are readable, and a missing workspace is named."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from ai_therapist.errors import MissingInput
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace


def item(status: Status, reason: str | None) -> ItemRecord:
    return ItemRecord(item="i", name="n", status=status, reason=reason, artefacts={}, actions=(), counts={})


def test_ledgers_come_back_and_add_up(workspace: Workspace) -> None:
    run = RunRecord(
        run="extraction", config={"a": 1}, read=2, items=(item(Status.DONE, None), item(Status.SKIPPED, "why"))
    )
    workspace.save_run(run)
    assert workspace.load_run("extraction", "extract") == run
    assert [done.status for done in run.done] == [Status.DONE]
    with pytest.raises(ValidationError, match="read is not the sum"):
        RunRecord(run="extraction", config={}, read=3, items=run.items)


def test_a_reason_stands_exactly_where_something_is_not_done() -> None:
    with pytest.raises(ValidationError, match="needs a reason"):
        item(Status.QUARANTINED, None)
    with pytest.raises(ValidationError, match="needs a reason"):
        item(Status.DONE, "why")


def test_a_missing_ledger_names_its_command(workspace: Workspace) -> None:
    assert workspace.find_run("annotation") is None
    with pytest.raises(MissingInput, match="run  ai-therapist annotate  first"):
        workspace.load_run("annotation", "annotate")


def test_a_folder_that_is_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="is no workspace"):
        Workspace.existing(tmp_path)


def test_a_view_is_replaced_and_shows_the_blobs(workspace: Workspace) -> None:
    digest = workspace.store.put_bytes(b"text")
    workspace.show("sessions/one", {"old.txt": digest})
    workspace.show("sessions/one", {"deep/new.txt": digest})
    folder = workspace.root / "view" / "sessions" / "one"
    assert [path.name for path in folder.rglob("*.txt")] == ["new.txt"]
    assert (folder / "deep" / "new.txt").read_bytes() == b"text"
