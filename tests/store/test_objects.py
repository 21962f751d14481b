"""Folders of buckets: created once, never replaced, listed with what changes when the content does."""

import copy
import threading
from pathlib import Path

import fsspec
import pytest

from ai_therapist.errors import ConfigError, MissingInput, TransientError
from ai_therapist.store.objects import BucketFolder
from tests.store.buckets import bucket

__all__ = ["bucket"]


# gcsfs hands large bodies to aiohttp as bytes, which aiohttp frowns upon.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_an_object_is_created_once_and_never_replaced(bucket: BucketFolder, tmp_path: Path) -> None:
    assert bucket.create("a/b.txt", b"one")
    assert not bucket.create("a/b.txt", b"two")
    assert bucket.read("a/b.txt") == b"one"
    file = tmp_path / "file"
    file.write_bytes(b"x" * (6 << 20))
    assert bucket.create("big", file)
    assert not bucket.create("big", file)
    bucket.download("big", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == file.read_bytes()


def test_of_many_writers_one_wins(bucket: BucketFolder) -> None:
    won: list[int] = []

    def write(number: int) -> None:
        if bucket.create("one", str(number).encode()):
            won.append(number)

    bucket.create("warm", b"")
    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(won) == 1
    assert bucket.read("one") == str(won[0]).encode()


def test_a_listing_tells_versions_apart(bucket: BucketFolder) -> None:
    assert list(bucket.list()) == []
    bucket.create("a/x", b"one")
    bucket.create("b", b"three")
    before = {listed.name: listed for listed in bucket.list()}
    assert {name: listed.size for name, listed in before.items()} == {"a/x": 3, "b": 5}
    assert [listed.name for listed in bucket.list("a")] == ["a/x"]
    bucket.delete("b")
    bucket.delete("b")
    bucket.create("b", b"other")
    (after,) = bucket.list("b")
    assert after.identity
    assert after.identity != before["b"].identity


def test_what_is_not_there_is_told(bucket: BucketFolder, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="cannot read none: it is not there"):
        bucket.read("none")
    with pytest.raises(MissingInput):
        bucket.download("none", tmp_path / "none")


def test_a_folder_goes_to_a_worker_after_use(bucket: BucketFolder) -> None:
    bucket.create("a", b"one")
    assert copy.deepcopy(bucket).read("a") == b"one"


def test_a_service_that_does_not_answer_is_worth_another_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(TransientError, match=r"s3://data: cannot read x: .*: run the command again"):
        BucketFolder.at("s3://data").read("x")


def test_without_credentials_the_remedy_is_told(no_s3_credentials: None) -> None:
    with pytest.raises(ConfigError, match=r"s3://data: cannot read x: no credentials .* aws configure"):
        BucketFolder.at("s3://data").read("x")


@pytest.mark.parametrize(
    "url", ["", "gs:/x", "gs://", "http://x/y", "gs://B!/x", "gs://data/../x", "s3://data/a/./b", "file:///etc"]
)
def test_another_address_is_no_bucket_folder(url: str) -> None:
    with pytest.raises(ConfigError):
        BucketFolder.at(url)
