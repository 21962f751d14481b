"""From a record back to what came in from outside, by way of its own session only."""

import pytest

from ai_therapist.errors import MissingInput
from ai_therapist.store.actions import ActionRecord
from ai_therapist.store.codec import canonical_json
from ai_therapist.store.lineage import find_record, trace
from ai_therapist.store.workspace import Workspace
from ai_therapist.testing import make_digest

ONE, TWO, ROW = "ses_00000000000a", "ses_00000000000b", "exm_00000000000c"


def commit(workspace: Workspace, stage: str, item: str, inputs: dict[str, str], output: bytes, *ids: str) -> str:
    digest = workspace.store.put_bytes(output)
    workspace.store.commit(
        ActionRecord(
            key=make_digest(stage + item),
            stage=stage,
            version=1,
            item=item,
            config={},
            tools={},
            inputs=inputs,
            outputs={"out": digest},
            records=dict.fromkeys(ids, "out"),
            counts={},
        )
    )
    return digest


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    inputs = {}
    for session in (ONE, TWO):
        recording = workspace.store.put_bytes(session.encode())
        heard = commit(workspace, "test.hear", session, {"recording": recording}, b"heard " + session.encode())
        inputs[f"utterances/{session}"] = heard
    row = canonical_json({"rows": [{"id": "other"}, {"id": ROW, "session": ONE, "text": "words"}]})
    commit(workspace, "test.build", "dataset", inputs, row, ROW)
    return workspace


def test_a_row_leads_to_its_own_recording(filled: Workspace) -> None:
    steps = trace(filled, ROW)
    assert [(step.depth, step.action.stage, step.action.item) for step in steps] == [
        (0, "test.build", "dataset"),
        (1, "test.hear", ONE),
    ]
    assert steps[1].sources == (("recording", make_digest(ONE)),)
    assert find_record(filled, ROW)["text"] == "words"


def test_an_unknown_id_and_a_lost_output_are_named(filled: Workspace) -> None:
    with pytest.raises(MissingInput, match="utt_000000000000"):
        trace(filled, "utt_000000000000")
    action = next(action for action in filled.store.actions() if action.stage == "test.build")
    filled.store.path(action.outputs["out"]).unlink()
    with pytest.raises(MissingInput, match="ai-therapist verify"):
        trace(filled, ROW)
