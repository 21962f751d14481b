"""The stage that makes the transcript: another one for each transcriber, so that a change of it changes the key."""

from __future__ import annotations

from typing import cast

from ai_therapist.extraction.config import ExtractionConfig, FilesConfig, TranscribeConfig
from ai_therapist.extraction.transcribers import embedded, files
from ai_therapist.media import sound
from ai_therapist.pipeline.stage import Job, Stage
from ai_therapist.records import Media, Transcript


def transcribe_stage(config: ExtractionConfig) -> Stage:
    """The stage of the transcriber that the settings name; it gives "transcript"."""
    gives = ("transcript",)
    if config.transcriber == "files":
        beside = ("media", "words/*", "turns*")
        return Stage("transcribe-files", 1, run_files, beside, gives, FilesConfig())
    heard = ("media", "audio")
    return Stage("transcribe", 2, run_embedded, heard, gives, config.transcribe, embedded.TOOLS, 7200)


def run_embedded(job: Job) -> None:
    """What PocketSphinx hears."""
    config = cast(TranscribeConfig, job.config)
    _give(job, embedded.transcribe(sound.load_speech(job.path("audio")), job.item, config))


def run_files(job: Job) -> None:
    """What the files beside the recording say."""
    (name,) = job.names("words/*")
    turns = job.read("turns") if job.names("turns") else None
    kind = name.removeprefix("words/")
    _give(job, files.transcribe(kind, job.read(name), turns, job.item, job.record(Media, "media").duration_ms))


def _give(job: Job, transcript: Transcript) -> None:
    job.count(utterances=len(transcript.utterances))
    job.give_record("transcript", transcript)
