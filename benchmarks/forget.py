"""How long forgetting one session takes among many: python benchmarks/forget.py [--quick].

A workspace of 1,000 sessions with 100 records each (utterances, clips, annotations), 8 actions and 24 blobs a session,
is written straight to disk; then one session is planned and forgotten. The bar is for 100,000 records.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from pathlib import Path

from reporting import finish

from ai_therapist.store.actions import ActionRecord
from ai_therapist.store.codec import encode
from ai_therapist.store.forget import forget, plan
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace

LIMIT_S = 10.0
ACTIONS, BLOBS_AN_ACTION, RECORDS = 8, 3, 100


def digest(text: str) -> str:
    """A sha256 that follows from a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def add_session(workspace: Workspace, number: int) -> ItemRecord:
    """Actions and blobs of one session, unsynced: only what forgetting reads counts here."""
    session = f"ses_{digest(str(number))[:12]}"
    store, names, before = workspace.store, {}, {"recording": write_blob(workspace, f"recording {number}")}
    artefacts = dict(before)
    for action in range(ACTIONS):
        outputs = {
            f"out/{action}/{blob}": write_blob(workspace, f"{session} {action} {blob}")
            for blob in range(BLOBS_AN_ACTION)
        }
        names = {
            f"utt_{digest(f'{session}{place}')[:12]}": f"out/{action}/0"
            for place in range(action * RECORDS // ACTIONS, (action + 1) * RECORDS // ACTIONS)
        }
        record = ActionRecord(
            key=digest(f"{session} {action}"),
            stage=f"stage{action}",
            version=1,
            item=session,
            config={},
            tools={},
            inputs=before,
            outputs=outputs,
            records=names,
            counts={},
        )
        path = store.record_path("act", record.key)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(record))
        before, artefacts = outputs, artefacts | outputs
    return ItemRecord(
        item=session,
        name=f"session {number}",
        status=Status.DONE,
        reason=None,
        artefacts=artefacts,
        actions=tuple(digest(f"{session} {action}") for action in range(ACTIONS)),
        counts={},
    )


def write_blob(workspace: Workspace, text: str) -> str:
    """A small blob, written directly."""
    name = digest(text)
    path = workspace.store.path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return name


def main() -> None:
    """Build, forget, and compare with the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 sessions instead of 1,000")
    sessions = 100 if parser.parse_args().quick else 1000
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        items = tuple(add_session(workspace, number) for number in range(sessions))
        workspace.save_run(RunRecord(run="extraction", config={}, read=len(items), items=items))
        workspace.index.rebuild()
        start = time.perf_counter()
        found = plan(workspace, items[0].item)
        forget(workspace, found)
        seconds = time.perf_counter() - start
        left = len(workspace.load_run("extraction", "extract").items)
        workspace.index.close()
    finish(
        "forget",
        {
            "records": sessions * RECORDS,
            "actions": sessions * ACTIONS,
            "blobs": sessions * (ACTIONS * BLOBS_AN_ACTION + 1),
            "seconds": round(seconds, 2),
        },
        f"one session in at most {LIMIT_S:g} s at 100,000 records",
        holds=seconds <= LIMIT_S and left == sessions - 1 and found.actions == ACTIONS,
    )


if __name__ == "__main__":
    main()
