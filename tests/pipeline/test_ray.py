"""Two Ray nodes of this machine, one killed at work: nothing is lost, the store's bytes are those of a quiet run."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ai_therapist.pipeline.driver import Item, drive
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.pipeline.ray_executor import RayExecutor
from ai_therapist.pipeline.stage import Stage
from ai_therapist.store.workspace import Status, Workspace
from tests.pipeline import stages as functions
from tests.pipeline.chaos import contents
from tests.pipeline.stages import Settings

# Ray itself leaves sockets and processes to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROOT = str(Path(__file__).parents[2])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without processors and two nodes with one each; workers find the modules of this checkout."""
    # Its types do not know what its decorators make.
    ray: Any = importlib.import_module("ray")
    clusters: Any = importlib.import_module("ray.cluster_utils")

    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", os.pathsep.join([f"{ROOT}/src", ROOT]))
    patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    patch.setenv("RAY_health_check_period_ms", "500")
    patch.setenv("RAY_health_check_failure_threshold", "3")
    made = clusters.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.nodes = [made.add_node(num_cpus=1), made.add_node(num_cpus=1)]
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()
    patch.undo()


def plan(marks: Path) -> list[Stage]:
    settings = Settings(marks=str(marks))
    return [
        Stage("test.first", 1, functions.slow, ("text",), ("upper",), settings),
        Stage("test.clips", 1, functions.clips, ("upper",), ("clip/*",), Settings()),
        Stage("test.join", 1, functions.join, ("clip/*",), ("joined",), Settings()),
    ]


def items(workspace: Workspace, count: int) -> list[Item]:
    texts = [f"text {number}".encode() for number in range(count)]
    return [Item(f"i{n}", f"item {n}", {"text": workspace.store.put_bytes(text)}) for n, text in enumerate(texts)]


def test_a_killed_node_loses_nothing_and_the_bytes_are_those_of_a_quiet_run(cluster: Any, tmp_path: Path) -> None:
    marks, quiet, shared = tmp_path / "marks", Workspace(tmp_path / "quiet"), Workspace(tmp_path / "shared")
    drive(quiet, plan(marks), items(quiet, 24), InlineExecutor(quiet.store))
    killed: list[float] = []

    def kill_a_node() -> None:
        act = shared.root / "store" / "act"
        while len(list(act.glob("*/*.json"))) < 8:
            time.sleep(0.02)
        cluster.remove_node(cluster.nodes[1], allow_graceful=False)
        killed.append(time.monotonic())

    killer = threading.Thread(target=kill_a_node)
    killer.start()
    records = drive(shared, plan(marks), items(shared, 24), RayExecutor(shared.store))
    finished = time.monotonic()
    killer.join()
    assert killed and killed[0] < finished
    assert [record.status for record in records] == [Status.DONE] * 24
    assert contents(shared.root) == contents(quiet.root)
    assert list(shared.store.verify()) == []


def test_a_task_that_hangs_or_kills_its_worker_costs_itself_only(cluster: Any, workspace: Workspace) -> None:
    settings = Settings(marks=str(workspace.root / "marks"))
    for name, function, reason in (
        ("test.die", functions.die, "the worker of test.die died"),
        ("test.hang", functions.hang, "test.hang took longer than 2 s"),
    ):
        stage = Stage(name, 1, function, ("text",), ("upper",), settings, timeout_s=2.0, attempts=1)
        texts = {"a": b"a", "bad": b"bad", "c": b"c"}
        wanted = [Item(key, key, {"text": workspace.store.put_bytes(text)}) for key, text in texts.items()]
        records = drive(workspace, [stage], wanted, RayExecutor(workspace.store, 1))
        assert [record.reason for record in records] == [None, reason, None]


def test_a_model_stays_loaded_and_a_wrong_request_stops_the_run(cluster: Any, workspace: Workspace) -> None:
    from ai_therapist.errors import ConfigError

    stage = Stage("test.load", 1, functions.count_loads, ("text",), ("loads",), Settings())
    records = drive(workspace, [stage], items(workspace, 6), RayExecutor(workspace.store, 1))
    assert {workspace.store.read(record.artefacts["loads"]) for record in records} == {b"1"}
    wrong = Stage("test.wrong", 1, functions.wrong_request, ("text",), ("x",), Settings())
    with pytest.raises(ConfigError, match="no such model"):
        drive(workspace, [wrong], items(workspace, 1), RayExecutor(workspace.store, 1))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_forty_workers_of_a_cluster_are_killed_one_by_one(cluster: Any, tmp_path: Path) -> None:
    marks, quiet, shared = tmp_path / "marks", Workspace(tmp_path / "quiet"), Workspace(tmp_path / "shared")
    drive(quiet, plan(marks), items(quiet, 200), InlineExecutor(quiet.store))
    kills: list[str] = []
    stop = threading.Event()

    def kill_workers() -> None:
        while not stop.wait(0.7) and len(kills) < 40:
            owners = [folder.name.split("-")[-2] for folder in (shared.root / "store" / "tmp").iterdir()]
            for pid in owners[:1]:
                if pid.isdigit() and int(pid) != os.getpid():
                    # It may have ended since its folder was listed: that is no kill.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                        kills.append(pid)

    killer = threading.Thread(target=kill_workers)
    killer.start()
    records = drive(shared, plan(marks), items(shared, 200), RayExecutor(shared.store, 1))
    stop.set()
    killer.join()
    assert kills
    assert {record.status for record in records} == {Status.DONE}
    assert contents(shared.root) == contents(quiet.root)
