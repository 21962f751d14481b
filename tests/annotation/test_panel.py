"""Several annotators: every vote is kept, a label needs enough of them, and nobody's order matters."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.annotation.config import AnnotationConfig
from ai_therapist.annotation.panel import outcome_of, settle
from ai_therapist.annotation.run import annotate
from ai_therapist.errors import RequestError
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import Abstention, Annotation, Label, Modality, Task
from ai_therapist.store.codec import decode_all
from ai_therapist.store.workspace import RunRecord, Workspace
from ai_therapist.testing import make_session
from tests.annotation.builders import make_annotation, make_extraction, make_turns

NOW = "2026-01-01T00:00:00+00:00"
FACES: dict[str, object] = {"emotion_from_media": True, "media_notice": "consent form of 2026, section 4"}


def votes(*labels: str | None) -> list[Annotation]:
    outcomes = [Abstention(reason="test") if label is None else Label(value=label) for label in labels]
    return [make_annotation("one", outcome) for outcome in outcomes]


@pytest.mark.parametrize(
    ("labels", "majority", "unanimous"),
    [
        (("joy", "joy", "joy"), "joy", "joy"),
        (("joy", "joy", "fear"), "joy", None),
        (("joy", "fear", "anger"), None, None),
        (("joy", "joy", None), "joy", None),
        (("joy", None, None), None, None),
        (("joy", "joy", "fear", "fear"), None, None),
        ((None, None, None), None, None),
    ],
)
def test_a_label_needs_enough_of_the_members(
    labels: tuple[str | None, ...], majority: str | None, unanimous: str | None
) -> None:
    for rule, wanted in (("majority", majority), ("unanimous", unanimous)):
        outcome = outcome_of(votes(*labels), "majority" if rule == "majority" else "unanimous", len(labels))
        assert (outcome.value if isinstance(outcome, Label) else None) == wanted


@given(st.permutations(["joy", "joy", "fear", None, "joy"]))
def test_the_order_of_the_members_decides_nothing(labels: list[str | None]) -> None:
    assert outcome_of(votes(*labels), "majority", 5) == Label(value="joy")


def test_every_vote_is_kept_before_what_they_come_to() -> None:
    turns = make_turns(make_session(), "hello")
    given_by = [
        vote.model_copy(update={"utterance": turns[0].id, "id": f"ann_{number:012x}"})
        for number, vote in enumerate(votes("joy", "joy", "fear"))
    ]
    settled = settle(turns, [[vote] for vote in given_by], "majority", lambda: NOW)
    assert settled[:3] == given_by
    assert settled[3].label == "joy"
    assert settled[3].provenance.annotator == "panel of 3 (majority): test"
    assert settled[3].provenance.route == "votes of a panel"
    assert settle(turns, [given_by[:1]], "majority", lambda: NOW) == given_by[:1]


def run_inline(workspace: Workspace, **settings: object) -> RunRecord:
    config = AnnotationConfig.model_validate_json(json.dumps(settings))
    return annotate(workspace, config, InlineExecutor(workspace.store))


def script(path: Path, label: str, *, accepts: tuple[str, ...] = ("text",)) -> str:
    content = {"replies": [json.dumps({"emotion": label})], "repeat": True, "accepts": accepts}
    path.write_text(json.dumps(content))
    return f"scripted:{path}"


def read(workspace: Workspace, run: RunRecord) -> tuple[Annotation, ...]:
    return decode_all(Annotation, workspace.store.read(run.items[0].artefacts["annotations"]), "x")


def test_a_panel_labels_every_turn_and_adding_a_member_asks_the_others_nothing(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path / "w", "one")
    specs = [script(tmp_path / f"{name}.json", name) for name in ("joy", "fear", "anger")]
    specs[1] = script(tmp_path / "fear.json", "joy")
    run = run_inline(workspace, annotator=specs[0], panel=specs[1:2], tasks=["emotion"])
    assert [annotation.label for annotation in read(workspace, run)] == ["joy", "joy", "joy"] * 2
    before = workspace.store.names("act")
    run = run_inline(workspace, annotator=specs[0], panel=specs[1:], tasks=["emotion"])
    found = read(workspace, run)
    assert [annotation.label for annotation in found] == ["joy", "joy", "anger", "joy"] * 2
    assert found[3].provenance.annotator.startswith("panel of 3 (majority): scripted@")
    assert len(workspace.store.names("act") - before) == 2
    assert run.items[0].counts["questions"] == 6


def test_clips_and_words_go_to_different_annotators(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path / "w", "one")
    reads = script(tmp_path / "words.json", "fear")
    sees = script(tmp_path / "clips.json", "joy", accepts=("text", "video", "audio"))
    run = run_inline(workspace, annotator=reads, clip_annotator=sees, tasks=["emotion"], **FACES)
    found = read(workspace, run)
    assert [annotation.label for annotation in found] == ["joy", "joy"]
    assert {annotation.provenance.modalities for annotation in found} == {frozenset(Modality)}
    clips = workspace.load_run("extraction", "extract").items[0].artefacts["clips"]
    spoiled = workspace.store.read(clips).replace(b'"faults":[]', b'"faults":["too_short"]', 1)
    item = workspace.load_run("extraction", "extract").items[0]
    artefacts = item.artefacts | {"clips": workspace.store.put_bytes(spoiled)}
    changed = RunRecord(run="extraction", config={}, read=1, items=(item.model_copy(update={"artefacts": artefacts}),))
    workspace.save_run(changed)
    found = read(workspace, run_inline(workspace, annotator=reads, clip_annotator=sees, tasks=["emotion"], **FACES))
    assert [annotation.label for annotation in found] == ["fear", "joy"]
    assert found[0].provenance.route == "turn too short for a clip"


def test_an_annotator_of_clips_must_see(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path / "w", "one")
    blind = script(tmp_path / "blind.json", "joy")
    with pytest.raises(RequestError, match="sees no clips"):
        run_inline(workspace, clip_annotator=blind, tasks=["emotion"], **FACES)


def test_cues_of_several_are_kept_and_not_put_together() -> None:
    turns = make_turns(make_session(), "hello")
    cue = make_annotation("x", Abstention(reason="test"), Task.CUES).model_copy(update={"utterance": turns[0].id})
    assert settle(turns, [[cue], [cue]], "majority", lambda: NOW) == [cue, cue]
