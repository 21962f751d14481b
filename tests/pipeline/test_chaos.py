"""Drivers and workers are killed at random moments: nothing is lost, done twice or corrupt, and the bytes are the same.

The stages are deterministic and cheap. One of them is paid: a server counts the jobs that are begun on it, and every
item is charged for exactly once. Some kills are placed by the server itself: while a request is on its way, before the
answer is read, and between the answer and the ticket.
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
_MOST_HITS = 3


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
    os.environ["CHAOS_DRIVER"] = str(os.getpid())
    workspace = Workspace(root)
    items = [Item(f"i{n}", f"i{n}", {"text": workspace.store.put_bytes(f"text {n}".encode())}) for n in range(ITEMS)]
    executor = LocalExecutor(workspace.store, workers) if workers else InlineExecutor(workspace.store)
    records = drive(workspace, plan(), items, executor)
    workspace.save_run(RunRecord(run="chaos", config={}, read=ITEMS, items=records))
    workspace.index.close()


POINTS = ("asked", "begun", "answered")
"""Where exactly a paid job is cut off: the request is on its way, the service has it, the answer is here but no ticket.
"""


@dataclass
class Paid:
    """A server that counts what it would charge for, store by store and item by item, and kills those who ask."""

    address: str = ""
    started: Counter[str] = field(default_factory=Counter)
    jobs: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Id of the job that bears a mark, and from when on it is listed."""
    left: int = 0
    """Kills at exact points that are still to be made."""
    hit: Counter[str] = field(default_factory=Counter)
    """Kills made, by point."""
    spared: set[str] = field(default_factory=set)
    """Items that were hit already."""
    chance: random.Random = field(default_factory=lambda: random.Random(3))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str) -> str:
        store, doing, what, worker, driver = path.strip("/").split("/")
        with self.lock:
            if doing == "result":
                return f"result of {what.partition('.')[0]}"
            if doing == "find":
                identity, listed_s = self.jobs.get(what, ("", 0.0))
                return identity if time.monotonic() >= listed_s else ""
            item = f"{store}/{what.partition('-')[0]}"
            if doing == "answered":
                self.kill("answered", item, int(worker), int(driver))
                return ""
            return self.begin(item, what, int(worker), int(driver))

    def begin(self, item: str, mark: str, worker: int, driver: int) -> str:
        """Take a job and charge for it. A request whose sender was killed arrives all the same, or is lost."""
        killed = self.kill("asked", item, worker, driver)
        if killed and self.chance.random() < 0.5:
            return ""
        self.started[item] += 1
        identity = f"{item.partition('/')[2]}.{self.started[item]}"
        self.jobs[mark] = (identity, time.monotonic() + (0.3 if killed else 0.1))
        if not killed:
            self.kill("begun", item, worker, driver)
        return identity

    def kill(self, point: str, item: str, worker: int, driver: int) -> bool:
        """Kill the worker that asks, now and then with its driver, where the dice want it at this point."""
        least = min(self.hit[one] for one in POINTS)
        if not self.left or item in self.spared or item.startswith("quiet/") or self.hit[point] > least:
            return False
        self.left -= 1
        self.hit[point] += 1
        self.spared.add(item)
        for pid in (driver, worker) if self.chance.random() < 0.2 else (worker,):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return True


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


def at_work(root: Path, driver: int) -> list[tuple[str, int]]:
    """Actions that are worked on now, each with its process."""
    parts = [folder.name.split("-") for folder in (root / "store" / "tmp").glob("*-*-*.*")]
    return [(last.partition(".")[0], int(pid)) for *_, pid, last in parts if int(pid) != driver]


def kill_until(
    root: Path, driver: subprocess.Popen[bytes], chance: random.Random, left: Counter[str], hit: Counter[str]
) -> None:
    """Kill workers now and then, and the driver itself at some moment after it has got something done.

    `hit` counts the kills by action: one that is at work at five of them is rightly taken for their cause.
    """
    before, until = finished(root), time.monotonic() + 60
    while driver.poll() is None and finished(root) == before and time.monotonic() < until:
        time.sleep(0.01)
    moment = time.monotonic() + chance.uniform(0.1, 0.7)
    while driver.poll() is None:
        time.sleep(chance.uniform(0.01, 0.08))
        workers = [(key, pid) for key, pid in at_work(root, driver.pid) if hit[key] < _MOST_HITS]
        if left["driver"] and time.monotonic() > moment and len(workers) == len(at_work(root, driver.pid)):
            hit.update(key for key, _ in workers)
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            left["driver"] -= 1
            return
        if left["worker"] and workers:
            key, pid = chance.choice(workers)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            left["worker"] -= 1
            hit[key] += 1


def chaos(tmp_path: Path, paid: Paid, drivers: int, workers: int, exact: int, seed: int) -> int:
    """Kill so many drivers and workers over as many stores as it takes; returns how many stores were completed.

    `exact` kills on top are made by the server.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAOS_SERVER", f"{paid.address}/quiet")
        patch.setenv("CHAOS_DRIVER", "0")
        run(tmp_path / "quiet", workers=0)
    quiet = contents(tmp_path / "quiet")
    chance, left, stores = random.Random(seed), Counter(driver=drivers, worker=workers), 0
    paid.left = exact
    while left.total() or paid.left:
        root, hit = tmp_path / f"killed-{stores}", Counter[str]()
        while True:
            driver = start(root)
            kill_until(root, driver, chance, left, hit)
            if driver.wait() == 0:
                break
            assert driver.returncode == -signal.SIGKILL
        workspace = Workspace(root)
        record = workspace.load_run("chaos", "extract")
        assert [item.reason for item in record.items if item.status is not Status.DONE] == []
        assert len(record.items) == ITEMS
        assert len({key for item in record.items for key in item.actions}) == finished(root) == 4 * ITEMS
        assert contents(root) == quiet
        charged = {name: count for name, count in paid.started.items() if name.startswith(f"{root.name}/")}
        assert charged == {f"{root.name}/i{number}": 1 for number in range(ITEMS)}
        assert list(workspace.store.verify()) == []
        workspace.index.close()
        # A worker of the last kill may have outlived its driver by a moment.
        until = time.monotonic() + 30
        while list((root / "store" / "tmp").iterdir()) and time.monotonic() < until:
            Store(root / "store").sweep()
            time.sleep(0.05)
        assert list((root / "store" / "tmp").iterdir()) == []
        stores += 1
    assert sum(paid.hit.values()) == exact
    assert min(paid.hit[point] for point in POINTS) >= exact // len(POINTS) - 1
    return stores


@pytest.mark.timeout(280)
def test_forty_kills_cost_nothing(tmp_path: Path, paid: Paid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOS_SERVER", paid.address)
    assert chaos(tmp_path, paid, drivers=6, workers=22, exact=12, seed=1) >= 1


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_kills_cost_nothing(tmp_path: Path, paid: Paid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOS_SERVER", paid.address)
    assert chaos(tmp_path, paid, drivers=60, workers=80, exact=60, seed=2) >= 1
