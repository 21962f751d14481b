"""A paid job is begun once, whatever fails between the intent and the ticket and whoever else is at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ai_therapist.errors import ConfigError, ItemError, Postponed, ServerBusy, TransientError
from ai_therapist.pipeline.limits import Clock, SystemClock
from ai_therapist.pipeline.paid import obtain
from ai_therapist.pipeline.stage import Job, Stage, Task, run_task
from ai_therapist.store.actions import IntentRecord, TicketRecord
from ai_therapist.store.blobs import Store
from ai_therapist.testing import make_digest
from tests.pipeline.stages import Settings

KEY = make_digest("key")
ABOUT = TicketRecord(key=KEY, stage="test.paid", item="one", ticket="unknown")


class Slow:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.time = 1e9

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class Shop:
    """A service that lists a job `listed_after_s` after it was begun, and counts."""

    clock: Clock = field(default_factory=Slow)
    name: str = "shop"
    settle_s: float = 10.0
    listed_after_s: float = 0.0
    uploads: int = 0
    jobs: dict[str, tuple[str, float]] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    asked_since: list[float] = field(default_factory=list)
    before: list[Callable[[], None]] = field(default_factory=list)
    """What happens to a request before the job is begun, once each."""
    after: list[Callable[[], None]] = field(default_factory=list)
    """What happens to its answer."""
    stale: set[str] = field(default_factory=set)

    def prepare(self) -> str:
        self.uploads += 1
        return f"upload-{self.uploads}"

    def submit(self, mark: str) -> str | None:
        if mark in self.stale:
            return None
        if self.before:
            self.before.pop(0)()
        self.begun.append(mark)
        self.jobs[mark] = (f"job-{len(self.begun)}", self.clock.now() + self.listed_after_s)
        if self.after:
            self.after.pop(0)()
        return self.jobs[mark][0]

    def find(self, mark: str, since_s: float) -> str | None:
        self.asked_since.append(since_s)
        identity, listed_s = self.jobs.get(mark, (None, 0.0))
        return identity if self.clock.now() >= listed_s else None


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


def fail(error: BaseException) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def buy(store: Store, shop: Shop, by: str = "me") -> str:
    return obtain(store, ABOUT, by, shop)


def test_a_job_is_begun_once_over_all_attempts(store: Store) -> None:
    shop = Shop()
    assert [buy(store, shop, by) for by in ("a", "b", "c")] == ["job-1"] * 3
    assert (shop.begun, shop.uploads) == (["upload-1"], 1)


@pytest.mark.parametrize("listed_after_s", [0.0, 3.0, 9.9])
def test_a_kill_after_the_request_is_made_good_by_looking_for_the_mark(store: Store, listed_after_s: float) -> None:
    shop = Shop(after=[fail(Killed())], listed_after_s=listed_after_s)
    with pytest.raises(Killed):
        buy(store, shop, "killed")
    assert store.ticket(KEY) is None
    assert buy(store, shop) == "job-1"
    assert (shop.begun, shop.uploads) == (["upload-1"], 1)
    assert set(shop.asked_since) == {1e9}


def test_a_kill_before_the_request_costs_the_time_to_settle_and_one_job(store: Store) -> None:
    clock = Slow()
    shop = Shop(clock, before=[fail(Killed())])
    with pytest.raises(Killed):
        buy(store, shop, "killed")
    assert buy(store, shop) == "job-1"
    assert clock.time >= 1e9 + shop.settle_s
    assert (len(shop.begun), shop.uploads) == (1, 1)
    assert [intent.by for intent in store.intents(KEY)] == ["killed", "me"]


def test_a_kill_before_the_intent_repeats_the_upload_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "intend", lambda self, record: fail(Killed())())
        with pytest.raises(Killed):
            buy(store, shop)
    assert buy(store, shop) == "job-1"
    assert (len(shop.begun), shop.uploads) == (1, 2)


def test_an_answer_that_is_lost_is_looked_for_and_a_refusal_is_tried_again_at_once(store: Store) -> None:
    shop = Shop(after=[fail(TransientError("cut off"))], before=[fail(ServerBusy("too often", 1)) for _ in range(2)])
    assert buy(store, shop) == "job-1"
    assert shop.begun == ["upload-1"]
    assert len(store.intents(KEY)) == 3
    assert len(shop.asked_since) == 1


def test_what_has_expired_is_prepared_anew(store: Store) -> None:
    shop = Shop(stale={"upload-1"})
    assert buy(store, shop) == "job-1"
    assert (shop.begun, shop.uploads) == (["upload-2"], 2)


def test_a_service_that_never_takes_it_postpones_the_item(store: Store) -> None:
    shop = Shop(before=[fail(TransientError("down")) for _ in range(9)])
    with pytest.raises(Postponed, match="4 submissions failed, the last one with: down"):
        buy(store, shop)
    assert shop.begun == []


def test_a_wrong_request_is_told_as_it_is(store: Store) -> None:
    with pytest.raises(ConfigError, match="no money"):
        buy(store, Shop(before=[fail(ConfigError("no money"))]))


def test_another_attempt_that_is_at_it_is_waited_for(store: Store) -> None:
    shop = Shop(clock=SystemClock(), settle_s=0.2, before=[lambda: time.sleep(1.5)])
    got: list[str] = []

    def work() -> None:
        with store.scratch(KEY) as folder:
            got.append(buy(store, shop, folder.name))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["job-1"] * 4
    assert len(shop.begun) == 1


def test_another_attempt_that_never_ends_is_not_waited_for_without_end(store: Store) -> None:
    shop = Shop()
    with store.scratch(KEY) as folder:
        intent = IntentRecord(key=KEY, stage="test.paid", item="one", number=0, mark="upload-0", by=folder.name, at_s=1)
        store.intend(intent)
        with pytest.raises(Postponed, match="another process"):
            buy(store, shop)
    assert shop.begun == []


def test_a_job_that_gave_nothing_is_begun_again_only_after_a_release(store: Store) -> None:
    shop = Shop()

    def lose(job: Job) -> None:
        job.spend_ticket(job.ticket(shop))
        raise ItemError("the job was lost")

    def finish(job: Job) -> None:
        job.give("result", job.ticket(shop).encode())

    task = Task(Stage("test.paid", 1, lose, (), ("result",), Settings()), "one", {}, KEY)
    for _ in range(2):
        with pytest.raises(ItemError):
            run_task(store, task)
    assert len(shop.begun) == 1
    store.release(KEY)
    done = Task(Stage("test.paid", 1, finish, (), ("result",), Settings()), "one", {}, KEY)
    assert store.read(run_task(store, done).outputs["result"]) == b"job-2"


def test_a_later_attempt_takes_over_what_another_process_has_finished(store: Store) -> None:
    ran: list[int] = []

    def work(job: Job) -> None:
        ran.append(1)
        assert not job.is_finished
        job.give("result", b"x")

    stage = Stage("test.paid", 1, work, (), ("result",), Settings())
    first = run_task(store, Task(stage, "one", {}, KEY))
    assert run_task(store, Task(stage, "one", {}, KEY, attempt=2)) == first
    assert ran == [1]
