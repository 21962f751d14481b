"""Every turn has a clip record; only exact clips have media."""

from pathlib import Path

import pytest

from ai_therapist.extraction.clips import CutClip, cut_clips
from ai_therapist.extraction.config import ClipsConfig
from ai_therapist.extraction.turns import clip_frames
from ai_therapist.media.probe import probe
from ai_therapist.media.standardise import standardise
from ai_therapist.records import Fault, TimeSpan, Transcript, Utterance
from ai_therapist.store.blobs import hash_file
from ai_therapist.testing import RecordingSpec, make_digest, make_recording, make_session

SESSION = make_session()


def spoken(*spans_ms: tuple[int, int]) -> Transcript:
    utterances = tuple(
        Utterance.of(SESSION.id, place, "AB"[place % 2], TimeSpan(start_ms=start, end_ms=end), "words")
        for place, (start, end) in enumerate(spans_ms)
    )
    return Transcript(session=SESSION.id, transcriber="test", utterances=utterances)


TURNS = spoken((100, 900), (1000, 2000), (2050, 2900))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    source = make_recording(folder / "source.mp4", RecordingSpec(duration_ms=3000))
    starts = [frames.start for frames in clip_frames(TURNS.utterances)]
    standardise(source, folder / "video.mp4", probe(source, "recording", make_digest("x")), starts)
    return folder / "video.mp4"


def cut_all(video: Path | None, turns: Transcript, folder: Path, min_clip_ms: int = 0) -> list[CutClip]:
    return list(cut_clips(video, turns, ClipsConfig(min_clip_ms=min_clip_ms), folder))


def test_clips_are_exact_and_described(video: Path, tmp_path: Path) -> None:
    made = cut_all(video, TURNS, tmp_path)
    assert [item.clip.utterances for item in made] == [(turn.id,) for turn in TURNS.utterances]
    for item, frames in zip(made, clip_frames(TURNS.utterances), strict=True):
        assert item.clip.usable and item.clip.media is not None and item.path is not None
        assert item.clip.media.sha256 == hash_file(item.path)
        assert item.clip.media.video is not None and item.clip.media.video.fps == "16/1"
        assert abs(item.clip.media.duration_ms - len(frames) * 62.5) < 1


def test_only_longer_turns_are_cut(video: Path, tmp_path: Path) -> None:
    made = cut_all(video, TURNS, tmp_path, min_clip_ms=850)
    assert [item.clip.faults for item in made] == [{Fault.TOO_SHORT}, frozenset(), {Fault.TOO_SHORT}]
    assert [item.path is None for item in made] == [True, False, True]
    assert [item.clip.id for item in made] == [item.clip.id for item in cut_all(None, TURNS, tmp_path)]


def test_sound_alone_has_no_clips(tmp_path: Path) -> None:
    assert {item.clip.faults for item in cut_all(None, TURNS, tmp_path)} == {frozenset({Fault.NO_VIDEO})}


def test_what_does_not_verify_becomes_a_fault_and_leaves_no_file(video: Path, tmp_path: Path) -> None:
    turns = spoken((300, 900), (2500, 3600), (5000, 6000))
    made = cut_all(video, turns, tmp_path)
    assert Fault.NOT_A_KEYFRAME in made[0].clip.faults
    assert Fault.FRAMES_MISSING in made[1].clip.faults
    assert Fault.FRAMES_MISSING in made[2].clip.faults
    assert all(item.clip.media is None and item.path is None for item in made)
    assert not list(tmp_path.iterdir())
