"""Drivers and workers are killed at random moments: nothing is lost, done twice or corrupt, and the bytes are the same.

The stages are deterministic and cheap. One of them is paid: a server counts the jobs that are started on it. A job is
started again only where the kill fell between the server's answer and the ticket, a few milliseconds that no ticket can
cover; the server notes the time of every start, and the test holds every repetition against the tickets.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ai_therapist.pipeline.driver import Item, drive
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.pipeline.stage import Stage
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.store.blobs import Store
from ai_therapist.store.workspace import RunRecord, Status, Workspace
from tests.pipeline import stages as functions
from tests.pipeline.chaos import contents
from tests.pipeline.stages import Settings

ROOT = Path(__file__).parents[2]
ITEMS = 60


def plan() -> list[Stage]:
    """Two branches and a join: a killed worker is a failed attempt, and dice may hit one action several times."""
    return [
        Stage("chaos.one", 1, functions.brief, ("text",), ("text+",), Settings(), attempts=9),
        Stage("chaos.two", 1, functions.brief, ("text+",), ("text++",), Settings(), attempts=9),
        Stage("chaos.paid", 1, functions.paid, ("text",), ("result",), Settings(), attempts=9),
        Stage("chaos.join", 1, functions.brief, ("result", "text++"), ("result+",), Settings(extra=1), attempts=9),
    ]


def run(root: Path, *, workers: int) -> None:
    """What the driver process of the test does."""
    workspace = Workspace(root)
    items = [Item(f"i{n}", f"i{n}", {"text": workspace.store.put_bytes(f"text {n}".encode())}) for n in range(ITEMS)]
    executor = LocalExecutor(workspace.store, workers) if workers else InlineExecutor(workspace.store)
    records = drive(workspace, plan(), items, executor)
    workspace.save_run(RunRecord(run="chaos", config={}, read=ITEMS, items=records))
    workspace.index.close()


@dataclass
class Paid:
    """A server that counts what it would charge for, store by store and item by item."""

    address: str = ""
    started: Counter[str] = field(default_factory=Counter)
    asked: set[str] = field(default_factory=set)
    """Jobs whose result was asked for: their ticket was written."""
    paid_again: int = 0
    """Starts of an item of which an earlier job had a ticket."""

    def answer(self, path: str) -> str:
        store, doing, name = path.strip("/").split("/")
        item = name.partition(".")[0]
        if doing == "result":
            self.asked.add(f"{store}/{item}")
            return f"result of {item}"
        self.paid_again += f"{store}/{item}" in self.asked
        self.started[f"{store}/{item}"] += 1
        return f"{item}.{self.started[f'{store}/{item}']}"


@pytest.fixture
def paid() -> Iterator[Paid]:
    """The server, named to every driver by the store that it works on."""
    made = Paid()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = made.answer(self.path).encode()
            # A client that was killed does not wait for its answer.
            with contextlib.suppress(OSError):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        made.address = f"http://127.0.0.1:{server.server_port}"
        yield made
        server.shutdown()
        thread.join()


def start(root: Path) -> subprocess.Popen[bytes]:
    call = f"from tests.pipeline.test_chaos import *; run(Path({str(root)!r}), workers=2)"
    environment = os.environ | {"CHAOS_SERVER": f"{os.environ['CHAOS_SERVER']}/{root.name}"}
    return subprocess.Popen([sys.executable, "-c", call], cwd=ROOT, env=environment)


def finished(root: Path) -> int:
    return len(list((root / "store" / "act").glob("*/*.json")))


def at_work(root: Path, driver: int) -> list[int]:
    """Processes that work on an action now."""
    folders = (root / "store" / "tmp").glob("*-*-*.*")
    return [pid for folder in folders if (pid := int(folder.name.split("-")[-2])) != driver]


def kill_until(root: Path, driver: subprocess.Popen[bytes], chance: random.Random, left: Counter[str]) -> None:
    """Kill workers now and then, and the driver itself at some moment after it has got something done."""
    before, until = finished(root), time.monotonic() + 60
    while driver.poll() is None and finished(root) == before and time.monotonic() < until:
        time.sleep(0.01)
    moment = time.monotonic() + chance.uniform(0.1, 0.7)
    while driver.poll() is None:
        time.sleep(chance.uniform(0.01, 0.08))
        if left["driver"] and time.monotonic() > moment:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            left["driver"] -= 1
            return
        workers = at_work(root, driver.pid)
        if left["worker"] and workers:
            try:
                os.kill(chance.choice(workers), signal.SIGKILL)
            except ProcessLookupError:
                continue
            left["worker"] -= 1


def chaos(tmp_path: Path, paid: Paid, drivers: int, workers: int, seed: int) -> int:
    """Kill so many drivers and workers over as many stores as it takes; returns how many stores were completed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAOS_SERVER", f"{paid.address}/quiet")
        run(tmp_path / "quiet", workers=0)
    quiet = contents(tmp_path / "quiet")
    chance, left, stores = random.Random(seed), Counter(driver=drivers, worker=workers), 0
    while left.total():
        root = tmp_path / f"killed-{stores}"
        while True:
            driver = start(root)
            kill_until(root, driver, chance, left)
            if driver.wait() == 0:
                break
            assert driver.returncode == -signal.SIGKILL
        workspace = Workspace(root)
        record = workspace.load_run("chaos", "extract")
        assert [item.status for item in record.items] == [Status.DONE] * ITEMS
        assert len({key for item in record.items for key in item.actions}) == finished(root) == 4 * ITEMS
        assert contents(root) == quiet
        assert {name for name in paid.started if name.startswith(f"{root.name}/")} == {
            f"{root.name}/i{number}" for number in range(ITEMS)
        }
        assert list(workspace.store.verify()) == []
        workspace.index.close()
        # A worker of the last kill may have outlived its driver by a moment.
        until = time.monotonic() + 30
        while list((root / "store" / "tmp").iterdir()) and time.monotonic() < until:
            Store(root / "store").sweep()
            time.sleep(0.05)
        assert list((root / "store" / "tmp").iterdir()) == []
        stores += 1
    assert paid.paid_again == 0
    return stores


@pytest.mark.timeout(280)
def test_forty_kills_cost_nothing(tmp_path: Path, paid: Paid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOS_SERVER", paid.address)
    assert chaos(tmp_path, paid, drivers=6, workers=34, seed=1) >= 1


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_kills_cost_nothing(tmp_path: Path, paid: Paid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOS_SERVER", paid.address)
    assert chaos(tmp_path, paid, drivers=60, workers=140, seed=2) >= 1
