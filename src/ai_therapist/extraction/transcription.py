"""The stage that makes the transcript: another one for each transcriber, so that a change of it changes the key."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from pathlib import Path
from typing import cast

from ai_therapist.errors import ItemError, Postponed, TransientError
from ai_therapist.extraction.config import (
    AssemblyAIConfig,
    ExtractionConfig,
    FilesConfig,
    ResolvedWhisper,
    TranscribeConfig,
)
from ai_therapist.extraction.transcribers import assemblyai, embedded, files, whisper
from ai_therapist.media import sound
from ai_therapist.pipeline.stage import Job, Stage
from ai_therapist.records import Media, Transcript

_LONGEST_S = 4 * 3600
"""Time-out of a transcription elsewhere; it waits with patience of its own, which ends before."""

LEAVING = frozenset({"assemblyai"})
"""Transcribers that send the sound to another computer."""


def check(config: ExtractionConfig) -> None:
    """Raises ConfigError or MissingExtra where the transcriber lacks what it needs, before any work."""
    if config.transcriber == "assemblyai":
        assemblyai.require_key()


def transcribe_stage(config: ExtractionConfig) -> Stage:
    """The stage of the transcriber that the settings name; it gives "transcript"."""
    gives = ("transcript",)
    if config.transcriber == "files":
        beside = ("media", "words/*", "turns*")
        return Stage("transcribe-files", 1, run_files, beside, gives, FilesConfig())
    heard = ("media", "audio")
    if config.transcriber == "assemblyai":
        paid = config.assemblyai
        return Stage("transcribe-assemblyai", 1, run_assemblyai, heard, gives, paid, assemblyai.TOOLS, _LONGEST_S)
    if config.transcriber == "whisper":
        model = whisper.resolve(config.whisper)
        return Stage("transcribe-whisper", 1, run_whisper, heard, gives, model, whisper.TOOLS, _LONGEST_S)
    return Stage("transcribe", 3, run_embedded, heard, gives, config.transcribe, embedded.TOOLS, 7200)


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


def run_whisper(job: Job) -> None:
    """What Whisper hears."""
    _give(job, whisper.transcribe(job.path("audio"), job.item, cast(ResolvedWhisper, job.config)))


def run_assemblyai(job: Job) -> None:
    """What AssemblyAI hears."""
    config = cast(AssemblyAIConfig, job.config)
    if not sound.has_sound(job.path("audio")):
        _give(job, assemblyai.transcript_of({}, job.item))
        return
    notes = assemblyai.Notes(job.work)
    answer = notes.read("answer")
    if answer is None:
        with closing(assemblyai.AssemblyAI(config)) as service, service.jobs.turn() as turn:
            # The turn only counts transcriptions under way; how each request went is told for itself.
            turn.succeeded()
            answer = _fetch(job, service, notes)
    _give(job, assemblyai.transcript_of(json.loads(answer), job.item))


def _fetch(job: Job, service: assemblyai.AssemblyAI, notes: assemblyai.Notes) -> str:
    """Put the answer among the notes, and only then delete it at the service."""
    config = cast(AssemblyAIConfig, job.config)

    def packed() -> Path:
        path = job.scratch / "speech.ogg"
        sound.compress_speech(job.path("audio"), path)
        return path

    identity = job.ticket(assemblyai.Purchase(service, packed, config.settle_s))
    try:
        answer = json.dumps(assemblyai.wait_for(service, identity, config.patience_s))
    except ItemError as error:
        if isinstance(error, assemblyai.JobLost) and _taken_elsewhere(job, service, notes, config.settle_s):
            raise TransientError("another process has fetched the transcript") from None
        # Nothing more will come of it; whoever releases the item pays for another one.
        job.spend_ticket(identity)
        raise
    notes.write("answer", answer)
    if not config.keep_remote:
        job.count(left_at_service=1)
        with suppress(ItemError, Postponed):
            service.delete(identity)
            job.count(left_at_service=-1)
    return answer


def _taken_elsewhere(job: Job, service: assemblyai.AssemblyAI, notes: assemblyai.Notes, patience_s: float) -> bool:
    """Whether another process has had the transcript deleted at the service because it has its answer."""
    until = service.clock.now() + patience_s
    while not job.is_finished and notes.read("answer") is None:
        if service.clock.now() >= until:
            return False
        service.clock.sleep(0.5)
    return True


def _give(job: Job, transcript: Transcript) -> None:
    job.count(utterances=len(transcript.utterances))
    job.give_record("transcript", transcript)
