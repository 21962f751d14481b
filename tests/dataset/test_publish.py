"""The folder on disk is what `datasets.load_dataset` reads, row for row and type for type."""

import sys
from pathlib import Path

import pytest

from ai_therapist.dataset.build import build_examples
from ai_therapist.dataset.card import Lineage, render_card
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.publish import FEATURES, pseudonym, row_of, write_tables
from ai_therapist.errors import MissingExtra
from ai_therapist.records import Example, Labels, Split
from tests.dataset.builders import make_parts


def make_examples() -> list[Example]:
    examples: list[Example] = []
    for seed, split in enumerate((Split.TRAIN, Split.TEST)):
        examples += build_examples(make_parts(f"s{seed}", seed=seed), split, DatasetConfig()).examples
    blank = Labels(client_emotion="joy", strategy=None, therapist_emotion=None)
    examples[0] = examples[0].model_copy(update={"labels": blank, "clip": None, "clip_sha256": None})
    return examples


def test_load_dataset_reads_identical_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    folder, examples = tmp_path / "folder", make_examples()
    tables = write_tables(examples, folder)
    card = render_card(examples, tables, Lineage({}, ("rule",), ("test",), ()))
    (folder / "README.md").write_text(card, "utf-8")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "test"}
    for split in tables:
        expected = [row_of(example) for example in examples if example.split is split]
        assert loaded[split.value].to_list() == expected
        assert list(loaded[split.value].features) == list(FEATURES)
    declared = datasets.load_dataset_builder(str(folder), cache_dir=str(tmp_path / "cache")).info.features
    assert declared == loaded["train"].features
    assert declared["strategy"] == datasets.Value("string")


def test_a_split_without_examples_has_no_file(tmp_path: Path) -> None:
    assert set(write_tables(make_examples(), tmp_path)) == {Split.TRAIN, Split.TEST}
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "test-00000-of-00001.parquet",
        "train-00000-of-00001.parquet",
    ]


def test_the_same_examples_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (write_tables(make_examples(), tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in one.values()] == [path.read_bytes() for path in two.values()]


def test_a_row_names_neither_group_nor_media_path() -> None:
    example = make_examples()[-1]
    row = row_of(example)
    assert row["group"] == pseudonym(example.group)
    assert example.group not in str(row)
    assert ".mp4" not in str(row)
    assert row["clip_sha256"] == example.clip_sha256


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"'pyarrow'.*ai-therapist\[train\]"):
        write_tables(make_examples(), tmp_path)
