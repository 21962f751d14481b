"""Blobs and action records: whole or absent, once, and the same for every writer."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from ai_therapist.errors import MissingInput, StoreError
from ai_therapist.store.actions import ActionRecord, IntentRecord, QuarantineRecord, TicketRecord, action_key
from ai_therapist.store.blobs import Store, link_or_copy, write_atomically
from ai_therapist.testing import make_digest


def record(key: str = "a", **outputs: str) -> ActionRecord:
    return ActionRecord(
        key=make_digest(key),
        stage="test.stage",
        version=1,
        item="one",
        config={},
        tools={},
        inputs={},
        outputs=outputs,
        records={},
        counts={},
    )


def test_equal_content_is_one_blob(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert store.put_bytes(b"content") == store.put_file(path)
    assert len(list((store.root / "cas").glob("*/*"))) == 1
    assert store.read(store.put_bytes(b"content")) == b"content"
    assert list((store.root / "tmp").iterdir()) == []


def test_blobs_cannot_be_written_to(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.path(store.put_bytes(b"x")).stat().st_mode & 0o222 == 0


def test_what_a_record_names_is_synced_before_the_record_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, doings = Store(tmp_path / "store"), list[tuple[str, str]]()
    names: dict[int, str] = {}
    real_open, real_sync, real_link = os.open, os.fsync, os.link

    def opened(path: str | Path, *args: int, **options: int) -> int:
        handle = real_open(path, *args, **options)
        names[handle] = str(path)
        return handle

    def synced(handle: int) -> None:
        doings.append(("sync", names.get(handle, "a file")))
        real_sync(handle)

    def linked(source: Path, target: Path) -> None:
        doings.append(("link", str(target)))
        real_link(source, target)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)
    owed: set[Path] = set()
    path = tmp_path / "file"
    path.write_bytes(b"other")
    blobs = [store.path(digest) for digest in (store.put_bytes(b"one", owed), store.put_file(path, owed))]
    done = record("a", one=blobs[0].name, two=blobs[1].name)
    store.commit(done, owed)
    place = store.record_path("act", done.key)
    at = doings.index(("link", str(place)))
    for blob in blobs:
        assert doings.index(("link", str(blob))) < doings.index(("sync", str(blob.parent))) < at
    assert doings[at - len(blobs) - 1] == ("sync", "a file")
    assert doings[at + 1 :] == [("sync", str(place.parent))]
    # Another writer has linked it, but nobody knows whether that survives.
    again: set[Path] = set()
    store.put_bytes(b"one", again)
    assert again == {blobs[0].parent}


def test_missing_blob_and_file_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(MissingInput, match=make_digest("x")[:12]):
        store.read(make_digest("x"))
    with pytest.raises(MissingInput, match="absent"):
        store.put_file(tmp_path / "absent")


def test_trees_come_back_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep" / "b.txt").write_text("b")
    tree = store.put_tree(folder)
    assert tree == store.put_tree(folder)
    store.checkout(tree, tmp_path / "out")
    store.checkout(tree, tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "b.txt").read_text() == "b"
    assert set(store.tree(tree)) == {"a.txt", "deep/b.txt"}


def test_first_commit_wins(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = record(out=store.put_bytes(b"1"))
    second = record(out=store.put_bytes(b"2"))
    assert store.commit(first) == first
    assert store.commit(second) == first


def test_racing_commits_agree(tmp_path: Path) -> None:
    store = Store(tmp_path)
    candidates = [record(out=store.put_bytes(bytes([number]))) for number in range(8)]
    winners: list[ActionRecord] = []
    threads = [threading.Thread(target=lambda item=item: winners.append(store.commit(item))) for item in candidates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 8
    assert all(winner == winners[0] for winner in winners)


def test_an_action_with_a_lost_output_counts_as_undone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digest = store.put_bytes(b"x")
    done = store.commit(record(out=digest))
    assert store.action(done.key) == done
    store.path(digest).unlink()
    assert store.action(done.key) is None
    assert "output 'out' is gone" in next(store.verify())


def test_verify_finds_changed_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.path(store.put_bytes(b"as written"))
    assert list(store.verify()) == []
    path.chmod(0o644)
    path.write_bytes(b"as changed")
    assert "does not match its name" in next(store.verify())


def test_quarantine_stands_until_released(tmp_path: Path) -> None:
    store = Store(tmp_path)
    bad = QuarantineRecord(key=make_digest("k"), stage="s", item="i", reason="why", attempts=3)
    store.quarantine(bad)
    assert store.quarantined(bad.key) == bad
    assert list(store.quarantines()) == [bad]
    store.release(bad.key)
    assert store.quarantined(bad.key) is None


def test_the_first_ticket_stands_and_is_no_action(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = TicketRecord(key=make_digest("a"), stage="test.stage", item="one", ticket="job-1")
    assert store.ticket(first.key) is None
    assert store.keep_ticket(first) == first
    assert store.keep_ticket(first.model_copy(update={"ticket": "job-2"})) == first
    assert list(store.job_records("one")) == [(store.ticket_path(first.key), first)]
    assert (list(store.actions()), list(store.quarantines())) == ([], [])


def test_one_alone_intends_and_only_a_spent_job_is_let_go_at_a_release(tmp_path: Path) -> None:
    store, key = Store(tmp_path), make_digest("a")
    intents = [
        IntentRecord(key=key, stage="test.stage", item="one", number=number, mark="m", by="folder", at_s=1)
        for number in range(3)
    ]
    assert [store.intend(intent) for intent in (*intents, intents[1])] == [True, True, True, False]
    assert store.intents(key) == tuple(intents)
    ticket = store.keep_ticket(TicketRecord(key=key, stage="test.stage", item="one", ticket="job-1"))
    assert (list(store.actions()), store.names("act")) == ([], set())
    store.release(key)
    assert store.ticket(key) == ticket
    store.spend(ticket)
    assert store.ticket(key) == ticket
    assert len(list(store.job_records("one"))) == 5
    assert list(store.job_records("two")) == []
    store.release(key)
    assert store.ticket(key) is None
    assert store.intents(key) == ()
    assert list(store.job_records("one")) == []


def test_an_attempt_is_at_work_while_its_folder_and_its_process_are_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.scratch("k") as folder:
        assert store.is_at_work(folder.name)
    assert not store.is_at_work(folder.name)
    for host in (socket.gethostname(), "elsewhere"):
        (tmp_path / "tmp" / f"{host}-999999-k.x").mkdir()
        assert not store.is_at_work(f"{host}-999999-k.x")


def test_work_stays_until_dropped(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.work("k") / "checkpoint").write_text("1")
    assert (store.work("k") / "checkpoint").read_text() == "1"
    store.drop_work("k")
    assert list(store.work("k").iterdir()) == []


def test_key_depends_on_what_determines_the_result() -> None:
    base = action_key("s", 1, {"a": 1}, {"av": "1"}, {"in": "d"})
    assert base == action_key("s", 1, {"a": 1}, {"av": "1"}, {"in": "d"})
    assert len({base, action_key("s", 2, {"a": 1}, {"av": "1"}, {"in": "d"}),
                action_key("s", 1, {"a": 2}, {"av": "1"}, {"in": "d"}),
                action_key("s", 1, {"a": 1}, {"av": "2"}, {"in": "d"}),
                action_key("s", 1, {"a": 1}, {"av": "1"}, {"in": "e"})}) == 5  # fmt: skip


def _write_for_ever(root: Path) -> None:
    store = Store(root)
    number = 0
    while True:
        digest = store.put_bytes(os.urandom(200_000))
        store.commit(record(str(number), out=digest))
        number += 1


def test_a_killed_writer_leaves_no_half_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    for _ in range(5):
        writer = context.Process(target=_write_for_ever, args=(tmp_path,))
        writer.start()
        assert writer.pid is not None
        until = time.monotonic() + 20
        seen = len(list((tmp_path / "act").glob("*/*"))) if (tmp_path / "act").exists() else 0
        while time.monotonic() < until and len(list((tmp_path / "act").glob("*/*"))) <= seen:
            time.sleep(0.01)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    store = Store(tmp_path)
    assert list(store.verify()) == []
    assert sum(1 for _ in store.actions()) >= 5
    store.sweep()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_sweep_leaves_living_writers_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.scratch() as folder:
        assert store.sweep() == 0
        assert folder.exists()


def test_write_atomically_replaces(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"1")
    write_atomically(path, b"2")
    assert path.read_bytes() == b"2"
    assert [item.name for item in path.parent.iterdir()] == ["file"]


def test_link_refuses_to_overwrite(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(StoreError, match="exists already"):
        link_or_copy(tmp_path / "a", tmp_path / "b")
