"""Settings of extraction."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ai_therapist.pipeline.stage import StageConfig
from ai_therapist.records import Role


class TranscribeConfig(StageConfig):
    """How speech becomes a transcript."""

    speakers: Annotated[int, Field(ge=0, le=8)] = 0
    """Number of voices to tell apart, 1 to 8; 0 counts them. A further voice is absorbed by the nearest one."""

    min_silence_ms: Annotated[int, Field(ge=50, le=2000)] = 200
    """Silence in milliseconds that ends a stretch of speech, 50 to 2000."""

    speech_pad_ms: Annotated[int, Field(ge=0, le=500)] = 50
    """Milliseconds kept on either side of a stretch of speech, 0 to 500."""

    join_pause_ms: Annotated[int, Field(ge=0, le=5000)] = 500
    """Longest pause in milliseconds inside one utterance of a speaker, 0 to 5000."""

    max_stretch_ms: Annotated[int, Field(ge=1000, le=60_000)] = 15_000
    """Longest utterance in milliseconds, 1000 to 60000."""


class AssemblyAIConfig(StageConfig):
    """How AssemblyAI transcribes. The sound leaves this machine, which needs the permission `transcribe_cloud`."""

    speakers: Annotated[int, Field(ge=0, le=10)] = 0
    """Voices to expect, 1 to 10; 0 lets the service find their number."""

    language: Annotated[str, Field(min_length=2, max_length=10)] = "en"
    """Language code of the talk, such as "en" or "de"; "auto" lets the service find out."""

    models: tuple[str, ...] = ()
    """Names of the service's speech models in order of preference; empty takes its default, which it may change."""

    keep_remote: Annotated[bool, Field(exclude=True)] = False
    """Whether the transcript stays at the service; without this it is deleted there as soon as it is here."""

    region: Annotated[Literal["us", "eu"], Field(exclude=True)] = "us"
    """Where the service computes: "us" or "eu". The variable ASSEMBLYAI_BASE_URL goes before it."""

    jobs: Annotated[int, Field(ge=1, le=200, exclude=True)] = 5
    """Transcriptions under way at the same time, 1 to 200; the free plan allows 5."""

    settle_s: Annotated[int, Field(ge=1, le=600, exclude=True)] = 60
    """Seconds, 1 to 600, for which a transcription that a killed run may have begun is looked for at the service before
    it is begun anew; longer than the service takes to list what it was asked for."""

    patience_s: Annotated[int, Field(ge=1, le=14_000, exclude=True)] = 7200
    """Seconds to wait for a transcript, 1 to 14000; the next run asks for the same one, without paying again."""


class WhisperConfig(StageConfig):
    """How faster-whisper transcribes and who tells the voices apart."""

    model: Annotated[str, Field(min_length=1)] = "small"
    """Name of a Whisper model, such as "small" or "large-v3", or a folder with one that CTranslate2 converted."""

    download: Annotated[bool, Field(exclude=True)] = False
    """Whether a model that is not here yet may be downloaded; without this it must be here."""

    language: Annotated[str, Field(min_length=2, max_length=10)] = "en"
    """Language code of the talk; "auto" lets the model find out, for each half minute anew."""

    beam_size: Annotated[int, Field(ge=1, le=20)] = 5
    """Alternatives that are followed at the same time, 1 to 20."""

    compute_type: Literal["int8", "float16", "float32"] = "int8"
    """Precision of the arithmetic; float16 needs a GPU."""

    device: Annotated[Literal["cpu", "cuda", "auto"], Field(exclude=True)] = "cpu"
    """Where it computes."""

    diariser: Annotated[str, Field(min_length=1)] = "embedded"
    """Who tells voices apart: "embedded", "pyannote:PIPELINE" or "sherpa-onnx:FOLDER" (see docs/extraction.md)."""

    speakers: Annotated[int, Field(ge=0, le=20)] = 0
    """Number of voices, 1 to 20; 0 counts them, up to 8 with the embedded diariser."""

    min_silence_ms: Annotated[int, Field(ge=50, le=2000)] = 200
    """Silence in milliseconds that ends a stretch of speech, 50 to 2000."""

    speech_pad_ms: Annotated[int, Field(ge=0, le=500)] = 100
    """Milliseconds kept on either side of a stretch of speech, 0 to 500."""

    join_pause_ms: Annotated[int, Field(ge=0, le=5000)] = 700
    """Longest pause in milliseconds inside one utterance of a speaker, 0 to 5000."""


class ResolvedWhisper(WhisperConfig):
    """The settings with what determines the words in place of a model's name, which may be a path."""

    model: Annotated[str, Field(exclude=True)]
    """Name or folder of the model."""
    diariser: Annotated[str, Field(exclude=True)]
    """Spec of the diariser."""
    revision: str
    """Digest of the model's weights."""
    voices: str
    """Name and version of the diariser."""


class FilesConfig(StageConfig):
    """How transcripts beside the recordings are taken in: as they are, so there is nothing to set."""


class RolesConfig(StageConfig):
    """How speakers get their roles."""

    min_margin: Annotated[float, Field(gt=0, le=20)] = 3.0
    """Log-odds by which one speaker must sound more like a therapist than the other, 0 to 20; else UNKNOWN."""

    model: str | None = None
    """A model that is asked who the therapist is and has one vote, named as models/catalogue.py lists them; or none."""

    roles: dict[str, dict[str, Role]] = Field(default_factory=dict)
    """Roles given by hand, as {session name: {speaker label: role}}; they go before any evidence."""


class ResolvedRoles(RolesConfig):
    """The settings with the model's own name in place of its spec, which may hold a path."""

    model: Annotated[str | None, Field(exclude=True)] = None
    """Spec of the model."""
    revision: str
    """Name and revision of the model that the spec opened."""


class TurnsConfig(StageConfig):
    """How utterances become turns."""

    merge: bool = True
    """Whether adjacent utterances of one speaker become one turn."""

    max_pause_ms: Annotated[int, Field(ge=0, le=60_000)] = 3000
    """Longest pause in milliseconds inside a turn, 0 to 60000."""


class ClipsConfig(StageConfig):
    """Which turns become clips."""

    min_clip_ms: Annotated[int, Field(ge=0, le=60_000)] = 3000
    """A turn is cut where it lasts longer than this many milliseconds, 0 to 60000; a shorter one routes to text."""


_Share = Annotated[float, Field(ge=0, le=1)]


class AnonymiseConfig(StageConfig):
    """What is done to pictures and voices before they are encoded; it makes nobody unknowable (docs/privacy.md)."""

    boxes: tuple[tuple[_Share, _Share, _Share, _Share], ...] = ()
    """Areas shown as squares in every picture: left, top, right and bottom as shares of width and height, 0 to 1."""

    squares: Annotated[int, Field(ge=1, le=32)] = 6
    """Squares along each side of an area, 1 to 32; fewer hide more."""

    semitones: Annotated[float, Field(ge=-8, le=8)] = 0.0
    """Semitones by which voices are raised, -8 to 8, formants included; 0 leaves them."""

    @property
    def changes(self) -> bool:
        """Whether anything is done at all."""
        return bool(self.boxes) or self.semitones != 0


class YouTubeConfig(StageConfig):
    """How a YouTube playlist is fetched; nothing here enters the key of an extraction stage."""

    daily_downloads: Annotated[int, Field(ge=1, le=500)] = 100
    """Most downloads a day (UTC), 1 to 500. YouTube blocks connections that ask for some hundreds."""

    max_height_px: Annotated[int, Field(ge=144, le=2160)] = 720
    """Greatest height of the picture in pixels, 144 to 2160."""


class NoConfig(StageConfig):
    """A stage that has nothing to set."""


class ExtractionConfig(StageConfig):
    """All settings of extraction."""

    transcriber: Literal["embedded", "whisper", "assemblyai", "files"] = "embedded"
    """Who transcribes. embedded: PocketSphinx, for the samples. whisper: faster-whisper. assemblyai: a paid service.
    files: transcripts beside the recordings."""

    transcribe: TranscribeConfig = TranscribeConfig()
    """The embedded transcriber: speech recognition and the telling apart of speakers."""

    whisper: WhisperConfig = WhisperConfig()
    """The transcriber whisper."""

    assemblyai: AssemblyAIConfig = AssemblyAIConfig()
    """The transcriber assemblyai."""

    roles: RolesConfig = RolesConfig()
    """Who is the therapist."""

    turns: TurnsConfig = TurnsConfig()
    """Merging of utterances."""

    clips: ClipsConfig = ClipsConfig()
    """Cutting of clips."""

    anonymise: AnonymiseConfig = AnonymiseConfig()
    """Faces and voices of the clips; off by default."""

    youtube: YouTubeConfig = YouTubeConfig()
    """Fetching from YouTube."""
