"""Diarisers that a user may have: how we call them, proven on stand-ins of their interfaces and not on themselves."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from ai_therapist.errors import ConfigError, MissingExtra, MissingInput
from ai_therapist.extraction.transcribers import diarisers
from ai_therapist.extraction.transcribers.diarisers import open_diariser
from ai_therapist.extraction.transcribers.speakers import Voiced
from ai_therapist.media.sound import extract_speech
from ai_therapist.records import TimeSpan
from ai_therapist.testing import make_recording

TURNS = [(1.2, 1.9, "SPEAKER_01"), (0.0, 1.0, "SPEAKER_00"), (1.95, 1.95, "SPEAKER_02")]
FOUND = [Voiced(TimeSpan(start_ms=0, end_ms=1000), 0), Voiced(TimeSpan(start_ms=1200, end_ms=1900), 1)]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    extract_speech(make_recording(tmp_path / "one.mp4"), tmp_path / "one.wav")
    return tmp_path / "one.wav"


@pytest.mark.parametrize("spec", ["pyannote:x", "sherpa-onnx:x"])
def test_one_that_is_not_installed_is_named(spec: str) -> None:
    with pytest.raises(MissingExtra, match="the diariser"):
        open_diariser(spec)


@pytest.mark.parametrize("spec", ["other", "pyannote", "pyannote:", "embedded:x", ""])
def test_a_spec_that_is_none_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match="write embedded, pyannote:PIPELINE or sherpa-onnx:FOLDER"):
        open_diariser(spec)


def test_pyannote_is_given_the_file_and_the_number_of_voices(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    class Pipeline:
        @staticmethod
        def from_pretrained(name: str) -> "Pipeline | None":
            asked.append(name)
            return Pipeline() if name != "gated" else None

        def __call__(self, path: str, num_speakers: int | None) -> "Pipeline":
            asked.extend([path, num_speakers])
            return self

        def itertracks(self, yield_label: bool) -> Iterator[tuple[SimpleNamespace, str, str]]:
            return ((SimpleNamespace(start=a, end=b), "_", label) for a, b, label in TURNS)

    package = ModuleType("pyannote.audio")
    package.__dict__.update(Pipeline=Pipeline, __version__="9")
    monkeypatch.setattr(diarisers, "_installed", lambda module, name: package)
    found = open_diariser("pyannote:some/pipeline")
    assert found.name == "pyannote pipeline 9"
    assert found.turns(sound, [], 0) == FOUND
    assert found.turns(sound, [], 3) == FOUND
    assert asked == ["some/pipeline", str(sound), None, "some/pipeline", str(sound), 3]
    with pytest.raises(MissingInput, match="accept its terms"):
        open_diariser("pyannote:gated").turns(sound, [], 0)


def test_sherpa_onnx_is_given_its_two_models(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Diarization:
        def __init__(self, config: SimpleNamespace) -> None:
            assert config.clustering.num_clusters == -1
            assert config.segmentation.pyannote.model == str(tmp_path / "segmentation.onnx")
            assert config.embedding.model == str(tmp_path / "embedding.onnx")

        def process(self, samples: object) -> "Diarization":
            return self

        def sort_by_start_time(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(start=a, end=b, speaker=label) for a, b, label in sorted(TURNS)]

    package = ModuleType("sherpa_onnx")
    names = ["OfflineSpeakerDiarizationConfig", "OfflineSpeakerSegmentationModelConfig", "FastClusteringConfig"]
    names += ["OfflineSpeakerSegmentationPyannoteModelConfig", "SpeakerEmbeddingExtractorConfig"]
    package.__dict__.update(dict.fromkeys(names, SimpleNamespace), OfflineSpeakerDiarization=Diarization)
    monkeypatch.setitem(sys.modules, "sherpa_onnx", package)
    monkeypatch.setattr(diarisers, "_installed", lambda module, name: package)
    with pytest.raises(MissingInput, match=r"segmentation\.onnx"):
        open_diariser(f"sherpa-onnx:{tmp_path}")
    for name in ("segmentation.onnx", "embedding.onnx"):
        (tmp_path / name).write_bytes(b"")
    assert open_diariser(f"sherpa-onnx:{tmp_path}").turns(sound, [], 0) == FOUND
