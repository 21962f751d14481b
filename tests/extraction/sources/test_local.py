"""Which recordings of a folder are taken, and why others are not."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.errors import MissingInput
from ai_therapist.extraction.sources.local import find_recordings
from ai_therapist.extraction.sources.recording import Recording, Refusal, natural_key
from ai_therapist.records import Use
from ai_therapist.store.blobs import hash_file
from ai_therapist.store.codec import encode
from ai_therapist.testing import make_consent


def put(folder: Path, name: str, content: str | None = None, *uses: Use) -> Path:
    """A file that looks like a recording, with its consent record."""
    path = folder / name
    path.write_text(content if content is not None else name)
    rights = {"group": "pair", "consent": json.loads(encode(make_consent(*uses)))}
    path.with_name(f"{path.stem}.consent.json").write_text(json.dumps(rights))
    return path


def names_of(folder: Path) -> list[str]:
    return [
        entry.path.name if isinstance(entry, Recording) else f"- {entry.name}"
        for entry in find_recordings(folder, hash_file)
    ]


def reason_of(folder: Path) -> str:
    (refusal,) = [entry for entry in find_recordings(folder, hash_file) if isinstance(entry, Refusal)]
    return refusal.reason


def test_a_recording_brings_its_rights(tmp_path: Path) -> None:
    put(tmp_path, "anna.mp4")
    (entry,) = find_recordings(tmp_path, hash_file)
    assert isinstance(entry, Recording)
    assert entry.source.name == "anna"
    assert entry.source.group == "pair"
    assert entry.source.sha256 == hashlib.sha256(b"anna.mp4").hexdigest()
    assert entry.source.consent == make_consent()


def test_numbers_sort_as_numbers(tmp_path: Path) -> None:
    order = ["b_1.mp4", "video_2.mp4", "Video_10.mov", "video_10b.wav"]
    for name in random.Random(3).sample(order, len(order)):
        put(tmp_path, name)
    assert names_of(tmp_path) == order


@given(st.text(max_size=6), st.integers(0, 10**9), st.integers(0, 10**9))
def test_numbers_in_names_compare_by_value(name: str, one: int, two: int) -> None:
    stem = name.rstrip("0123456789") + "_"
    assert (natural_key(f"{stem}{one}") < natural_key(f"{stem}{two}")) == (one < two)


@given(st.text(), st.text())
def test_any_two_names_can_be_compared(one: str, two: str) -> None:
    assert (natural_key(one) <= natural_key(two)) or (natural_key(two) <= natural_key(one))


def test_other_files_are_not_recordings(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4")
    put(tmp_path, "notes.txt")
    put(tmp_path, ".hidden.mp4")
    put(tmp_path, "...mp4")
    assert names_of(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("make", [lambda path: None, Path.touch, Path.mkdir], ids=["absent", "file", "empty"])
def test_a_folder_without_recordings_is_an_error_of_the_request(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = tmp_path / "sessions"
    make(folder)
    with pytest.raises(MissingInput, match="sessions"):
        find_recordings(folder, hash_file)


def test_without_a_consent_record_a_recording_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4")
    (tmp_path / "b.mp4").write_text("b")
    assert names_of(tmp_path) == ["a.mp4", "- b.mp4"]
    assert "write b.consent.json beside it" in reason_of(tmp_path)


@pytest.mark.parametrize("rights", ["", "{}", "[1]", '{"group": "g", "consent": {"basis": "hearsay"}}'])
def test_a_consent_record_that_is_none_is_told_with_its_fields(tmp_path: Path, rights: str) -> None:
    put(tmp_path, "a.mp4")
    (tmp_path / "a.consent.json").write_text(rights)
    assert reason_of(tmp_path).startswith("a.consent.json: ")
    assert "hearsay" not in reason_of(tmp_path)


def test_consent_to_something_else_is_no_consent(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", None, Use.TRAIN, Use.PUBLISH)
    assert "does not permit 'transcribe'" in reason_of(tmp_path)


def test_the_same_content_is_taken_once(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "same")
    put(tmp_path, "b.mp4", "same")
    assert names_of(tmp_path) == ["a.mp4", "- b.mp4"]
    assert "same content as a.mp4" in reason_of(tmp_path)


@pytest.mark.parametrize("twin", ["anna.mkv", "ANNA.mp4", "ANNA.mkv"])
def test_two_recordings_never_share_a_name(tmp_path: Path, twin: str) -> None:
    put(tmp_path, "anna.mp4", "one")
    put(tmp_path, twin, "two")
    found = find_recordings(tmp_path, hash_file)
    assert [type(entry) for entry in found] == [Recording, Refusal]
    assert "same name" in reason_of(tmp_path)


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    home, away = tmp_path / "safe", tmp_path / "safe_evil"
    home.mkdir()
    away.mkdir()
    secret = put(away, "secret.mp4")
    put(home, "a.mp4")
    (home / "b.mp4").symlink_to(secret)
    assert names_of(home) == ["a.mp4", "- b.mp4"]
    assert "link that leads out" in reason_of(home)
    (home / "b.mp4").unlink()
    (home / "c.mp4").write_text("c")
    (home / "c.consent.json").symlink_to(away / "secret.consent.json")
    assert "has no consent record" in reason_of(home)
