"""Tasks of other frameworks: the held-out examples, in the prompt's own words, scored label by label."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ai_therapist.dataset.export import export_task
from ai_therapist.dataset.harness import Harness
from ai_therapist.dataset.read import read_examples
from ai_therapist.dataset.render import instructions
from ai_therapist.records import Labels, Split
from ai_therapist.store.workspace import Workspace
from tests.dataset.test_export import make_filmed

FIELDS = tuple(Labels.model_fields)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_filmed(tmp_path_factory.mktemp("filmed"))


def samples_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "test.jsonl").read_text("utf-8").splitlines()]


def loaded(path: Path) -> ModuleType:
    """A file of the export as Python runs it."""
    spec = importlib.util.spec_from_file_location(f"exported_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_inspect_gets_the_held_out_examples_and_no_gold_in_the_prompt(filmed: Workspace) -> None:
    done = export_task(filmed, Harness.INSPECT, media=False)
    held_out = {each.id: each for each in read_examples(filmed) if each.split is Split.TEST}
    samples = samples_of(done.folder)
    assert {each["id"] for each in samples} == set(held_out)
    assert done.rows == {Split.TEST: len(held_out)}
    for each in samples:
        assert each["input"][0] == {"role": "system", "content": instructions()}
        assert all(isinstance(message["content"], str) for message in each["input"])
        assert each["metadata"]["strategy"] == held_out[each["id"]].labels.strategy
        assert "Strategy:" not in "".join(message["content"] for message in each["input"][1:])
    assert not (done.folder / "media").exists()
    compile((done.folder / "task.py").read_text("utf-8"), "task.py", "exec")


def test_clips_come_along_only_where_asked_for(filmed: Workspace) -> None:
    done = export_task(filmed, Harness.INSPECT, media=True)
    contents = [each["input"][-1]["content"] for each in samples_of(done.folder)]
    videos = [content[0]["video"] for content in contents if isinstance(content, list)]
    assert done.clips == len(set(videos)) > 0
    assert all((done.folder / video).is_file() for video in videos)


def test_answers_are_read_strictly(filmed: Workspace) -> None:
    answers = loaded(export_task(filmed, Harness.INSPECT, media=False).folder / "answers.py")
    assert set(answers.FIELDS) == set(FIELDS)
    right = "Client emotion: Fear\nStrategy: Open questions\nReply: What happened: tell me."
    assert answers.is_right(right, "client_emotion", "fear")
    assert not answers.is_right(right, "strategy", "Advisement")
    assert not answers.is_right("fear", "client_emotion", "fear")
    assert not answers.is_right(f"{right}\nStrategy: Advisement", "strategy", "Open questions")
    for each in samples_of(filmed.exports / "inspect"):
        gold = {field: each["metadata"][field] for field in FIELDS if each["metadata"][field] is not None}
        assert all(answers.is_right(each["target"], field, value) for field, value in gold.items())


def test_lmms_eval_gets_a_task_for_each_label(filmed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = export_task(filmed, Harness.LMMS_EVAL, media=True).folder
    monkeypatch.syspath_prepend(str(folder))
    utils = loaded(folder / "utils.py")
    for field in FIELDS:
        config = (folder / f"ai_therapist_{field}.yaml").read_text("utf-8")
        assert f"\ntask: ai_therapist_{field}\n" in config
        assert "\n    test: test.jsonl\n" in config
        score = getattr(utils, f"score_{field}")
        called = re.findall(r"!function utils\.(\w+)", config)
        assert score.__name__ in called
        assert all(hasattr(utils, name) for name in called)
        for doc in samples_of(folder):
            if doc[field] is not None:
                assert score(doc, [doc["target"]]) == {"accuracy": 1.0}
            assert score({field: "joy"}, ["?"]) == {"accuracy": 0.0}
            assert all(Path(path).is_file() for path in utils.doc_to_visual(doc))
            assert doc["target"] not in utils.doc_to_text(doc)
