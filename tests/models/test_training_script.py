"""scripts/train_embedded_classifier.py: what it reads, what it leaves out, and that it gives the same weights again."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ai_therapist.models.embedded import EmbeddedClassifier
from ai_therapist.records import Role, Task, load_codebook

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "train_embedded_classifier.py"
MAPPING = ROOT / "scripts" / "embedded_classifier" / "goemotions.json"
NAMES = list(json.loads(MAPPING.read_text("utf-8")))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with few buckets, so that it trains in seconds."""
    spec = importlib.util.spec_from_file_location("train_embedded_classifier", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BUCKETS", dict.fromkeys(module.BUCKETS, 256))
    monkeypatch.setattr(module, "FOLDS", 2)
    return module


@pytest.fixture
def comments(tmp_path: Path) -> Path:
    """A folder like that of GoEmotions with a few invented comments."""
    rows = [
        ("What a lovely day!", ["joy"]),
        ("So glad, thank you", ["joy", "gratitude"]),
        ("I miss him", ["sadness"]),
        ("Glad and sad at once", ["joy", "sadness"]),
        ("Wow, really", ["surprise"]),
        ("Sad and surprised", ["sadness", "surprise"]),
        ("The bus left at nine", ["neutral"]),
    ]
    lines = [f"{text}\t{','.join(str(NAMES.index(label)) for label in labels)}\tx" for text, labels in rows]
    (tmp_path / "original_labels.txt").write_text("\n".join(NAMES))
    (tmp_path / "original_train.tsv").write_text("\n".join(lines))
    return tmp_path


def test_a_comment_counts_only_where_all_its_labels_map_to_one(script: ModuleType, comments: Path) -> None:
    assert [(text, label) for text, label in script.read_goemotions(comments, "train")] == [
        ("What a lovely day!", "joy"),
        ("So glad, thank you", "joy"),
        ("I miss him", "sadness"),
        ("The bus left at nine", "neutral"),
    ]


@pytest.mark.parametrize(("task", "least"), [(Task.EMOTION, 60), (Task.STRATEGY, 60)])
def test_every_label_has_enough_sentences_of_our_own(script: ModuleType, task: Task, least: int) -> None:
    rows = script.read_originals(task)

    for label in load_codebook().names(task):
        own = [(before, said) for before, said, name in rows if name == label]
        assert len(own) >= least
        assert len(set(own)) == len(own), label
        assert all(said.strip() == said != "" for _, said in own)


def test_a_sentence_is_given_as_written_and_as_heard(script: ModuleType) -> None:
    written, heard = script.original_samples(Task.STRATEGY)[:2]

    assert written.turns[-1].role is Role.THERAPIST
    assert heard.turns[-1].role is None
    assert heard.turns[-1].text == script.as_heard(written.turns[-1].text)
    assert heard.turns[-1].text.islower() and "?" not in heard.turns[-1].text
    assert written.fold == heard.fold


def test_the_same_data_give_the_same_weights(
    script: ModuleType, comments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for file in files:
        monkeypatch.setattr(sys, "argv", ["train", "--goemotions", str(comments), "--output", str(file)])
        script.main()

    assert files[0].read_bytes() == files[1].read_bytes()
    assert EmbeddedClassifier.from_file(files[0]).card.codebook == load_codebook().version


def test_the_documented_mapping_is_the_one_trained_with() -> None:
    page = (ROOT / "docs" / "embedded-classifier.md").read_text("utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    ours = {*load_codebook().names(Task.EMOTION), "left out"}
    documented = {name: row[0] for row in rows if row[0] in ours for name in row[1].split(", ") if name in NAMES}

    assert documented == {name: label or "left out" for name, label in json.loads(MAPPING.read_text("utf-8")).items()}
