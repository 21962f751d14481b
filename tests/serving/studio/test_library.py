"""What the page may read of a workspace."""

from __future__ import annotations

import pytest

from ai_therapist.errors import MissingInput
from ai_therapist.records import Use
from ai_therapist.serving.studio.library import Library
from ai_therapist.store.workspace import RunRecord, Workspace
from ai_therapist.testing import make_session
from tests.serving.studio.study import LINES

ONE = make_session("one").id


def test_sessions_come_by_name_with_all_their_parts(study: Workspace) -> None:
    read = Library(study).sessions()
    assert [one.session.name for one in read] == ["one", "two", "words only"]
    assert len(read[0].turns) == len(LINES)
    assert len(read[0].annotations) == 11
    assert "<i>truncated</i>" in {item.name for item in Library(study).items()}


def test_a_workspace_that_only_extracted_is_shown_too(study: Workspace) -> None:
    (study.root / "runs" / "annotation.json").unlink()
    run = study.load_run("extraction", "extract")
    bare = [
        item.model_copy(update={"artefacts": {k: v for k, v in item.artefacts.items() if k != "annotations"}})
        for item in run.items
    ]
    study.save_run(RunRecord(run="extraction", config={}, read=len(bare), items=tuple(bare)))
    assert [one.annotations for one in Library(study).sessions()] == [(), (), ()]


def test_an_empty_workspace_has_no_sessions(workspace: Workspace) -> None:
    assert Library(workspace).sessions() == ()
    with pytest.raises(MissingInput):
        Library(workspace).session(ONE)


def test_only_names_in_the_ledger_lead_to_files(study: Workspace) -> None:
    library = Library(study)
    clip = next(clip.id for clip in library.session(ONE).clips if clip.media is not None)
    assert library.media(ONE, "video").path.stat().st_size > 1000
    assert library.media(ONE, "audio").kind == "audio/wav"
    assert library.media(ONE, clip).kind == "video/mp4"
    for name in ("session", "utterances", "annotations", "clip/one", "../one", "clp_000000000000", "", "video\x00"):
        with pytest.raises(MissingInput):
            library.media(ONE, name)


def test_a_recording_that_is_gone_is_said(study: Workspace) -> None:
    library = Library(study)
    library.media(ONE, "video").path.unlink()
    with pytest.raises(MissingInput, match="ai-therapist verify"):
        library.media(ONE, "video")


def test_a_waveform_is_as_loud_as_its_loudest_point(study: Workspace) -> None:
    peaks = Library(study).waveform(ONE)
    assert len(peaks) == 900
    assert max(peaks) == 100
    assert min(peaks) >= 0


def test_a_session_without_sound_has_no_waveform(study: Workspace) -> None:
    run = study.load_run("annotation", "annotate")
    items = []
    for item in run.items:
        silent = {name: digest for name, digest in item.artefacts.items() if name != "audio"}
        items.append(item.model_copy(update={"artefacts": silent}))
    study.save_run(RunRecord(run="annotation", config={}, read=len(items), items=tuple(items)))
    assert Library(study).waveform(ONE) == []


def test_faces_and_voices_are_shown_for_judging_only_where_the_consent_permits_it(study: Workspace) -> None:
    one, _, words_only = Library(study).sessions()
    assert one.media_refusal is None
    assert Use.EMOTION_FROM_MEDIA.value in str(words_only.media_refusal)


def test_a_session_that_cannot_be_read_stands_aside_with_the_reason(study: Workspace) -> None:
    path = study.store.path(Library(study).session(ONE).item.artefacts["utterances"])
    path.chmod(0o644)
    path.write_bytes(b"{}")
    library = Library(study)
    assert [one.session.name for one in library.sessions()] == ["two", "words only"]
    assert [line.name for line in library.set_aside() if "ai-therapist verify" in str(line.reason)] == ["one"]
