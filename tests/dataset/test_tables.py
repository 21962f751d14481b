"""The folder on disk is what `datasets.load_dataset` reads, configuration by configuration, row for row."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ai_therapist.dataset.build import SessionParts, build_examples
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.croissant import CROISSANT
from ai_therapist.dataset.folder import write_folder
from ai_therapist.dataset.manifest import MANIFEST, REPORT, require_papers
from ai_therapist.dataset.rows import LABELS, REPLIES, SESSIONS, TURNS, pseudonym, reply_row
from ai_therapist.dataset.tables import read_table, write_table
from ai_therapist.errors import MissingExtra, NotPermitted
from ai_therapist.records import Example, Labels, LabelSources, Split, Task, Use, annotator_of
from tests.dataset.builders import make_annotation, make_parts, with_uses

SPLITS = {"group-s0": Split.TRAIN, "group-s1": Split.TEST}


def make_sessions() -> list[SessionParts]:
    """Two sessions; in the first a person corrects an emotion and cannot tell another."""
    first, second = make_parts("s0", seed=0), make_parts("s1", seed=1)
    said = first.transcript.utterances
    decided = (
        make_annotation(said[1].id, Task.EMOTION, "joy", annotator_of("ada")),
        make_annotation(said[3].id, Task.EMOTION, None, annotator_of("ada")),
    )
    return [SessionParts(first.session, first.transcript, first.clips, first.annotations, decided), second]


def make_examples() -> list[Example]:
    examples: list[Example] = []
    for parts in make_sessions():
        examples += build_examples(parts, SPLITS[parts.session.group], DatasetConfig()).examples
    blank = Labels(client_emotion="joy", strategy=None, therapist_emotion=None)
    sources = LabelSources(client_emotion="people")
    examples[0] = examples[0].model_copy(
        update={"labels": blank, "sources": sources, "clip": None, "clip_sha256": None}
    )
    return examples


def make_folder(folder: Path, sessions: Sequence[SessionParts] | None = None, *, redact: bool = False) -> Path:
    """The folder of two sessions, with the words as they are unless told otherwise."""
    write_folder(folder, sessions or make_sessions(), SPLITS, make_examples(), DatasetConfig(redact=redact))
    return folder


@pytest.fixture
def load_dataset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`datasets.load_dataset` without network and with a cache of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()

    def load(folder: Path, name: str | None = None) -> Any:
        return datasets.load_dataset(str(folder), name, cache_dir=str(tmp_path / "cache"))

    return load


def test_load_dataset_reads_identical_rows(tmp_path: Path, load_dataset: Any) -> None:
    import datasets

    folder = make_folder(tmp_path / "folder")
    loaded = load_dataset(folder)
    assert set(loaded) == {"train", "test"}
    for split in (Split.TRAIN, Split.TEST):
        expected = [reply_row(example) for example in make_examples() if example.split is split]
        assert loaded[split.value].to_list() == expected
        assert list(loaded[split.value].features) == list(REPLIES.features)
    declared = datasets.load_dataset_builder(str(folder), cache_dir=str(tmp_path / "cache")).info.features
    assert declared == loaded["train"].features
    assert declared["strategy"] == datasets.Value("string")


@pytest.mark.parametrize("table", [TURNS, SESSIONS, LABELS], ids=lambda table: table.name)
def test_the_other_configurations_read_back_equal(tmp_path: Path, load_dataset: Any, table: Any) -> None:
    folder = make_folder(tmp_path / "folder")
    loaded = load_dataset(folder, table.name)
    for split in (Split.TRAIN, Split.TEST):
        written = read_table(folder / table.name / f"{split.value}-00000-of-00001.parquet")
        assert loaded[split.value].to_list() == written
        assert list(loaded[split.value].features) == list(table.features)


def test_the_two_tasks_stand_apart_and_every_vote_is_kept(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    turns = read_table(folder / "clips" / "train-00000-of-00001.parquet")
    said = make_sessions()[0].transcript.utterances
    by_id = {row["id"]: row for row in turns}
    assert (by_id[said[1].id]["emotion"], by_id[said[1].id]["emotion_source"]) == ("joy", "people")
    assert (by_id[said[3].id]["emotion"], by_id[said[3].id]["emotion_source"]) == (None, None)
    assert by_id[said[0].id]["emotion_source"] == "models"
    assert not {"reply", "context"} & set(turns[0])
    votes = [row for row in read_table(folder / "labels" / "train-00000-of-00001.parquet") if row["task"] == "emotion"]
    assert {(row["annotator"], row["by"]) for row in votes} == {("annotator-1", "models"), ("person:ada", "people")}
    assert len(votes) == len(said) + 2


def test_neither_evidence_nor_names_of_sessions_and_groups_are_in_the_folder(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    shown = b"".join(path.read_bytes() for path in folder.glob("*.*")).decode()
    shown += str([read_table(path) for path in folder.rglob("*.parquet")])
    for secret in ("invented for a test", "group-s0", ".mp4"):
        assert secret not in shown


def test_the_papers_lie_in_the_folder_and_one_that_is_missing_is_a_refusal(tmp_path: Path) -> None:
    sessions = [make_sessions()[0], with_uses(make_sessions()[1], Use.TRAIN)]
    folder = make_folder(tmp_path / "folder", sessions, redact=True)
    manifest, report = require_papers(folder)
    assert manifest.without(Use.PUBLISH) == (sessions[1].session.id,)
    assert report.rows == len(make_examples()) + sum(len(parts.transcript.utterances) for parts in sessions)
    (folder / MANIFEST).unlink()
    with pytest.raises(NotPermitted, match=MANIFEST):
        require_papers(folder)
    with pytest.raises(NotPermitted, match=REPORT):
        require_papers(make_folder(tmp_path / "plain"))


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_croissant_validates_and_reads_the_rows(tmp_path: Path) -> None:
    import mlcroissant

    folder = make_folder(tmp_path)
    described = mlcroissant.Dataset(jsonld=folder / CROISSANT)
    assert not described.metadata.ctx.issues.errors
    written = json.loads((folder / CROISSANT).read_bytes())
    assert written["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    assert "abstained on" in str(written["rai:dataAnnotationAnalysis"])
    rows = list(described.records("sessions-train"))
    expected = read_table(folder / "sessions" / "train-00000-of-00001.parquet")
    assert [row["sessions-train/session"].decode() for row in rows] == [row["session"] for row in expected]
    assert [row["sessions-train/turns"] for row in rows] == [row["turns"] for row in expected]


def test_a_split_without_examples_has_no_file(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    assert sorted(path.name for path in (folder / "data").iterdir()) == [
        "test-00000-of-00001.parquet",
        "train-00000-of-00001.parquet",
    ]


def test_the_same_sessions_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (make_folder(tmp_path / name) for name in ("one", "two"))
    files = [path.relative_to(one) for path in sorted(one.rglob("*")) if path.is_file()]
    assert len(files) == 11
    assert [(one / path).read_bytes() for path in files] == [(two / path).read_bytes() for path in files]


def test_a_row_names_neither_group_nor_media_path() -> None:
    example = make_examples()[-1]
    row = reply_row(example)
    assert row["group"] == pseudonym(example.group)
    assert example.group not in str(row)
    assert ".mp4" not in str(row)
    assert row["clip_sha256"] == example.clip_sha256


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"'pyarrow'.*\[train\]"):
        write_table(REPLIES, {Split.TRAIN: [{}]}, tmp_path)
