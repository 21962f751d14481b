"""What leaves the workspace names nobody; what is trained on here stays as it was said."""

from dataclasses import replace
from pathlib import Path

import pytest

from ai_therapist.dataset.build import build_examples
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.read import read_examples
from ai_therapist.dataset.redact import Redaction
from ai_therapist.dataset.run import build_dataset
from ai_therapist.dataset.tables import read_table
from ai_therapist.errors import ConfigError
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import Split, Transcript
from ai_therapist.store.workspace import Workspace
from ai_therapist.testing import make_session
from tests.dataset.builders import make_cues, make_parts, make_talk, save_annotated
from tests.store.arc import found_in

NAME = "zovarina"


def _talk() -> Transcript:
    return make_talk(
        make_session("one"),
        ("A", 0, 2000, "what brings you here today then"),
        ("B", 3000, 5000, f"i cannot sleep since {NAME} left us"),
        ("A", 6000, 8000, f"tell me more about {NAME} if you like"),
        ("B", 9000, 12000, f"my sister is called clara and my name is {NAME}"),
        ("A", 13000, 15000, "thank you for telling me about clara"),
    )


def test_the_folder_is_redacted_and_the_examples_are_not(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    save_annotated(workspace, [make_parts("one", _talk())])
    build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store))
    tables = [read_table(path) for path in workspace.dataset.rglob("*.parquet")]
    assert NAME not in str(tables)
    assert "clara" not in str(tables)
    assert found_in(workspace.dataset, [NAME, "clara"]) == set()
    assert any(NAME in example.model_dump_json() for example in read_examples(workspace))
    card = (workspace.dataset / "README.md").read_text("utf-8")
    assert "| PERSON |" in card
    assert "read these rows" in card


def test_redaction_can_be_switched_off_and_the_card_says_so(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    save_annotated(workspace, [make_parts("one", _talk())])
    build_dataset(workspace, DatasetConfig(redact=False), InlineExecutor(workspace.store))
    assert found_in(workspace.dataset, [NAME]) == {NAME}
    assert "**The words are as they were said.**" in (workspace.dataset / "README.md").read_text("utf-8")


def test_turns_keep_everything_but_their_words(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save_annotated(workspace, [make_parts("one", _talk())])
    build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store))
    examples = read_examples(workspace)
    redaction = Redaction([_talk()])
    redacted = redaction.examples(examples)
    risk = redaction.risk()
    assert [one.model_dump(exclude={"context", "client", "reply"}) for one in redacted] == [
        one.model_dump(exclude={"context", "client", "reply"}) for one in examples
    ]
    assert risk.rows == len(examples)
    assert set(risk.sample) == {example.id for example in examples}


def test_a_name_finder_that_cannot_be_had_is_named() -> None:
    with pytest.raises(ConfigError, match="presidio:MODEL or gliner:FOLDER"):
        Redaction([_talk()], "nonsense")


def test_cues_are_redacted_and_stand_in_no_table(tmp_path: Path) -> None:
    parts = make_parts("one", _talk())
    written = tuple(make_cues(one.id, f"{NAME} looks down") for one in parts.transcript.utterances)
    parts = replace(parts, annotations=(*parts.annotations, *written))
    examples = build_examples(parts, Split.TRAIN, DatasetConfig()).examples
    assert all(example.cues == f"{NAME} looks down" for example in examples)
    redaction = Redaction([_talk()])
    for example in redaction.examples(examples):
        assert example.cues is not None
        assert NAME not in example.cues
        assert example.cues.endswith("looks down")
    workspace = Workspace(tmp_path)
    save_annotated(workspace, [parts])
    build_dataset(workspace, DatasetConfig(redact=False), InlineExecutor(workspace.store))
    assert found_in(workspace.dataset, ["looks down"]) == set()
