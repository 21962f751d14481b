"""Turns with their clips in the three layouts that `datasets.load_dataset` reads, and many other programs too.

videofolder   SPLIT/metadata.jsonl beside the clips it names; for eyes, git and up to some 100,000 clips
parquet       media/SPLIT-….parquet with the clip and its 16 kHz sound inside the row; for streaming
webdataset    data/SPLIT-NNNNN.tar with KEY.mp4 and KEY.json, about a gigabyte each; for training at scale
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ai_therapist.dataset.rows import TURNS
from ai_therapist.dataset.tables import Feature, Row, Table, write_table
from ai_therapist.media.sound import extract_speech
from ai_therapist.records import Split
from ai_therapist.store.blobs import link_or_copy

SHARD_BYTES = 1_000_000_000
"""Size from which a shard is full. A shard is never split inside a clip."""

_ABOUT = "One row for each turn that has a usable clip, labelled by what was said in it."

_TOLD: Mapping[str, Feature] = {name: kind for name, kind in TURNS.features.items() if name != "clip_faults"}

FOLDER = Table("default", _ABOUT, {"video": "video", **_TOLD})
PARQUET = Table("media", _ABOUT, {**_TOLD, "video": "video", "speech": "audio"})
SHARDS = Table("default", _ABOUT, {"mp4": "video", "json": _TOLD, "__key__": "string", "__url__": "string"})


class Layout(StrEnum):
    """How rows with media lie on disk."""

    VIDEOFOLDER = "videofolder"
    PARQUET = "parquet"
    WEBDATASET = "webdataset"


@dataclass(frozen=True)
class ClipRows:
    """Rows of turns that have a clip, by split, and where the file of a digest lies."""

    rows: Mapping[Split, Sequence[Row]]
    file_of: Callable[[str], Path]

    def files(self, split: Split) -> Iterator[tuple[Row, Path]]:
        """Rows of a split without what only the text table has, each with its clip."""
        for row in self.rows.get(split, ()):
            yield {name: row[name] for name in _TOLD}, self.file_of(str(row["clip_sha256"]))


def write_videofolder(clips: ClipRows, folder: Path) -> dict[Split, str]:
    """Write clips and metadata inside each split's folder; returns the pattern of each split's files."""
    patterns = {}
    for split in Split:
        lines = []
        for row, file in clips.files(split):
            name = f"{row['id']}.mp4"
            (folder / split.value).mkdir(parents=True, exist_ok=True)
            link_or_copy(file, folder / split.value / name)
            lines.append(json.dumps({"file_name": name, **row}, ensure_ascii=False) + "\n")
        if lines:
            (folder / split.value / "metadata.jsonl").write_text("".join(lines), "utf-8")
            patterns[split] = f"{split.value}/*"
    return patterns


def write_parquet(clips: ClipRows, folder: Path, scratch: Path) -> dict[Split, str]:
    """Write tables with clip and sound in the rows; returns the path of each split's file. Raises UnreadableMedia."""
    rows: dict[Split, list[Row]] = {}
    for split in Split:
        rows[split] = [
            {
                **row,
                "video": {"bytes": file.read_bytes(), "path": f"{row['id']}.mp4"},
                "speech": {"bytes": _speech(file, scratch), "path": f"{row['id']}.wav"},
            }
            for row, file in clips.files(split)
        ]
    written = write_table(PARQUET, rows, folder)
    return {split: path.relative_to(folder).as_posix() for split, path in written.items()}


def write_webdataset(clips: ClipRows, folder: Path, shard_bytes: int = SHARD_BYTES) -> dict[Split, str]:
    """Write tar shards, equal rows to equal bytes; returns the pattern of each split's shards."""
    patterns = {}
    for split in Split:
        for number, shard in enumerate(_shards(clips.files(split), shard_bytes)):
            patterns[split] = f"data/{split.value}-*.tar"
            (folder / "data").mkdir(parents=True, exist_ok=True)
            with tarfile.open(folder / "data" / f"{split.value}-{number:05}.tar", "w") as tar:
                for row, file in shard:
                    _add(tar, f"{row['id']}.mp4", file.read_bytes())
                    _add(tar, f"{row['id']}.json", json.dumps(row, ensure_ascii=False).encode())
    return patterns


def _shards(files: Iterable[tuple[Row, Path]], limit_bytes: int) -> Iterator[list[tuple[Row, Path]]]:
    """Rows in their order, cut where a shard is full; a clip is never split."""
    shard: list[tuple[Row, Path]] = []
    size_bytes = 0
    for row, file in files:
        shard.append((row, file))
        size_bytes += file.stat().st_size
        if size_bytes >= limit_bytes:
            yield shard
            shard, size_bytes = [], 0
    if shard:
        yield shard


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _speech(clip: Path, scratch: Path) -> bytes:
    """The clip's sound as 16 kHz mono WAV; an empty one for a clip without sound."""
    target = scratch / "speech.wav"
    extract_speech(clip, target)
    return target.read_bytes()
