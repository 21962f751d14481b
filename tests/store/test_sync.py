"""A workspace goes to a bucket and comes back the same, in parts, from two sides, and without what was forgotten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ai_therapist.errors import RequestError, StoreError, TransientError
from ai_therapist.pipeline.driver import drive
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.store import objects
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.forget import forget, plan
from ai_therapist.store.objects import BucketFolder
from ai_therapist.store.sync import pull, push
from ai_therapist.store.workspace import Workspace
from tests.store.arc import make_arc
from tests.store.buckets import bucket
from tests.store.test_faults import STAGES, run

__all__ = ["bucket"]


def stay(root: Path) -> dict[str, bytes]:
    """What a copy is a copy of."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
        and path.relative_to(root).parts[0] in ("store", "runs", "forgotten.json", "sources", "report.json")
        and "/tmp/" not in path.as_posix().replace(root.as_posix(), "")
    }


def test_what_is_pushed_is_pulled_byte_for_byte_and_copied_once(bucket: BucketFolder, tmp_path: Path) -> None:
    run(tmp_path / "one")
    one, two = Workspace(tmp_path / "one"), Workspace(tmp_path / "two")
    write_atomically(one.exports / "labels-csv" / "talk.csv", b"what was handed out to people stays here")
    number = len([name for name in stay(one.root) if name.startswith("store/")])
    done = push(one, bucket)
    assert done.copied > number > 8
    assert done.copied_bytes > 0
    again = push(one, bucket)
    assert (again.copied, again.present) == (0, number)
    pull(two, bucket)
    assert stay(two.root) == stay(one.root)
    assert not two.exports.exists()
    assert list(two.store.verify()) == []
    again = pull(two, bucket)
    assert (again.copied, again.present) == (0, number)
    # Work goes on from the copy: every stage is taken from the store.
    before = stay(two.root)
    run(two.root)
    assert {name: data for name, data in stay(two.root).items() if name.startswith("store/")} == {
        name: data for name, data in before.items() if name.startswith("store/")
    }


def test_a_stopped_push_and_pull_go_on(bucket: BucketFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "one")
    one = Workspace(tmp_path / "one")
    real, left = objects.BucketFolder.create, [4]

    def create(folder: BucketFolder, name: str, content: bytes | Path) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise TransientError("the network is gone")
        return real(folder, name, content)

    monkeypatch.setattr(objects.BucketFolder, "create", create)
    with pytest.raises(TransientError):
        push(one, bucket)
    # Nothing counts before the manifest: a reader sees no copy yet.
    with pytest.raises(RequestError, match="is no copy of a workspace"):
        pull(Workspace(tmp_path / "early"), bucket)
    left[0] = 1000
    assert push(one, bucket).present == 4
    two = Workspace(tmp_path / "two")
    fetch, reads = objects.BucketFolder.download, [2]

    def download(folder: BucketFolder, name: str, target: Path) -> None:
        reads[0] -= 1
        if reads[0] < 0:
            raise TransientError("the network is gone")
        fetch(folder, name, target)

    monkeypatch.setattr(objects.BucketFolder, "download", download)
    with pytest.raises(TransientError):
        pull(two, bucket)
    reads[0] = 1000
    pull(two, bucket)
    assert stay(two.root) == stay(one.root)


def test_an_object_that_is_not_what_its_name_says_is_not_taken(bucket: BucketFolder, tmp_path: Path) -> None:
    run(tmp_path / "one")
    one = Workspace(tmp_path / "one")
    push(one, bucket)
    blob = next(listed.name for listed in bucket.list("store/cas"))
    bucket.delete(blob)
    bucket.create(blob, b"something else")
    two = Workspace(tmp_path / "two")
    with pytest.raises(StoreError, match="does not hold what its name says"):
        pull(two, bucket)
    assert not two.store.has(Path(blob).name)
    bucket.delete(blob)
    push(one, bucket)
    first, second = [listed.name for listed in bucket.list("store/act")][:2]
    other = bucket.read(second)
    bucket.delete(first)
    bucket.create(first, other)
    with pytest.raises(StoreError, match="is the record of another action"):
        pull(Workspace(tmp_path / "three"), bucket)


def test_a_file_that_one_side_changed_goes_over_and_one_that_both_changed_stays(
    bucket: BucketFolder, tmp_path: Path
) -> None:
    run(tmp_path / "one")
    one, two = Workspace(tmp_path / "one"), Workspace(tmp_path / "two")
    write_atomically(one.root / "reviews" / "a.json", b"{}")
    push(one, bucket)
    pull(two, bucket)
    write_atomically(two.root / "reviews" / "a.json", b"{1}")
    assert push(two, bucket).conflicts == []
    pull(one, bucket)
    assert (one.root / "reviews" / "a.json").read_bytes() == b"{1}"
    write_atomically(one.root / "reviews" / "a.json", b"{2}")
    write_atomically(two.root / "reviews" / "a.json", b"{3}")
    push(one, bucket)
    assert push(two, bucket).conflicts == ["reviews/a.json"]
    assert pull(two, bucket).conflicts == ["reviews/a.json"]
    assert (two.root / "reviews" / "a.json").read_bytes() == b"{3}"
    (two.root / "reviews" / "a.json").rename(two.root / "reviews" / "mine.json")
    assert pull(two, bucket).conflicts == []
    assert (two.root / "reviews" / "a.json").read_bytes() == b"{2}"


def test_of_two_that_push_at_once_one_is_told(
    bucket: BucketFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "one")
    one = Workspace(tmp_path / "one")
    push(one, bucket)
    write_atomically(one.root / "note.txt", b"new")
    real = objects.BucketFolder.create

    def second(folder: BucketFolder, name: str, content: bytes | Path) -> bool:
        if name.startswith("manifests/"):
            real(folder, name, b'{"files":{},"number":2}')
        return real(folder, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(objects.BucketFolder, "create", second)
        with pytest.raises(RequestError, match="somebody else pushed"):
            push(one, bucket)
    push(one, bucket)
    assert len(list(bucket.list("manifests"))) == 3


def test_a_manifest_cannot_write_outside_of_its_places(bucket: BucketFolder, tmp_path: Path) -> None:
    digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    for number, name in enumerate(("../evil", "/etc/evil", "store/act/evil", ".hidden", "erasure.json"), start=1):
        bucket.create(f"files/{digest}", b"foo")
        bucket.create(f"manifests/{number:08}.json", f'{{"number":{number},"files":{{"{name}":"{digest}"}}}}'.encode())
        with pytest.raises(StoreError, match="tampered"):
            pull(Workspace(tmp_path / f"deep/{number}"), bucket)
    assert not list(tmp_path.rglob("evil"))


def test_what_was_forgotten_leaves_the_copy_and_never_comes_back(bucket: BucketFolder, tmp_path: Path) -> None:
    arc = make_arc(tmp_path / "study", "one", "two", turns=4)
    study, other = arc.workspace, Workspace(tmp_path / "other")
    push(study, bucket)
    pull(other, bucket)
    session = arc.planted[0].id
    forget(study, plan(study, session))
    with pytest.raises(RequestError, match="sync push --mirror"):
        push(study, bucket)
    with pytest.raises(RequestError, match="sync push --mirror"):
        pull(study, bucket)
    assert push(study, bucket, mirror=True).removed > 3
    everything = b"".join(bucket.read(listed.name) for listed in bucket.list())
    assert session.encode() not in everything
    assert not [word for word in arc.planted[0].words if word.encode() in everything]
    # Another copy of the workspace cannot bring it back.
    with pytest.raises(RequestError, match="forget them here, too"):
        push(other, bucket)
    with pytest.raises(RequestError, match="forget them here, too"):
        pull(other, bucket)


def test_a_result_that_both_sides_have_differs_and_the_first_stands(bucket: BucketFolder, tmp_path: Path) -> None:
    run(tmp_path / "one")
    run(tmp_path / "two")
    one, two = Workspace(tmp_path / "one"), Workspace(tmp_path / "two")
    record = next(two.store.actions())
    path = two.store.record_path("act", record.key)
    path.unlink()
    two.store.commit(record.model_copy(update={"counts": {"other": 1}}))
    push(one, bucket)
    (two.root / "runs" / "test.json").unlink()
    assert push(two, bucket).adopted == 1
    assert bucket.read(path.relative_to(two.root).as_posix()) == one.store.record_path("act", record.key).read_bytes()
    assert replace(STAGES[0], version=2) != STAGES[0]
    assert drive(two, STAGES, [], InlineExecutor(two.store)) == ()
