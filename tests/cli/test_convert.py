"""ai-therapist convert: what a user gives, gets and gets wrong."""

from pathlib import Path

import pytest

from ai_therapist.formats.catalogue import FORMATS, Format, format_named
from ai_therapist.formats.passages import passages_of
from ai_therapist.store.codec import encode
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from ai_therapist.testing import make_session, make_transcript
from tests.cli.conftest import Cli

SPOKEN = passages_of(make_transcript(make_session()))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "talk.whisperx.json"
    path.write_bytes(format_named("whisperx").write(SPOKEN))
    return path


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_every_format_is_written_and_read(run_cli: Cli, source: Path, tmp_path: Path, kind: Format) -> None:
    target = tmp_path / f"out{kind.suffixes[0]}"
    shown = run_cli("convert", source, target)
    assert shown.code == 0
    assert "8 passages, 2 speakers" in shown.out
    assert ("does not hold  word times" in shown.err) is ("word times" not in kind.holds)
    assert run_cli("convert", target, tmp_path / "again.assemblyai.json").code == 0


def test_the_format_can_be_named(run_cli: Cli, source: Path, tmp_path: Path) -> None:
    assert run_cli("convert", source, tmp_path / "out.txt", "--to", "vtt").code == 0
    assert (tmp_path / "out.txt").read_text().startswith("WEBVTT")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("talk.whisperx.json", "out.doc"), 2, "its name says no format"),
        (("talk.whisperx.json", "out.vtt", "--to", "doc"), 2, "no format 'doc'"),
        (("nowhere.vtt", "out.eaf"), 2, "nowhere.vtt: No such file"),
        (("talk.whisperx.json", "talk.whisperx.json"), 2, "is there already"),
        (("bad.vtt", "out.eaf"), 3, "bad.vtt: not WebVTT"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    run_cli: Cli, source: Path, tmp_path: Path, args: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "bad.vtt").write_text("hello")
    before = source.read_bytes()
    shown = run_cli("convert", *args)
    assert (shown.code, shown.err.count("\n")) == (code, 1)
    assert message in shown.err
    assert source.read_bytes() == before


def test_force_replaces(run_cli: Cli, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out.vtt").write_text("old")
    assert run_cli("convert", source, "out.vtt", "--force").code == 0
    assert (tmp_path / "out.vtt").read_text().startswith("WEBVTT")


def test_a_session_of_the_workspace_is_converted_with_its_words(run_cli: Cli, tmp_path: Path) -> None:
    workspace, heard = Workspace(tmp_path / "study"), make_transcript(make_session())
    item = ItemRecord(
        item=heard.session,
        name="one",
        status=Status.DONE,
        reason=None,
        artefacts={"transcript": workspace.store.put_bytes(encode(heard))},
        actions=(),
        counts={},
    )
    workspace.save_run(RunRecord(run="extraction", config={}, read=1, items=(item,)))
    assert run_cli("convert", "one", "one.assemblyai.json", "-w", "study").code == 0
    written = format_named("assemblyai").read((tmp_path / "one.assemblyai.json").read_bytes(), "x")
    assert written == passages_of(heard)
    shown = run_cli("convert", "nobody", "out.vtt", "-w", "study")
    assert (shown.code, "'nobody': neither a file" in shown.err) == (2, True)
    assert run_cli("convert", "nobody", "out.vtt", "-w", "nowhere").code == 2
