"""Annotation of a workspace: done, skipped, counted, shown, and stable but for the time."""

import json
from pathlib import Path

import pytest

from ai_therapist.annotation.config import AnnotationConfig
from ai_therapist.annotation.prompt import prompt_digests
from ai_therapist.annotation.rates import describe_endings
from ai_therapist.annotation.run import annotate
from ai_therapist.errors import ConfigError, MissingInput, RequestError
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.records import Abstention, Annotation, Modality, Task, Use
from ai_therapist.store.codec import decode_all
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from ai_therapist.testing import make_digest
from tests.annotation.builders import make_extraction

FACES: dict[str, object] = {"emotion_from_media": True, "media_notice": "consent form of 2026, section 4"}


def run_inline(workspace: Workspace, **settings: object) -> RunRecord:
    config = AnnotationConfig.model_validate_json(json.dumps(settings))
    return annotate(workspace, config, InlineExecutor(workspace.store))


def read(workspace: Workspace, item: ItemRecord) -> tuple[Annotation, ...]:
    return decode_all(Annotation, workspace.store.read(item.artefacts["annotations"]), item.name)


def write_script(path: Path, **content: object) -> str:
    path.write_text(json.dumps(content))
    return f"scripted:{path}"


def test_every_turn_gets_its_labels(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path, "one", "two")
    run = run_inline(workspace)
    first = read(workspace, run.items[0])

    assert run == workspace.find_run("annotation")
    assert [item.name for item in run.done] == ["one", "two"]
    assert [(a.task, a.label) for a in first] == [
        (Task.EMOTION, "neutral"),
        (Task.STRATEGY, "Open questions"),
        (Task.EMOTION, "sadness"),
    ]
    assert run.items[0].counts == {"turns": 2, "annotations": 3, "questions": 3, "calls": 3, "labels": 3}


def test_provenance_says_who_from_what_and_why(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path, "one")
    provenance = read(workspace, run_inline(workspace).items[0])[0].provenance

    assert provenance.annotator.startswith("embedded@")
    assert provenance.modalities == {Modality.TEXT}
    assert provenance.route == "annotator reads text only"
    assert provenance.at.endswith("+00:00")


def test_a_done_item_keeps_what_extraction_gave(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path, "one")
    before = workspace.load_run("extraction", "extract").items[0]
    after = run_inline(workspace).items[0]

    assert before.artefacts.items() <= after.artefacts.items()
    assert set(before.actions) < set(after.actions)


def test_the_second_run_does_nothing(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path, "one")
    first = run_inline(workspace)

    assert run_inline(workspace) == first


def test_only_the_time_differs_between_two_workspaces(tmp_path: Path) -> None:
    timeless = []
    for name in ("a", "b"):
        workspace = make_extraction(tmp_path / name, "one")
        annotations = read(workspace, run_inline(workspace).items[0])
        timeless.append([a.model_dump(exclude={"provenance": {"at"}}) for a in annotations])

    assert timeless[0] == timeless[1]


def test_other_settings_ask_again(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path, "one")
    run_inline(workspace)
    strict = run_inline(workspace, min_probability=0.999999)

    outcomes = [annotation.outcome for annotation in read(workspace, strict.items[0])]
    assert outcomes == [Abstention(reason="most probable label below 0.999999")] * 3


def test_a_session_that_may_not_be_annotated_is_skipped(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path, "one", uses=(Use.TRANSCRIBE,))
    item = run_inline(workspace).items[0]

    assert item.status is Status.SKIPPED
    assert "does not permit 'annotate'" in str(item.reason)
    assert "annotations" not in item.artefacts


def test_a_busy_annotator_quarantines_its_session_after_all_attempts(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path / "w", "one")
    spec = write_script(tmp_path / "script.json", replies=[{"fail": "the server is busy"}])
    item = run_inline(workspace, annotator=spec).items[0]

    assert item.status is Status.QUARANTINED
    assert item.reason == "the server is busy"


def test_an_annotator_that_watches_is_shown_the_clips(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path / "w", "one")
    spec = write_script(tmp_path / "script.json", replies=['{"emotion": "joy"}'], repeat=True)
    run = run_inline(workspace, annotator=spec, tasks=["emotion"], **FACES)

    for annotation in read(workspace, run.items[0]):
        assert annotation.label == "joy"
        assert annotation.provenance.modalities == set(Modality)
        assert annotation.provenance.route == "clip usable"


def test_faces_and_voices_are_not_shown_unless_that_is_asked_for(tmp_path: Path) -> None:
    uses = tuple(use for use in Use if use is not Use.EMOTION_FROM_MEDIA)
    workspace = make_extraction(tmp_path / "w", "one", uses=uses)
    spec = write_script(tmp_path / "script.json", replies=['{"emotion": "joy"}'], repeat=True)
    (item,) = run_inline(workspace, annotator=spec, tasks=["emotion"]).items

    assert item.status is Status.DONE
    for annotation in read(workspace, item):
        assert annotation.provenance.modalities == {Modality.TEXT}
        assert annotation.provenance.route == "faces and voices are not shown"
    (refused,) = run_inline(workspace, annotator=spec, tasks=["emotion"], **FACES).items
    assert refused.status is Status.SKIPPED
    assert "does not permit 'emotion_from_media'" in str(refused.reason)


def test_a_script_in_another_place_is_the_same_annotator(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path / "w", "one")
    specs = [
        write_script(tmp_path / name, replies=['{"emotion": "joy"}'], repeat=True) for name in ("a.json", "b.json")
    ]
    first, second = (run_inline(workspace, annotator=spec, tasks=["emotion"]) for spec in specs)

    assert first.items == second.items


def test_the_view_shows_labels_and_no_words(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path, "one")
    run_inline(workspace)
    table = (tmp_path / "view" / "annotations" / "one" / "labels.txt").read_text()

    assert "sadness" in table
    assert "cried" not in table
    assert (tmp_path / "view" / "annotations" / "one" / "annotations.json").exists()


def test_what_may_no_longer_be_annotated_leaves_the_view(tmp_path: Path) -> None:
    run_inline(make_extraction(tmp_path, "one"))
    run_inline(make_extraction(tmp_path, "one", uses=(Use.TRANSCRIBE,)))

    assert not (tmp_path / "view" / "annotations" / "one").exists()


def test_a_worker_process_gives_the_same_labels(tmp_path: Path) -> None:
    here, there = make_extraction(tmp_path / "a", "one"), make_extraction(tmp_path / "b", "one")
    executor = LocalExecutor(there.store, workers=1)
    try:
        away = annotate(there, AnnotationConfig(), executor)
    finally:
        executor.close()

    assert [a.outcome for a in read(there, away.items[0])] == [a.outcome for a in read(here, run_inline(here).items[0])]


def test_nothing_to_annotate_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="ai-therapist extract"):
        run_inline(Workspace(tmp_path))


@pytest.mark.parametrize(
    ("settings", "error"),
    [({"annotator": "embeded"}, ConfigError), ({"tasks": ["emotion", "cues"], **FACES}, RequestError)],
)
def test_a_wrong_request_changes_nothing(
    tmp_path: Path, settings: dict[str, object], error: type[RequestError]
) -> None:
    workspace = make_extraction(tmp_path, "one")

    with pytest.raises(error):
        run_inline(workspace, **settings)
    assert workspace.find_run("annotation") is None


def test_a_changed_prompt_runs_annotation_again_and_nothing_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_extraction(tmp_path, "one")
    run_inline(workspace)
    before = {record.key for record in workspace.store.actions()}
    blobs = {path.name for path in workspace.store.blob_paths()}
    changed = {name: make_digest(f"changed {name}") for name in prompt_digests(AnnotationConfig().tasks)}
    monkeypatch.setattr("ai_therapist.annotation.run.prompt_digests", lambda tasks: changed)
    run_inline(workspace)

    after = [record.stage for record in workspace.store.actions() if record.key not in before]
    assert "annotate" in after
    assert set(after) <= {"annotate", "settle"}
    assert blobs <= {path.name for path in workspace.store.blob_paths()}


def test_the_run_says_how_its_questions_ended(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path / "w", "one")
    replies = ['{"emotion": "joy"}', "no", "no again"]
    spec = write_script(tmp_path / "script.json", replies=replies)
    run = run_inline(workspace, annotator=spec, tasks=["emotion"])

    (line,) = describe_endings(run)
    assert line == "2 questions to annotators in 3 calls: 1 labels (50.0%), 1 invalid replies (50.0%)"
    (unread,) = (name for name in run.items[0].artefacts if name.startswith("unread/"))
    kept = json.loads(workspace.store.read(run.items[0].artefacts[unread]))
    assert [each["reply"] for each in kept] == ["no", "no again"]


def test_no_label_is_without_provenance(tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path, "one", "two")
    digests = set(prompt_digests(AnnotationConfig().tasks).values())
    for item in run_inline(workspace).items:
        for annotation in read(workspace, item):
            assert annotation.provenance.prompt_sha256 in digests
            assert annotation.provenance.annotator.startswith("embedded@")
