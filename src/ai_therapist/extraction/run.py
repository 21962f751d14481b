"""Extraction: the recordings of a source become sessions with roles, turns and verified clips.

recording ─ probe ─ audio ─ transcribe ─┬─ roles ──────────────────────┬─ present
              │                         └─ turns ─┬──────────── cut ───┘
              └───────────────── standardise ─────┴──────────────┘
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from ai_therapist.errors import MissingInput, StoreError
from ai_therapist.extraction import roles, transcription, turns, vote
from ai_therapist.extraction.clips import cut_clips
from ai_therapist.extraction.config import (
    AnonymiseConfig,
    ClipsConfig,
    ExtractionConfig,
    NoConfig,
    RolesConfig,
    TurnsConfig,
)
from ai_therapist.extraction.readable import clip_names, transcript_json, transcript_text
from ai_therapist.extraction.sources.local import LocalFolder
from ai_therapist.extraction.sources.recording import Recording, Refusal, Source
from ai_therapist.extraction.transcribers import files
from ai_therapist.media import probe, sound, standardise
from ai_therapist.media.anonymise import Anonymiser
from ai_therapist.pipeline.driver import Item, Observer, drive
from ai_therapist.pipeline.executors import Executor
from ai_therapist.pipeline.stage import Job, Stage
from ai_therapist.privacy.consent import first_refusal, transcription_uses
from ai_therapist.records import Clip, Media, Session, SourceRecord, Transcript
from ai_therapist.store.blobs import hash_file
from ai_therapist.store.codec import canonical_json, decode, decode_all, encode
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace

_MEDIA_MB = 4096
"""Memory of a stage that decodes: a few dozen frames of the largest size, in any pixel format."""

RUN = "extraction"
"""Name of the ledger."""


def extract(
    workspace: Workspace,
    config: ExtractionConfig,
    source: Source | Path,
    executor: Executor,
    observer: Observer | None = None,
) -> RunRecord:
    """Extract every recording of `source` that may be transcribed; returns and saves the ledger "extraction".

    A path is a folder of this machine. A recording without permission is skipped with a reason, one that cannot be
    processed is quarantined, and the others go on. Nothing leaves the machine, unless a transcriber or a model is
    chosen that runs elsewhere: then only what its consent record lets go. Raises MissingInput where the source holds no
    recording, and ConfigError or MissingExtra where the transcriber lacks what it needs.
    """
    transcription.check(config)
    place = LocalFolder(source) if isinstance(source, Path) else source
    entries = [_admitted(workspace, config, entry) for entry in place.recordings(workspace)]
    items = [entry for entry in entries if isinstance(entry, Item)]
    finished = {record.item: record for record in drive(workspace, stages(config), items, executor, observer)}
    records = tuple(finished[entry.id] if isinstance(entry, Item) else entry for entry in entries)
    run = RunRecord(run=RUN, config=config.model_dump(mode="json"), read=len(records), items=records)
    workspace.save_run(run)
    for record in run.done:
        _show(workspace, record)
    return run


def stages(config: ExtractionConfig) -> tuple[Stage, ...]:
    """The stages of extraction in order."""
    nothing = NoConfig()
    return (
        Stage("probe", 2, run_probe, ("recording",), ("media",), nothing, ("av",), memory_mb=_MEDIA_MB),
        # After probe, though it reads nothing of it: a recording that cannot be read is refused once, by one stage.
        Stage("audio", 2, run_audio, ("recording", "media"), ("audio",), nothing, ("av",), memory_mb=_MEDIA_MB),
        transcription.transcribe_stage(config),
        Stage("roles", 2, run_roles, ("source", "media", "transcript"), ("session",), vote.resolve(config.roles)),
        Stage("turns", 1, run_turns, ("transcript",), ("utterances", "starts"), config.turns),
        # The encode hangs on where turns start and on nothing that was said: other words move no frame.
        Stage(
            "standardise",
            4,
            run_standardise,
            ("recording", "media", "starts"),
            ("video",),
            config.anonymise if config.anonymise.changes else nothing,
            ("av",),
            timeout_s=7200,
            memory_mb=_MEDIA_MB,
        ),
        # A pattern, since a recording without picture has no "video".
        Stage(
            "cut",
            1,
            run_cut,
            ("utterances", "video*"),
            ("clips", "clip/*"),
            config.clips,
            ("av",),
            memory_mb=_MEDIA_MB,
        ),
        Stage("present", 1, run_present, ("session", "utterances", "clips"), ("readable/*",), nothing),
    )


def run_probe(job: Job) -> None:
    """What the recording is made of."""
    job.give_record("media", probe.probe(job.path("recording"), "recording", job.digest("recording")))


def run_audio(job: Job) -> None:
    """Its sound, as recognisers read it."""
    target = job.scratch / "audio.wav"
    sound.extract_speech(job.path("recording"), target)
    job.give("audio", target)


def run_roles(job: Job) -> None:
    """Who is who."""
    source = job.record(SourceRecord, "source")
    transcript, config = job.record(Transcript, "transcript"), cast(RolesConfig, job.config)
    speakers = roles.find_roles(transcript, source.name, config, vote.ask(transcript, source.consent, config))
    job.count(roles_to_review=roles.for_review(speakers))
    session = Session(
        id=source.session_id,
        name=source.name,
        media=job.record(Media, "media"),
        consent=source.consent,
        group=source.group,
        speakers=speakers,
    )
    job.give_record("session", session)


def run_turns(job: Job) -> None:
    """The turns, and the frames at which they start."""
    merged = turns.merge_turns(job.record(Transcript, "transcript"), cast(TurnsConfig, job.config))
    starts = sorted({frames.start for frames in turns.clip_frames(merged.utterances)})
    job.count(turns=len(merged.utterances))
    job.give_record("utterances", merged)
    job.give("starts", canonical_json(starts))


def run_standardise(job: Job) -> None:
    """The recording at 16 FPS; nothing for sound alone."""
    media = job.record(Media, "media")
    if media.video is None:
        return
    target = job.scratch / "video.mp4"
    wish, anonymiser = job.config, None
    if isinstance(wish, AnonymiseConfig):
        anonymiser = Anonymiser(boxes=wish.boxes, squares=wish.squares, semitones=wish.semitones)
    standardise.standardise(job.path("recording"), target, media, json.loads(job.read("starts")), anonymiser)
    job.give("video", target)


def run_cut(job: Job) -> None:
    """A clip for every turn."""
    spoken = job.record(Transcript, "utterances")
    video = job.path("video") if job.names("video") else None
    # Clips are compared with it, so it has to be what the encoder gave.
    if video is not None and hash_file(video) != job.digest("video"):
        raise StoreError(
            f"blob {job.digest('video')[:12]}, the standardised recording of {job.item}, is damaged: delete "
            f"{video} and run the same command again"
        )
    clips = []
    for made in cut_clips(video, spoken, cast(ClipsConfig, job.config), job.scratch):
        clips.append(made.clip)
        if made.path is not None:
            job.give(f"clip/{made.clip.id}", made.path)
    lengths_ms = [turn.span.duration_ms for turn in spoken.utterances]
    kept = [clip.usable for clip in clips]
    job.count(
        speech_ms=sum(lengths_ms),
        clipped_ms=sum(length for length, usable in zip(lengths_ms, kept, strict=True) if usable),
        clips=sum(kept),
        short_turns=sum(length <= cast(ClipsConfig, job.config).min_clip_ms for length in lengths_ms),
    )
    job.give_records("clips", clips)


def run_present(job: Job) -> None:
    """The transcript for people and programs."""
    session, spoken = job.record(Session, "session"), job.record(Transcript, "utterances")
    job.give("readable/transcript.txt", transcript_text(session, spoken).encode())
    job.give("readable/transcript.json", transcript_json(session, spoken, job.record_list(Clip, "clips")))


def _admitted(workspace: Workspace, config: ExtractionConfig, entry: Recording | Refusal) -> Item | ItemRecord:
    """The item of a recording whose bytes are in the store, or its line in the ledger where it is left out."""
    if isinstance(entry, Refusal):
        return _left_out(entry.name, entry.reason, Status.QUARANTINED if entry.failure else Status.SKIPPED)
    source = entry.source
    if workspace.was_forgotten(source.sha256):
        return _left_out(source.name, f"{source.name} was forgotten here on request and is not taken in again")
    reason = first_refusal(source.consent, transcription_uses(leaves=config.transcriber in transcription.LEAVING))
    if reason is not None:
        return _left_out(source.name, f"{source.name}: {reason}")
    reason = None if workspace.store.has(source.sha256) else _take_in(workspace, entry)
    if reason is not None:
        return _left_out(source.name, reason)
    artefacts = entry.artefacts | {"source": workspace.store.put_bytes(encode(source)), "recording": source.sha256}
    if config.transcriber == "files":
        if entry.beside is None:
            reason = f"{source.name}: transcripts are looked for beside recordings of a folder or a bucket only"
            return _left_out(source.name, reason)
        try:
            beside = files.find_beside(source.name, entry.beside)
        except MissingInput as error:
            return _left_out(source.name, f"{source.name}: its transcript: {error}")
        if isinstance(beside, str):
            return _left_out(source.name, beside)
        artefacts |= {name: workspace.store.put_bytes(content) for name, content in beside.artefacts().items()}
    return Item(source.session_id, source.name, artefacts)


def _take_in(workspace: Workspace, entry: Recording) -> str | None:
    """Keep the bytes of a recording; returns the reason where that cannot be done."""
    name = entry.source.name
    try:
        # Opened here as well, so that a file that cannot be read is not told as a fault of the store.
        with entry.path.open("rb"):
            kept = workspace.store.put_file(entry.path)
    except MissingInput as error:
        return f"{name}: {error}"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror}): give yourself the right to read it"
    return None if kept == entry.source.sha256 else f"{name} changed while it was read: run the command again"


def _left_out(name: str, reason: str, status: Status = Status.SKIPPED) -> ItemRecord:
    return ItemRecord(item=name, name=name, status=status, reason=reason, artefacts={}, actions=(), counts={})


def _show(workspace: Workspace, record: ItemRecord) -> None:
    """Links with readable names to what a session has become."""
    store, digests = workspace.store, record.artefacts
    session = decode(Session, store.read(digests["session"]), f"session of {record.name}")
    spoken = decode(Transcript, store.read(digests["utterances"]), f"utterances of {record.name}")
    clips = decode_all(Clip, store.read(digests["clips"]), f"clips of {record.name}")
    files = {"audio.wav": digests["audio"]}
    files |= {
        name.removeprefix("readable/"): digest for name, digest in digests.items() if name.startswith("readable/")
    }
    files |= {f"clips/{name}": digests[f"clip/{key}"] for key, name in clip_names(session, spoken, clips).items()}
    if "video" in digests:
        files["video.mp4"] = digests["video"]
    workspace.show(f"sessions/{record.name}", files)
