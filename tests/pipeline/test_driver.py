"""Items walk through stages: reuse, retries, quarantine, and nothing lost."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ai_therapist.errors import ConfigError
from ai_therapist.pipeline.driver import Item, drive
from ai_therapist.pipeline.executors import Executor, InlineExecutor
from ai_therapist.pipeline.stage import Stage
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.store.workspace import ItemRecord, Status, Workspace
from ai_therapist.testing import make_session, make_transcript
from tests.pipeline import stages as functions
from tests.pipeline.stages import Settings, stages


@dataclass
class Log:
    """An observer that writes everything down."""

    reused: int = 0
    worked: int = 0
    failures: list[tuple[str, bool]] = field(default_factory=list)
    plan: tuple[int, int] = (0, 0)

    def planned(self, stages: Sequence[str], items: int) -> None:
        self.plan = (len(stages), items)

    def finished(self, stage: str, item: str, *, reused: bool) -> None:
        self.reused += reused
        self.worked += not reused

    def failed(self, stage: str, item: str, reason: str, *, final: bool) -> None:
        self.failures.append((reason, final))


@pytest.fixture(params=["inline", "local"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def executor(kind: str, workspace: Workspace) -> Executor:
    return InlineExecutor(workspace.store) if kind == "inline" else LocalExecutor(workspace.store, 2)


def items(workspace: Workspace, *texts: bytes) -> list[Item]:
    return [
        Item(f"i{number}", f"item {number}", {"text": workspace.store.put_bytes(text)})
        for number, text in enumerate(texts)
    ]


def marks(folder: Path, item: str) -> int:
    return len(list((folder / item).iterdir())) if (folder / item).exists() else 0


def run(kind: str, workspace: Workspace, plan: list[Stage], *texts: bytes) -> tuple[tuple[ItemRecord, ...], Log]:
    log = Log()
    return drive(workspace, plan, items(workspace, *texts), executor(kind, workspace), log), log


def test_a_bad_item_costs_itself_only_and_a_rerun_does_nothing(kind: str, workspace: Workspace, tmp_path: Path) -> None:
    plan = stages(functions.upper, tmp_path)
    results, log = run(kind, workspace, plan, b"a", b"bad", b"c")
    assert [item.status for item in results] == [Status.DONE, Status.QUARANTINED, Status.DONE]
    assert results[1].reason == "i1: cannot be read"
    assert workspace.store.read(results[2].artefacts["joined"]) == b"C1C2"
    assert results[0].counts == {"bytes": 1}
    assert len(results[0].actions) == 3
    assert log.plan == (3, 3)
    assert (log.worked, log.reused, len(log.failures)) == (6, 0, 1)
    again, log = run(kind, workspace, plan, b"a", b"bad", b"c")
    assert again == results
    assert (log.worked, log.reused) == (0, 6)
    assert log.failures == [("i1: cannot be read", True)]
    assert [marks(tmp_path, f"i{number}") for number in range(3)] == [1, 1, 1]


def test_both_executors_write_the_same_bytes(tmp_path: Path) -> None:
    trees = []
    for kind in ("inline", "local"):
        place = Workspace(tmp_path / kind)
        run(kind, place, stages(functions.upper, tmp_path / "marks"), b"a", b"bad", b"c")
        trees.append(
            {
                path.relative_to(place.store.root): path.read_bytes()
                for path in place.store.root.rglob("*")
                if path.is_file()
            }
        )
    assert trees[0] == trees[1]


def test_a_transient_failure_is_tried_again(kind: str, workspace: Workspace, tmp_path: Path) -> None:
    results, log = run(kind, workspace, stages(functions.flaky, tmp_path), b"a")
    assert results[0].status is Status.DONE
    assert log.failures == [("busy", False), ("busy", False)]


def test_attempts_end_in_quarantine_and_release_tries_again(kind: str, workspace: Workspace, tmp_path: Path) -> None:
    plan = stages(functions.flaky, tmp_path, attempts=2)
    results, log = run(kind, workspace, plan, b"a")
    assert results[0].status is Status.QUARANTINED
    assert log.failures == [("busy", False), ("busy", True)]
    (bad,) = workspace.store.quarantines()
    assert (bad.stage, bad.item, bad.attempts) == ("test.first", "i0", 2)
    workspace.store.release(bad.key)
    results, _ = run(kind, workspace, plan, b"a")
    assert results[0].status is Status.DONE


def test_an_item_that_must_wait_is_skipped_and_done_by_the_next_run(
    kind: str, workspace: Workspace, tmp_path: Path
) -> None:
    plan = stages(functions.waits_once, tmp_path)
    results, log = run(kind, workspace, plan, b"a")
    assert (results[0].status, results[0].reason) == (Status.SKIPPED, "the budget is used up")
    assert log.failures == [("the budget is used up", True)]
    assert list(workspace.store.quarantines()) == []
    results, _ = run(kind, workspace, plan, b"a")
    assert results[0].status is Status.DONE


def test_an_unforeseen_error_quotes_nothing(kind: str, workspace: Workspace, tmp_path: Path) -> None:
    results, _ = run(kind, workspace, stages(functions.crash, tmp_path), b"a")
    reason = results[0].reason
    assert reason is not None
    assert "KeyError in stages.py" in reason
    assert "quincy" not in reason
    assert marks(tmp_path, "i0") == 3


def test_a_killed_worker_costs_its_own_task(workspace: Workspace, tmp_path: Path) -> None:
    plan = stages(functions.die, tmp_path, attempts=2)
    results, _ = run("local", workspace, plan, b"a", b"bad", b"c", b"d")
    assert [item.status for item in results] == [Status.DONE, Status.QUARANTINED, Status.DONE, Status.DONE]
    assert results[1].reason == "the worker of test.first died"
    assert marks(tmp_path, "i1") == 2


def test_a_hanging_task_is_stopped(workspace: Workspace, tmp_path: Path) -> None:
    plan = stages(functions.hang, tmp_path, attempts=1, timeout_s=2.0)
    results, _ = run("local", workspace, plan, b"a", b"bad", b"c")
    assert [item.status for item in results] == [Status.DONE, Status.QUARANTINED, Status.DONE]
    assert results[1].reason == "test.first took longer than 2 s"


def test_a_wrong_request_stops_everything(kind: str, workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such model"):
        run(kind, workspace, stages(functions.wrong_request, tmp_path), b"a", b"b")
    assert list(workspace.store.quarantines()) == []


def test_settings_enter_the_key_and_an_unchanged_output_stops_the_wave(workspace: Workspace, tmp_path: Path) -> None:
    plan = stages(functions.upper, tmp_path)
    run("inline", workspace, plan, b"a")
    changed = [replace(plan[0], config=Settings(marks=str(tmp_path), extra=1)), *plan[1:]]
    _, log = run("inline", workspace, changed, b"a")
    assert (log.worked, log.reused) == (1, 2)


def test_records_are_found_by_id(workspace: Workspace) -> None:
    plan = [
        Stage("test.t", 1, functions.transcript, ("text",), ("transcript", "utterances"), Settings()),
        Stage("test.r", 1, functions.read_back, ("transcript",), (), Settings()),
    ]
    results, _ = run("inline", workspace, plan, b"a")
    assert results[0].counts == {"turns": 8}
    utterance = workspace.store.read(results[0].artefacts["utterances"])
    assert utterance.startswith(b"[{")
    record_id = make_transcript(make_session("i0")).utterances[3].id
    assert [name for _, name in workspace.index.holders(record_id)] == ["utterances"]


def test_checkpoints_outlive_an_attempt_and_go_when_done(kind: str, workspace: Workspace, tmp_path: Path) -> None:
    results, _ = run(kind, workspace, stages(functions.checkpointed, tmp_path), b"a")
    assert workspace.store.read(results[0].artefacts["upper"]) == b"half"
    assert list((workspace.store.root / "work").iterdir()) == []


def test_no_items_is_no_work(kind: str, workspace: Workspace, tmp_path: Path) -> None:
    results, log = run(kind, workspace, stages(functions.upper, tmp_path))
    assert results == ()
    assert log.worked == 0
