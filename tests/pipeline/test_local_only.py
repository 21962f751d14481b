"""What is local stays local: no process of a run reaches another computer, and this machine stays reachable."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_therapist.pipeline import local_only
from ai_therapist.pipeline.executors import Executor, InlineExecutor, Ok
from ai_therapist.pipeline.local_only import LocalOnlyError
from ai_therapist.pipeline.stage import Stage, StageConfig, Task
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.store.workspace import Workspace
from tests.pipeline import stages as functions

# A refused try leaves its socket to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

WAYS_OUT = ("connect", "connect_ex", "sendto", "sendmsg", "ipv6", "name", "old name", "urllib")


@pytest.fixture
def local() -> Iterator[None]:
    local_only.begin()
    yield
    local_only.end()


def outcome(workspace: Workspace, executor: Executor) -> str:
    stage = Stage("test.phones", 1, functions.phones_home, ("text",), ("said",), StageConfig())
    inputs = {"text": workspace.store.put_bytes(b"hello")}
    executor.submit(Task(stage, "one", inputs, stage.key(inputs)))
    finished = None
    while finished is None:
        finished = executor.next(5)
    executor.close()
    assert isinstance(finished[1], Ok)
    return workspace.store.read(finished[1].record.outputs["said"]).decode()


@pytest.mark.parametrize("kind", ["inline", "worker"])
def test_a_stage_that_phones_home_is_refused_on_every_way(workspace: Workspace, local: None, kind: str) -> None:
    executor = InlineExecutor(workspace.store) if kind == "inline" else LocalExecutor(workspace.store, 1)
    assert outcome(workspace, executor).splitlines() == [f"{way}: LocalOnlyError" for way in WAYS_OUT]


def test_a_worker_that_was_told_nothing_gets_as_far_as_the_system(workspace: Workspace) -> None:
    said = outcome(workspace, LocalExecutor(workspace.store, 1))
    assert "LocalOnlyError" not in said


def test_this_machine_stays_reachable(local: None, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = threading.Thread(target=lambda: server.accept()[0].close())
        answer.start()
        for host in ("127.0.0.1", "localhost"):
            if host == "127.0.0.1":
                socket.create_connection((host, server.getsockname()[1]), timeout=5).close()
            assert socket.getaddrinfo(host, 80)
        answer.join()
    with socket.socket(socket.AF_UNIX) as ours, socket.socket(socket.AF_UNIX) as theirs:
        ours.bind(str(tmp_path / "pipe"))
        ours.listen()
        theirs.connect(str(tmp_path / "pipe"))
    assert local_only.refused == []


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "::ffff:8.8.8.8", "fe80::1%lo", "localhost.evil.example"])
def test_what_only_looks_like_this_machine_is_refused(local: None, host: str) -> None:
    with pytest.raises(LocalOnlyError, match="no connection"):
        socket.getaddrinfo(host, 80)
    assert local_only.refused == [host]


def test_it_ends_where_it_is_told_to(local: None) -> None:
    local_only.end()
    with socket.socket() as one:
        one.settimeout(0.01)
        try:
            one.connect(("192.0.2.1", 9))
        except OSError as error:
            assert not isinstance(error, LocalOnlyError)


def test_a_program_that_uses_other_clients_is_refused_too() -> None:
    code = (
        "from ai_therapist.pipeline import local_only; local_only.begin()\n"
        "import asyncio, httpx\n"
        "try: httpx.get('http://192.0.2.1:9/')\n"
        "except httpx.ConnectError as error: print(error)\n"
        "try: asyncio.run(asyncio.open_connection('192.0.2.1', 9))\n"
        "except OSError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.count("every part in use is of this machine") == 2, done.stderr
