"""A disk that fails at any point leaves no corrupt state, is told in one line, and the next run goes on."""

from __future__ import annotations

import errno
import io
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ai_therapist.errors import StoreError
from ai_therapist.pipeline.driver import Item, drive
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.pipeline.stage import Job, Stage, StageConfig
from ai_therapist.store.workspace import RunRecord, Workspace

ERRORS = (errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EACCES)


class Nothing(StageConfig):
    """No settings."""


def shout(job: Job) -> None:
    job.give("loud", job.read("quiet").upper())


def pack(job: Job) -> None:
    folder = job.scratch / "tree"
    folder.mkdir()
    (folder / "file").write_bytes(job.read("loud") * 2)
    job.give_tree("packed", folder)


STAGES = (
    Stage("shout", 1, shout, ("quiet",), ("loud",), Nothing()),
    Stage("pack", 1, pack, ("loud",), ("packed",), Nothing()),
)


def run(root: Path) -> RunRecord:
    """Two items through two stages, a ledger, a view and a folder checked out."""
    workspace = Workspace(root)
    try:
        quiet = {name: workspace.store.put_bytes(name.encode()) for name in ("one", "two")}
        items = [Item(name, name, {"quiet": digest}) for name, digest in quiet.items()]
        records = drive(workspace, STAGES, items, InlineExecutor(workspace.store))
        record = RunRecord(run="test", config={}, read=len(records), items=records)
        workspace.save_run(record)
        workspace.show("one", {"loud.txt": records[0].artefacts["loud"]})
        workspace.store.checkout(records[0].artefacts["packed"], root / "out")
        return record
    finally:
        workspace.index.close()


def state(root: Path) -> dict[str, bytes]:
    """Every file that counts as finished."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
        and "/tmp/" not in path.as_posix().replace(root.as_posix(), "")
        and "index.db" not in path.name
    }


@dataclass
class Disk:
    """Counts what is done to the disk below a folder and fails once, at the `at`-th doing."""

    root: Path
    at: int = -1
    error: int = 0
    seen: int = 0

    def touch(self, *paths: object) -> None:
        """One write, rename, link or sync is about to happen."""
        named = [path for path in paths if isinstance(path, str | os.PathLike)]
        if named and not any(os.fspath(path).startswith(str(self.root)) for path in named):
            return
        self.seen += 1
        if self.seen - 1 == self.at:
            raise OSError(self.error, os.strerror(self.error))

    def watched(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.touch(*args[:2])
            return real(*args, **options)

        return call

    def opened(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """The opening of a file for writing is a doing, and so is each write to it."""

        def call(path: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            writing = any(letter in mode for letter in "wxa") and str(path).startswith(str(self.root))
            if writing:
                self.touch(path)
            file = real(path, mode, *args, **options)
            return _Writer(file, self) if writing else file

        return call


class _Writer:
    def __init__(self, file: Any, disk: Disk) -> None:
        self._file = file
        self._disk = disk

    def write(self, data: bytes) -> int:
        self._disk.touch()
        written: int = self._file.write(data)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def watch(monkeypatch: pytest.MonkeyPatch, disk: Disk) -> None:
    for name in ("link", "fsync", "replace", "mkdir", "chmod"):
        monkeypatch.setattr(os, name, disk.watched(getattr(os, name)))
    monkeypatch.setattr(io, "open", disk.opened(io.open))


def sites(folder: Path) -> tuple[int, dict[str, bytes]]:
    """How many writes, links, renames and syncs a run makes, and what it leaves."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(folder)
        watch(patch, disk)
        run(folder)
    return disk.seen, state(folder)


def fail_at_every(folder: Path, stride: int) -> tuple[int, int]:
    """Fail at every `stride`-th site with each error; returns how many runs failed, and of how many."""
    number, whole = sites(folder / "whole")
    told = tried = 0
    for error in ERRORS:
        for at in range(error % stride, number, stride):
            root = folder / f"{error}-{at}"
            tried += 1
            with pytest.MonkeyPatch.context() as patch:
                watch(patch, Disk(root, at, error))
                try:
                    run(root)
                except StoreError as caught:
                    told += 1
                    assert os.strerror(error) in str(caught)
                    assert "then run the same command again" in str(caught)
            left = state(root)
            assert {name: data for name, data in whole.items() if name in left and name.startswith("store/")} == {
                name: data for name, data in left.items() if name.startswith("store/")
            }
            assert all(item.status == "done" for item in run(root).items)
            assert state(root) == whole, (at, error)
    return told, tried


def test_a_fault_leaves_no_corrupt_state_and_the_next_run_goes_on(tmp_path: Path) -> None:
    told, tried = fail_at_every(tmp_path, 15)
    assert tried > 20
    assert told >= 0.9 * tried


@pytest.mark.soak
def test_a_fault_at_any_site_leaves_no_corrupt_state(tmp_path: Path) -> None:
    told, tried = fail_at_every(tmp_path, 1)
    assert tried > 300
    assert told >= 0.9 * tried


def test_a_broken_index_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "index.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match=r"index.db: SQLITE_NOTADB: it holds no truth"):
        Workspace(tmp_path)


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = sites(tmp_path / "whole")
    moments = iter(range(2_000_000_000, 0, -1))
    monkeypatch.setattr(time, "time", lambda: float(next(moments)))
    monkeypatch.setattr(time, "time_ns", lambda: next(moments) * 10**9)
    root = tmp_path / "backwards"
    run(root)
    for path in (root / "store").rglob("*"):
        os.utime(path, (0, 0))
    run(root)
    assert state(root) == whole


def test_two_drivers_at_once_agree(tmp_path: Path) -> None:
    _, whole = sites(tmp_path / "whole")
    root = tmp_path / "shared"
    Workspace(root).index.close()
    done: list[RunRecord] = []

    def extract_only() -> None:
        workspace = Workspace(root)
        quiet = {name: workspace.store.put_bytes(name.encode()) for name in ("one", "two")}
        items = [Item(name, name, {"quiet": digest}) for name, digest in quiet.items()]
        records = drive(workspace, STAGES, items, InlineExecutor(workspace.store))
        done.append(RunRecord(run="test", config={}, read=len(records), items=records))
        workspace.save_run(done[-1])
        workspace.index.close()

    drivers = [threading.Thread(target=extract_only) for _ in range(2)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert len(done) == 2
    assert done[0] == done[1]
    run(root)
    assert state(root) == whole
