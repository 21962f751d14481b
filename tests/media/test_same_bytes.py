"""Equal input gives equal bytes: on busy cores, on one core or several, whatever memory held before.

Each run is a process of its own. MALLOC_PERTURB_ fills memory that glibc gives out with another byte in each, so that a
part which reads what nobody wrote shows at once. (x264's tree did, with AVX-512: one run of forty gave other bytes.)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from ai_therapist.media.cut import cut
from ai_therapist.media.probe import probe
from ai_therapist.media.sound import extract_speech
from ai_therapist.media.standardise import standardise
from ai_therapist.store.blobs import hash_file
from ai_therapist.testing import RecordingSpec, make_digest, make_recording

ROOT = Path(__file__).parents[2]
STARTS = (0, 7, 19, 40)
SPECS = {
    "copied sound.mp4": RecordingSpec(duration_ms=3000, size_px=(96, 64), fps=60),
    "encoded sound.mkv": RecordingSpec(duration_ms=3000, size_px=(322, 182), fps=25),
    "scaled.mov": RecordingSpec(duration_ms=3000, size_px=(130, 98), fps=30, keep=lambda number: number % 7 != 3),
    "packed.avi": RecordingSpec(duration_ms=1000),
    "streamed.ts": RecordingSpec(duration_ms=1000),
    "sound alone.m4a": RecordingSpec(picture=False),
}


def digests(folder: Path) -> dict[str, str]:
    """Digest of every recording, standardised recording, sound and clip that one run makes."""
    found: dict[str, str] = {}
    for name, spec in SPECS.items():
        source = make_recording(folder / name, spec)
        extract_speech(source, folder / "audio.wav")
        found |= {name: hash_file(source), f"{name} audio": hash_file(folder / "audio.wav")}
        if not spec.picture:
            continue
        video = folder / "video.mp4"
        standardise(source, video, probe(source, "recording", make_digest("x")), STARTS)
        found[f"{name} video"] = hash_file(video)
        if spec.duration_ms < 3000:
            continue
        for begin, end in pairwise(STARTS):
            cut(video, folder / "clip.mp4", range(begin, end))
            found[f"{name} clip {begin}"] = hash_file(folder / "clip.mp4")
    return found


def work(folder: str) -> None:
    """What one process does: on the cores that it is given, among others that keep them busy."""
    os.sched_setaffinity(0, json.loads(os.environ["CORES"]))
    print(json.dumps(digests(Path(folder))))


def runs(folder: Path, count: int) -> list[dict[str, str]]:
    """What so many runs made, three at a time with a busy loop beside them."""
    cores = sorted(os.sched_getaffinity(0))
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    made: list[dict[str, str]] = []
    try:
        for first in range(0, count, 3):
            started = []
            for number in range(first, min(first + 3, count)):
                place = folder / str(number)
                place.mkdir()
                environment = os.environ | {
                    "MALLOC_PERTURB_": str(number * 37 % 255 + 1),
                    "CORES": json.dumps(cores if number % 2 else cores[:1]),
                }
                call = f"from tests.media.test_same_bytes import work; work({str(place)!r})"
                started.append(
                    subprocess.Popen(
                        [sys.executable, "-c", call], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
                    )
                )
            made += [json.loads(process.communicate(timeout=240)[0]) for process in started]
    finally:
        busy.kill()
        busy.wait()
    return made


def differences(made: list[dict[str, str]]) -> dict[str, int]:
    """Of what differs between runs, how many kinds there were."""
    kinds = {name: len({run[name] for run in made}) for name in made[0]}
    return {name: count for name, count in kinds.items() if count > 1}


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="cores are chosen as Linux does it")


@needs_linux
@pytest.mark.timeout(300)
def test_four_runs_give_the_same_bytes(tmp_path: Path) -> None:
    made = runs(tmp_path, 4)
    assert len(made[0]) == 26
    assert differences(made) == {}


@needs_linux
@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_sixty_runs_give_the_same_bytes(tmp_path: Path) -> None:
    assert differences(runs(tmp_path, 60)) == {}
