"""Declarations: what enters a key, and what a job can reach."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from ai_therapist.errors import InvalidRecord, MissingInput
from ai_therapist.pipeline.stage import Stage, Task, run_task
from ai_therapist.records import Transcript
from ai_therapist.store.workspace import Workspace
from ai_therapist.testing import make_digest
from tests.pipeline import stages as functions
from tests.pipeline.stages import Settings


def stage(**changes: object) -> Stage:
    values: dict[str, object] = {
        "name": "test.s",
        "version": 1,
        "run": functions.join,
        "needs": ("clip/*", "text"),
        "gives": ("joined",),
        "config": Settings(),
    }
    return Stage(**(values | changes))  # type: ignore[arg-type]


def test_inputs_are_those_needed() -> None:
    artefacts = {"text": "t", "clip/1": "a", "clip/2": "b", "audio": "c"}
    assert stage().inputs(artefacts) == {"text": "t", "clip/1": "a", "clip/2": "b"}
    with pytest.raises(MissingInput, match="'text'"):
        stage().inputs({"clip/1": "a"})


def test_key_follows_version_config_tools_and_inputs_not_timeout() -> None:
    inputs = {"text": make_digest("t")}
    base = stage().key(inputs)
    assert base == stage(timeout_s=5.0, attempts=1).key(inputs)
    others = [
        stage(version=2).key(inputs),
        stage(config=Settings(extra=1)).key(inputs),
        stage(tools=("pydantic",)).key(inputs),
        stage().key({"text": make_digest("u")}),
    ]
    assert len({base, *others}) == 5


def test_an_absent_tool_is_recorded_as_such(workspace: Workspace) -> None:
    digest = workspace.store.put_bytes(b"a")
    plan = stage(run=functions.upper, needs=("text",), tools=("no-such-distribution",))
    marked = Settings(marks=str(workspace.root / "marks"))
    plan = replace(plan, config=marked)
    record = run_task(workspace.store, Task(plan, "i", {"text": digest}, plan.key({"text": digest})))
    assert record.tools == {"no-such-distribution": "absent"}


def test_job_names_what_is_missing_or_no_record(workspace: Workspace) -> None:
    plan = stage(run=functions.read_back)
    with pytest.raises(MissingInput, match=r"test\.s of i: no input 'transcript'"):
        run_task(workspace.store, Task(plan, "i", {}, make_digest("k")))
    inputs = {"transcript": workspace.store.put_bytes(b"{}")}
    with pytest.raises(InvalidRecord, match="transcript of i: session: Field required"):
        run_task(workspace.store, Task(plan, "i", inputs, make_digest("k")))


def test_settings_refuse_unknown_keys() -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"surprise": 1})
    assert Settings.model_fields["extra"].description == "Enters the key and nothing else."
    assert Transcript.model_config["strict"]
