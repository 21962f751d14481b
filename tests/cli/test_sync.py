"""extract and sync with sources that are not on this machine, as a user types them."""

from pathlib import Path

import pytest

from ai_therapist.store.objects import BucketFolder
from ai_therapist.store.uploads import load_copies
from tests.cli.conftest import Cli
from tests.store.buckets import bucket
from tests.store.test_faults import run

__all__ = ["bucket"]


def test_a_workspace_goes_there_and_back(
    bucket: BucketFolder, run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "study")
    shown = run_cli("sync", "push", bucket.url, "-w", "study")
    assert shown.code == 0, shown.err
    assert f"push {bucket.url}: " in shown.out
    assert load_copies(tmp_path / "study") == (bucket.url,)
    monkeypatch.setenv("DATA_BUCKET_NAME", f"{bucket.scheme}://{bucket.bucket}")
    shown = run_cli("sync", "pull", "-w", "other/study")
    assert shown.code == 0, shown.err
    assert run_cli("verify", "-w", "other/study").code == 0
    (tmp_path / "study" / "note.txt").write_text("mine")
    (tmp_path / "other" / "study" / "note.txt").write_text("theirs")
    assert run_cli("sync", "push", "-w", "study").code == 0
    shown = run_cli("sync", "pull", "-w", "other/study")
    assert shown.code == 3
    assert "note.txt was changed here and in the copy" in shown.out


def test_a_workspace_whose_store_is_there_needs_no_copy(bucket: BucketFolder, run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.mp4").write_bytes(b"no recording, and nobody allowed it")
    shown = run_cli("extract", "in", "-w", "study", "--set", f"pipeline.store={bucket.url}")
    assert shown.code in (0, 3), shown.err
    shown = run_cli("verify", "-w", "study")
    assert shown.code == 0, shown.err
    shown = run_cli("sync", "push", f"{bucket.url}-copy", "-w", "study")
    assert shown.code == 2
    assert f"lies at {bucket.url} already" in shown.err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("sync", "push"), "or set DATA_BUCKET_NAME"),
        (("sync", "push", "http://x/y"), "is no bucket folder"),
        (("sync", "push", "gs://data/x", "-w", "none"), "is no workspace"),
        (("sync", "pull", "gs://data/x", "--mirror"), "--mirror goes with push"),
        (("extract", "nowhere"), "is no folder"),
        (("extract", ".", "--set", "pipeline.store=http://x/y"), "is no bucket folder"),
        (("extract", "nowhere", "--executor", "inline"), "is no folder"),
        (("extract", "nowhere", "--executor", "cloud"), "'cloud' is not one of"),
        (("extract", "gs://B/.."), "is no bucket folder"),
        (("extract", "youtube:x"), "names no YouTube playlist"),
        (("extract", "https://evil.org/x.mp4"), "names no YouTube playlist"),
        (("extract", "youtube:PLabcdefghijklm"), "YOUTUBE_API_KEY"),
        (("extract", "youtube:PLabcdefghijklm", "--rights", "none.json"), "No such file"),
    ],
)
def test_a_wrong_request_is_one_line(args: tuple[str, ...], told: str, run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "one.mp4").write_bytes(b"no recording")
    shown = run_cli(*args)
    assert shown.code == 2
    assert told in shown.err
    assert "Traceback" not in shown.err
