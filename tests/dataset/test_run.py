"""The dataset run reads annotated sessions, respects consent, moves no split and does nothing twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from ai_therapist.dataset.build import SessionParts
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.read import dataset_item, read_examples, read_training_examples
from ai_therapist.dataset.run import build_dataset
from ai_therapist.errors import MissingInput, NotPermitted
from ai_therapist.pipeline.driver import Unobserved
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import Split, Task, Use, annotator_of
from ai_therapist.store.workspace import RunRecord, Status, Workspace
from tests.dataset.builders import make_annotation, make_parts, save_annotated, with_uses


class _Recorder(Unobserved):
    def __init__(self) -> None:
        self.reused: list[bool] = []

    def finished(self, stage: str, item: str, *, reused: bool) -> None:
        self.reused.append(reused)


def _run(workspace: Workspace, recorder: _Recorder | None = None) -> RunRecord:
    return build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store), recorder)


def _sessions(*seeds: int) -> list[SessionParts]:
    return [make_parts(f"s{seed}", seed=seed, turns=10) for seed in seeds]


def test_a_dataset_is_made_and_its_account_adds_up(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save_annotated(workspace, _sessions(1, 2, 3, 4))
    run = _run(workspace)
    (item,) = run.items
    examples = read_examples(workspace)
    summary = _summary(workspace)
    assert item.status is Status.DONE
    assert summary["therapist_turns"] == 20 == len(examples) + sum(summary["dropped"].values())
    assert sum(summary["splits"].values()) == len(examples) == summary["examples"]
    assert {example.split for example in examples} == set(Split)
    assert (workspace.dataset / "README.md").exists()
    assert workspace.index.holders(examples[0].id)


def _summary(workspace: Workspace) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(workspace.store.read(dataset_item(workspace).artefacts["summary"]))
    return summary


def test_a_second_run_does_nothing_and_more_sessions_move_none(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save_annotated(workspace, _sessions(1, 2, 3))
    _run(workspace)
    recorder = _Recorder()
    _run(workspace, recorder)
    assert recorder.reused == [True]
    before = {example.id: example.split for example in read_examples(workspace)}
    save_annotated(workspace, _sessions(1, 2, 3, 4, 5, 6))
    _run(workspace)
    after = {example.id: example.split for example in read_examples(workspace)}
    assert len(after) > len(before)
    assert all(after[example] is split for example, split in before.items() if example in after)


def test_a_session_without_permission_to_train_is_skipped_with_the_reason(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    allowed, refused = _sessions(1, 2)
    save_annotated(workspace, [allowed, with_uses(refused, Use.TRANSCRIBE, Use.ANNOTATE)])
    run = _run(workspace)
    (skipped,) = run.of_status(Status.SKIPPED)
    assert run.read == 2
    assert skipped.name == "s2"
    assert skipped.reason is not None
    assert "'train'" in skipped.reason
    assert {example.session for example in read_examples(workspace)} == {allowed.session.id}


def test_nothing_that_may_be_used_is_one_clear_error(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(MissingInput, match="ai-therapist annotate"):
        _run(workspace)
    save_annotated(workspace, [with_uses(_sessions(1)[0], Use.TRANSCRIBE)])
    with pytest.raises(MissingInput, match="s1: its consent record does not permit 'train'"):
        _run(workspace)
    with pytest.raises(MissingInput, match="ai-therapist dataset"):
        read_examples(workspace)


def test_a_dataset_without_examples_is_quarantined_with_the_account(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save_annotated(workspace, [make_parts("s1", turns=1)])
    (item,) = _run(workspace).of_status(Status.QUARANTINED)
    assert item.reason is not None
    assert "no_client_turn_before 1" in item.reason
    with pytest.raises(MissingInput, match="no_client_turn_before"):
        dataset_item(workspace)


def test_a_split_that_vanished_leaves_no_file(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save_annotated(workspace, _sessions(1, 2, 3))
    _run(workspace)
    kept = next(parts for parts in _sessions(1, 2, 3) if _split(workspace, parts.session.id) is Split.TEST)
    save_annotated(workspace, [kept])
    _run(workspace)
    assert [path.name for path in (workspace.dataset / "data").iterdir()] == ["test-00000-of-00001.parquet"]


def _split(workspace: Workspace, session: str) -> Split:
    return next(example.split for example in read_examples(workspace) if example.session == session)


def test_permission_to_train_is_asked_again_before_training(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first, second, third = _sessions(1, 2, 3)
    save_annotated(workspace, [first, second, third])
    _run(workspace)
    assert read_training_examples(workspace) == read_examples(workspace)
    save_annotated(workspace, [first, second, with_uses(third, Use.ANNOTATE)])
    with pytest.raises(NotPermitted, match=r"s3: .*'train'"):
        read_training_examples(workspace)
    save_annotated(workspace, [first, second])
    with pytest.raises(MissingInput, match=third.session.id):
        read_training_examples(workspace)


def test_clips_of_a_session_stay_out_where_faces_and_voices_may_not_be_read(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    words_only = with_uses(_sessions(1)[0], Use.TRAIN)
    save_annotated(workspace, [words_only, *_sessions(2)])
    _run(workspace)
    examples = read_examples(workspace)
    assert {example.session for example in examples if example.clip is None} == {words_only.session.id}
    assert _summary(workspace)["notes"]["session_without_clips_emotion_from_media_not_permitted"] == 1


def test_what_people_decided_makes_the_dataset_anew_with_their_labels(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    parts = _sessions(1)[0]
    save_annotated(workspace, [parts])
    _run(workspace)
    before = read_examples(workspace)[0]
    decided = make_annotation(before.client.utterance, Task.EMOTION, "disgust", annotator_of("ada"))
    workspace.decisions.add(parts.session.id, decided)
    recorder = _Recorder()
    _run(workspace, recorder)
    after = next(example for example in read_examples(workspace) if example.id == before.id)
    assert recorder.reused == [False]
    assert (before.sources.client_emotion, after.sources.client_emotion) == ("models", "people")
    assert after.labels.client_emotion == "disgust"
    assert _summary(workspace)["labels_by"]["people"] == 1
    workspace.decisions.retract(parts.session.id, decided.id, "ada", "2026-01-02T00:00:00Z")
    _run(workspace, recorder)
    assert recorder.reused == [False, True]
    assert read_examples(workspace)[0] == before


def test_sessions_that_may_not_be_given_away_can_be_left_out(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    free, kept = _sessions(1, 2)
    save_annotated(workspace, [free, with_uses(kept, Use.TRAIN)])
    run = build_dataset(workspace, DatasetConfig(permitted_for="publish"), InlineExecutor(workspace.store))
    (skipped,) = run.of_status(Status.SKIPPED)
    assert (skipped.name, "'publish'" in str(skipped.reason)) == ("s2", True)
    assert "must not be given away" not in (workspace.dataset / "README.md").read_text("utf-8")
