"""A store on an object store: the same bytes as on a disk, one winner, no kill that costs anything, and forgetting."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ai_therapist.errors import MissingInput, RequestError, StoreError, TransientError
from ai_therapist.pipeline.driver import Item, drive
from ai_therapist.pipeline.executors import Executor, InlineExecutor
from ai_therapist.pipeline.limits import SystemClock
from ai_therapist.pipeline.paid import obtain
from ai_therapist.pipeline.stage import Stage
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.store.actions import ActionRecord, IntentRecord, QuarantineRecord, TicketRecord
from ai_therapist.store.blobs import Store
from ai_therapist.store.bucket_store import BucketStore
from ai_therapist.store.erasure import JOURNAL
from ai_therapist.store.forget import forget, plan
from ai_therapist.store.lineage import trace
from ai_therapist.store.objects import BucketFolder
from ai_therapist.store.sync import pull, push
from ai_therapist.store.workspace import RunRecord, Status, Workspace
from ai_therapist.testing import make_digest
from tests.pipeline import stages as functions
from tests.pipeline.chaos import contents
from tests.pipeline.stages import Settings
from tests.pipeline.test_paid import Shop
from tests.store.arc import found_in, make_arc
from tests.store.buckets import bucket

__all__ = ["bucket"]

ROOT = Path(__file__).parents[2]


def make_stages() -> list[Stage]:
    return [
        Stage("test.one", 1, functions.brief, ("text",), ("text+",), Settings()),
        Stage("test.two", 1, functions.brief, ("text+",), ("text++",), Settings()),
        Stage("test.talk", 1, functions.transcript, ("text",), ("transcript", "utterances"), Settings()),
    ]


def run(workspace: Workspace, executor: Executor, items: int = 4) -> RunRecord:
    """Some items through the stages; one of them is bad."""
    texts = {f"i{n}": workspace.store.put_bytes(f"text {n}".encode()) for n in range(items)}
    records = drive(workspace, make_stages(), [Item(i, i, {"text": d}) for i, d in texts.items()], executor)
    run = RunRecord(run="test", config={}, read=len(records), items=records)
    workspace.save_run(run)
    return run


def run_and_close(root: Path, url: str) -> None:
    """What the driver process of the test does."""
    workspace = Workspace(root, url)
    run(workspace, InlineExecutor(workspace.store), 6)
    workspace.index.close()


def there(remote: BucketFolder) -> dict[str, bytes]:
    return {listed.name: remote.read(listed.name) for listed in remote.list("store")}


def on_disk(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in contents(root)}


def make_action(number: int) -> ActionRecord:
    return ActionRecord(
        key=make_digest("raced"),
        stage="raced",
        version=1,
        item="i",
        config={},
        tools={},
        inputs={},
        outputs={},
        records={},
        counts={"number": number},
    )


def test_the_bytes_are_those_of_a_store_on_a_disk(bucket: BucketFolder, tmp_path: Path) -> None:
    disk = Workspace(tmp_path / "disk")
    expected = run(disk, InlineExecutor(disk.store))
    inline = Workspace(tmp_path / "inline", bucket.url)
    assert run(inline, InlineExecutor(inline.store)) == expected
    assert there(bucket) == on_disk(disk.root)
    other = BucketFolder.at(f"{bucket.url}-workers")
    workers = Workspace(tmp_path / "workers", other.url)
    assert run(workers, LocalExecutor(workers.store, 2)) == expected
    assert there(other) == there(bucket)
    assert list(workers.store.verify()) == []
    for workspace in (disk, inline, workers):
        workspace.index.close()


def test_another_machine_finds_everything_done_and_can_explain_it(bucket: BucketFolder, tmp_path: Path) -> None:
    first = Workspace(tmp_path / "first", bucket.url)
    done = run(first, InlineExecutor(first.store))
    before = there(bucket)
    second = Workspace(tmp_path / "second", bucket.url)
    assert run(second, InlineExecutor(second.store)) == done
    assert there(bucket) == before
    # Only what was asked for has come over.
    assert {path.name for path in second.store.blob_paths()} == {item.artefacts["text"] for item in done.items}
    record = next(iter(next(a for a in second.store.actions() if a.records).records))
    assert [step.action.stage for step in trace(second, record)] == ["test.talk"]
    again = Workspace.existing(tmp_path / "second")
    assert isinstance(again.store, BucketStore)
    for workspace in (first, second, again):
        workspace.index.close()


def test_a_blob_is_fetched_once_and_only_as_what_it_is(bucket: BucketFolder, tmp_path: Path) -> None:
    one, two = BucketStore(tmp_path / "one", bucket), BucketStore(tmp_path / "two", bucket)
    digest, empty = one.put_bytes(b"content"), one.put_bytes(b"")
    assert two.has(digest)
    assert (two.head(digest, 4), two.head(empty, 4), two.head(make_digest("none"), 4)) == (b"cont", b"", b"")
    assert two.held() == {digest: 7, empty: 0}
    assert two.read(digest) == two.path(digest).read_bytes() == b"content"
    assert two.path(digest).stat().st_mode & 0o222 == 0
    with pytest.raises(MissingInput, match="it is not there"):
        two.read(make_digest("none"))
    forged = make_digest("forged")
    bucket.create(f"store/cas/{forged[:2]}/{forged}", b"something else")
    with pytest.raises(StoreError, match="does not hold what its name says"):
        two.path(forged)
    assert [line for line in two.verify() if "does not match" in line]
    assert {path.name for path in two.blob_paths()} == {digest}
    assert list((two.root / "tmp").iterdir()) == []


def test_a_copy_here_is_no_proof_that_it_is_there(bucket: BucketFolder, tmp_path: Path) -> None:
    one = BucketStore(tmp_path / "one", bucket)
    digest = one.put_bytes(b"content")
    bucket.delete(f"store/cas/{digest[:2]}/{digest}")
    two = BucketStore(tmp_path / "one", bucket)
    assert not two.has(digest)
    two.put_bytes(b"content")
    assert bucket.read(f"store/cas/{digest[:2]}/{digest}") == b"content"


def test_of_sixteen_drivers_one_commits_and_all_take_its_record(bucket: BucketFolder, tmp_path: Path) -> None:
    took: list[int] = []
    barrier = threading.Barrier(16)

    def commit(number: int) -> None:
        store = BucketStore(tmp_path / str(number), BucketFolder.at(bucket.url))
        barrier.wait()
        took.append(store.commit(make_action(number)).counts["number"])

    drivers = [threading.Thread(target=commit, args=(number,)) for number in range(16)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert len(took) == 16
    assert len(set(took)) == 1
    standing = BucketStore(tmp_path / "later", bucket).action(make_digest("raced"))
    assert standing is not None
    assert standing.counts["number"] == took[0]


def test_quarantine_and_tickets_can_be_taken_back(bucket: BucketFolder, tmp_path: Path) -> None:
    one, two = BucketStore(tmp_path / "one", bucket), BucketStore(tmp_path / "two", bucket)
    key = make_digest("bad")
    one.quarantine(QuarantineRecord(key=key, stage="cut", item="i", reason="unreadable", attempts=3))
    found = two.quarantined(key)
    assert found is not None
    assert [record.reason for record in two.quarantines()] == [found.reason]
    assert two.names("bad") == {key}
    two.release(key)
    assert one.quarantined(key) is None
    intent = IntentRecord(key=key, stage="transcribe", item="i", number=0, mark="upload", by="one", at_s=1)
    assert one.intend(intent)
    assert not two.intend(intent.model_copy(update={"by": "two"}))
    assert two.intents(key) == (intent,)
    ticket = TicketRecord(key=key, stage="transcribe", item="i", ticket="job-1")
    one.keep_ticket(ticket)
    assert two.keep_ticket(ticket.model_copy(update={"ticket": "job-2"})).ticket == "job-1"
    assert [record for _, record in two.job_records("i")] == [ticket, intent]
    assert two.names("act") == set()
    one.spend(ticket)
    one.release(key)
    assert one.ticket(key) is None
    assert list(one.job_records("i")) == []


def test_of_four_machines_one_begins_the_paid_job(bucket: BucketFolder, tmp_path: Path) -> None:
    shop = Shop(clock=SystemClock(), settle_s=5.0, before=[lambda: time.sleep(1.0)])
    about = TicketRecord(key=make_digest("raced"), stage="transcribe", item="i", ticket="unknown")
    got: list[str] = []
    barrier = threading.Barrier(4)

    def buy(number: int) -> None:
        store = BucketStore(tmp_path / str(number), BucketFolder.at(bucket.url))
        barrier.wait()
        got.append(obtain(store, about, f"machine-{number}", shop))

    machines = [threading.Thread(target=buy, args=(number,)) for number in range(4)]
    for machine in machines:
        machine.start()
    for machine in machines:
        machine.join()
    assert got == ["job-1"] * 4
    assert len(shop.begun) == 1


def test_a_job_is_not_paid_twice_because_the_bucket_is_away(
    bucket: BucketFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, key = BucketStore(tmp_path / "one", bucket), make_digest("paid")

    def away(*args: object) -> bool:
        raise TransientError("the bucket does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(BucketFolder, "create", away)
        with pytest.raises(TransientError):
            store.keep_ticket(TicketRecord(key=key, stage="transcribe", item="i", ticket="job-1"))
    standing = store.ticket(key)
    assert standing is not None
    assert standing.ticket == "job-1"
    assert BucketStore(tmp_path / "two", bucket).ticket(key) == standing


def test_a_store_goes_to_a_worker_without_what_it_knows(bucket: BucketFolder, tmp_path: Path) -> None:
    store = BucketStore(tmp_path / "one", bucket)
    digest = store.put_bytes(b"content")
    there = copy.deepcopy(store).resolved()
    assert there.has(digest)
    assert there.root == store.root.resolve()


def test_a_workspace_keeps_its_store_where_it_was_made(bucket: BucketFolder, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "study", bucket.url + "/")
    run(workspace, InlineExecutor(workspace.store), 1)
    workspace.index.close()
    with pytest.raises(RequestError, match=f"has its store at {bucket.url}, not at {bucket.url}/other"):
        Workspace(tmp_path / "study", f"{bucket.url}/other")
    local = Workspace(tmp_path / "local")
    local.store.put_bytes(b"here")
    local.index.close()
    with pytest.raises(RequestError, match="in its own folder"):
        Workspace(tmp_path / "local", bucket.url)
    for doing in (push, pull):
        with pytest.raises(RequestError, match=f"lies at {bucket.url} already"):
            doing(workspace, bucket)


def test_a_service_that_replaces_can_hold_no_store(
    bucket: BucketFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BucketFolder, "create", lambda *args: True)
    with pytest.raises(RequestError, match="replaces what it is told to create"):
        Workspace(tmp_path / "study", bucket.url)
    assert not (tmp_path / "study" / "store.json").exists()


@pytest.mark.timeout(280)
def test_killed_drivers_lose_nothing(bucket: BucketFolder, tmp_path: Path) -> None:
    disk = Workspace(tmp_path / "disk")
    run(disk, InlineExecutor(disk.store), 6)
    disk.index.close()
    root = tmp_path / "killed"
    call = "from tests.store.test_bucket_store import Path, run_and_close; "
    call += f"run_and_close(Path({str(root)!r}), {bucket.url!r})"
    for enough in (2, 8, 18):
        driver = subprocess.Popen([sys.executable, "-c", call], cwd=ROOT)
        while driver.poll() is None and enough < 18:
            if sum(1 for _ in bucket.list("store/act")) >= enough:
                driver.send_signal(signal.SIGKILL)
                break
            time.sleep(0.1)
        assert driver.wait() == (0 if enough == 18 else -signal.SIGKILL)
    assert there(bucket) == on_disk(tmp_path / "disk")
    workspace = Workspace(root)
    assert {item.status for item in workspace.load_run("test", "extract").items} == {Status.DONE}
    assert list(workspace.store.verify()) == []
    workspace.index.close()


def die_while_forgetting(root: Path, session: str, after: int) -> None:
    """Killed at the deletion that follows `after` others."""
    real, left = BucketFolder.delete, [after]

    def dying(folder: BucketFolder, name: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(folder, name)

    pytest.MonkeyPatch().setattr(BucketFolder, "delete", dying)
    workspace = Workspace(root)
    forget(workspace, plan(workspace, session))


def words_there(remote: BucketFolder, words: list[str]) -> set[str]:
    data = b"\n".join(listed.name.encode() + remote.read(listed.name) for listed in remote.list())
    return {word for word in words if word.encode() in data or word[::-1].encode() in data}


@pytest.mark.timeout(280)
def test_a_forgotten_session_is_gone_there_too_although_forgetting_was_killed(
    bucket: BucketFolder, tmp_path: Path
) -> None:
    arc = make_arc(tmp_path / "study", "one", "two", turns=4, store_url=bucket.url)
    arc.workspace.index.close()
    gone, other = arc.planted
    assert words_there(bucket, gone.words) == set(gone.words)
    call = "from tests.store.test_bucket_store import Path, die_while_forgetting; "
    call += f"die_while_forgetting(Path({str(arc.workspace.root)!r}), {gone.id!r}, 3)"
    assert subprocess.run([sys.executable, "-c", call], cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert (arc.workspace.root / JOURNAL).exists()
    # Another machine, which knows nothing of this, finishes it there, and refuses the recording from then on.
    elsewhere = Workspace(tmp_path / "elsewhere", bucket.url)
    assert words_there(bucket, [*gone.words, gone.id]) == set()
    assert list(bucket.list("erasing")) == []
    sha256 = Store(tmp_path / "plain").put_bytes(gone.recording)
    assert elsewhere.was_forgotten(sha256)
    assert not elsewhere.was_forgotten(make_digest("another"))
    assert sha256 not in {Path(listed.name).name for listed in bucket.list("forgotten")}
    # The workspace itself is finished when it is opened.
    workspace = Workspace(arc.workspace.root)
    assert not (workspace.root / JOURNAL).exists()
    workspace.index.close()
    elsewhere.index.close()
    assert found_in(workspace.root, [*gone.words, gone.id]) == set()
    assert words_there(bucket, [*gone.words, gone.id]) == set()
    assert words_there(bucket, other.words[20:-1]) == set(other.words[20:-1])
    assert list(workspace.store.verify()) == []
