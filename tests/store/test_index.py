"""The index answers from the records and may be thrown away."""

import os
from pathlib import Path

import pytest

from ai_therapist.errors import MissingInput
from ai_therapist.store.actions import ActionRecord
from ai_therapist.store.workspace import Workspace
from ai_therapist.testing import make_digest


def _commit(workspace: Workspace, key: str, record_id: str) -> ActionRecord:
    return workspace.store.commit(
        ActionRecord(
            key=make_digest(key),
            stage="test.s",
            version=1,
            item="one",
            config={},
            tools={},
            inputs={},
            outputs={"out": workspace.store.put_bytes(key.encode())},
            records={record_id: "out"},
            counts={},
        )
    )


def test_finds_records_and_outputs_and_rebuilds(workspace: Workspace) -> None:
    action = _commit(workspace, "k", "utt_000000000001")
    workspace.index.add(action)
    workspace.index.add(action)
    assert workspace.index.holders("utt_000000000001") == [(action.key, "out")]
    assert workspace.index.producers(action.outputs["out"]) == [(action.key, "out")]
    workspace.index.close()
    (workspace.root / "index.db").unlink()
    again = Workspace(workspace.root)
    assert again.index.holders("utt_000000000001") == [(action.key, "out")]
    assert again.index.holders("utt_000000000002") == []


def test_source_digest_follows_the_content(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(b"one")
    first = workspace.index.source_digest(path)
    assert workspace.index.source_digest(path) == first == make_digest("one")
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert workspace.index.source_digest(path) == make_digest("two")
    with pytest.raises(MissingInput, match="absent"):
        workspace.index.source_digest(tmp_path / "absent")
