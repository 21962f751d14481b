"""Which recordings of a folder are taken, and why others are not."""

import codecs
import errno
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.errors import MissingInput
from ai_therapist.extraction.sources.local import FolderNeighbours, LocalFolder, find_recordings
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


def test_a_consent_record_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    rights = put(tmp_path, "a.mp4").with_name("a.consent.json")
    rights.write_bytes(codecs.BOM_UTF8 + rights.read_bytes())
    assert names_of(tmp_path) == ["a.mp4"]


def test_a_recording_that_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        put(tmp_path, name)

    def digest(path: Path) -> str:
        if path.name == "a.mp4":
            raise MissingInput(f"{path}: Permission denied")
        if path.name == "b.mp4":
            raise PermissionError(errno.EACCES, "Permission denied")
        return hash_file(path)

    found = find_recordings(tmp_path, digest)
    assert [type(entry) for entry in found] == [Refusal, Refusal, Recording]
    for entry in found[:2]:
        assert isinstance(entry, Refusal)
        assert f"{entry.name} cannot be read (" in entry.reason
        assert "Permission denied" in entry.reason


def test_a_consent_record_that_cannot_be_read_costs_only_its_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.mp4")
    put(tmp_path, "b.mp4")
    deny(monkeypatch, "a.consent.json")
    assert names_of(tmp_path) == ["- a.mp4", "b.mp4"]
    assert reason_of(tmp_path).startswith("a.consent.json cannot be read (Permission denied): ")


def test_folders_and_links_that_lead_nowhere_cost_only_themselves(tmp_path: Path) -> None:
    put(tmp_path, "d.mp4")
    (tmp_path / "a.mp4").mkdir()
    (tmp_path / "b.mp4").symlink_to(tmp_path / "gone.mp4")
    (tmp_path / "c.mp4").symlink_to(tmp_path / "c.mp4")
    put(tmp_path, "e.mp4")
    (tmp_path / "e.consent.json").unlink()
    (tmp_path / "e.consent.json").symlink_to(tmp_path / "e.consent.json")
    assert names_of(tmp_path) == ["- a.mp4", "- b.mp4", "- c.mp4", "d.mp4", "- e.mp4"]
    assert set(FolderNeighbours(tmp_path).sizes()) == {"d.mp4", "d.consent.json", "e.mp4"}


def test_a_neighbour_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.mp4")
    deny(monkeypatch, "a.vtt")
    with pytest.raises(MissingInput, match=r"a\.vtt cannot be read \(Permission denied\)"):
        FolderNeighbours(tmp_path).read("a.vtt")


def test_a_folder_is_looked_at_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingInput, match="holds no recording"):
        LocalFolder(tmp_path).look()
    put(tmp_path, "a.mp4")
    LocalFolder(tmp_path).look()

    def iterdir(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(MissingInput, match="Permission denied: give a folder that you may read"):
        LocalFolder(tmp_path).look()


def deny(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """No file of this name can be read, also not by root."""
    read = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
