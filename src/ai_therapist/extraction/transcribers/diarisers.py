"""Who tells voices apart for transcribers that only hear words: ours, or another one that the user has installed.

embedded               Silero VAD, MFCC and pitch statistics, Ward's clustering; any number of voices
pyannote:PIPELINE      pyannote.audio with a pipeline by name or folder; its terms of use are the user's to accept
sherpa-onnx:FOLDER     sherpa-onnx with segmentation.onnx and embedding.onnx in the folder

The last two are not installed with the toolkit and their models are not shipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Protocol

from ai_therapist.errors import ConfigError, MissingExtra, MissingInput
from ai_therapist.extraction.transcribers.speakers import Voiced, listen, tell_apart
from ai_therapist.media.sound import load_speech, read_speech
from ai_therapist.records import TimeSpan

BLOCK_MS = 600_000
"""Sound that is in memory at the same time: ten minutes."""


class Diariser(Protocol):
    """Tells voices apart in a 16 kHz mono WAV file."""

    @property
    def name(self) -> str:
        """Name and version; it enters the key of the transcript."""

    def turns(self, sound: Path, speech: Sequence[TimeSpan], speakers: int) -> list[Voiced]:
        """Stretches of one voice each, in order of time, voices numbered by appearance. `speakers` 0 counts them."""


class Embedded:
    """The diariser that needs no download. Memory grows by 40 MB an hour of sound, not by the sound."""

    name = "embedded voices 2"

    def turns(self, sound: Path, speech: Sequence[TimeSpan], speakers: int) -> list[Voiced]:
        """Stretches of speech, split where the voice changes."""
        return tell_apart(listen(read_speech(sound, BLOCK_MS)), speech, speakers)


class Pyannote:
    """A pipeline of pyannote.audio."""

    def __init__(self, pipeline: str) -> None:
        self._package = _installed("pyannote.audio", "pyannote")
        self._pipeline = pipeline
        self.name = f"pyannote {Path(pipeline).name} {getattr(self._package, '__version__', 'of unknown version')}"

    def turns(self, sound: Path, speech: Sequence[TimeSpan], speakers: int) -> list[Voiced]:
        """What the pipeline finds; it looks for speech itself."""
        pipeline = self._package.Pipeline.from_pretrained(self._pipeline)
        if pipeline is None:
            raise MissingInput(f"pyannote has no pipeline {self._pipeline!r} here: accept its terms and download it")
        found = pipeline(str(sound), num_speakers=speakers or None)
        annotation = getattr(found, "speaker_diarization", found)
        return numbered((turn.start, turn.end, label) for turn, _, label in annotation.itertracks(yield_label=True))


class SherpaOnnx:
    """Offline diarisation of sherpa-onnx."""

    def __init__(self, folder: str) -> None:
        self._package = _installed("sherpa_onnx", "sherpa-onnx")
        self._models = [Path(folder) / name for name in ("segmentation.onnx", "embedding.onnx")]
        missing = [path for path in self._models if not path.is_file()]
        if missing:
            raise MissingInput(f"{missing[0]}: no such file; the diariser sherpa-onnx needs it")
        self.name = f"sherpa-onnx {getattr(self._package, '__version__', 'of unknown version')}"

    def turns(self, sound: Path, speech: Sequence[TimeSpan], speakers: int) -> list[Voiced]:
        """What it finds; it looks for speech itself, and reads the whole sound at once."""
        sherpa, (segmentation, embedding) = self._package, self._models
        config = sherpa.OfflineSpeakerDiarizationConfig(
            segmentation=sherpa.OfflineSpeakerSegmentationModelConfig(
                pyannote=sherpa.OfflineSpeakerSegmentationPyannoteModelConfig(model=str(segmentation))
            ),
            embedding=sherpa.SpeakerEmbeddingExtractorConfig(model=str(embedding)),
            clustering=sherpa.FastClusteringConfig(num_clusters=speakers or -1),
        )
        found = sherpa.OfflineSpeakerDiarization(config).process(load_speech(sound)).sort_by_start_time()
        return numbered((turn.start, turn.end, turn.speaker) for turn in found)


def open_diariser(spec: str) -> Diariser:
    """The diariser that a setting names. Raises ConfigError, MissingExtra and MissingInput."""
    kind, _, where = spec.partition(":")
    if spec == "embedded":
        return Embedded()
    if kind == "pyannote" and where:
        return Pyannote(where)
    if kind == "sherpa-onnx" and where:
        return SherpaOnnx(where)
    raise ConfigError(f"there is no diariser {spec!r}: write embedded, pyannote:PIPELINE or sherpa-onnx:FOLDER")


def numbered(turns: Iterable[tuple[float, float, object]]) -> list[Voiced]:
    """Turns as (start in s, end in s, label) in order of time, their labels numbered by appearance."""
    order: dict[object, int] = {}
    voiced = []
    for start_s, end_s, label in sorted(turns, key=lambda turn: turn[:2]):
        start_ms, end_ms = max(0, round(start_s * 1000)), round(end_s * 1000)
        if end_ms > start_ms:
            voice = order.setdefault(label, len(order))
            voiced.append(Voiced(TimeSpan(start_ms=start_ms, end_ms=end_ms), voice))
    return voiced


def _installed(module: str, package: str) -> ModuleType:
    try:
        found = find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingExtra(f"the diariser {package}", module, "speech") from None
    return import_module(module)
