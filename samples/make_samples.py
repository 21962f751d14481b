"""Make the fictional sample sessions again from their dialogues.

    python samples/make_samples.py                 # all of them, about five minutes on two cores
    python samples/make_samples.py grief exams     # only these

Needs Debian's `flite` and the Python packages av, numpy, pillow and pocketsphinx (for its word list). Every file in
`dialogues/` becomes `recordings/NAME.mp4`, `recordings/NAME.consent.json` and `gold/NAME.json`; `truncated` becomes a
recording that ends in the middle, without gold. Word times are those of flite's own segment output (see `voices.py`),
not of a recogniser. The same versions of flite, PyAV, numpy and Pillow give the same bytes.

Exit code 1 and one line per word when a dialogue uses a word that PocketSphinx's dictionary lacks.
"""

from __future__ import annotations

import json
import string
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import faces
import numpy as np
import scenes
import voices
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
TRUNCATED = "truncated"
TRUNCATED_SHARE = 0.6
"""The share of the bytes that is kept of the truncated recording."""

AUDIO_HZ = 48_000
AUDIO_BITS_PER_S = 64_000
AUDIO_FRAME = 1024
"""Samples in one AAC frame."""

TICKS_PER_S = 30_000
"""The clock of the picture: whole ticks per frame at 25 and at 30 frames per second."""
VARIABLE_TICKS = (1000, 1000, 1200, 1500, 2000)
"""Frame durations of the variable-frame-rate recording, drawn at random: 15 to 30 frames per second."""

X264 = {"crf": "27", "preset": "slow", "tune": "animation", "threads": "1"}
"""One thread, because x264 makes other bytes with another number of threads."""

RECORDED_ON = "2026-11-22"


def main(names: list[str]) -> int:
    """Make the named sessions, or all; gives the exit code."""
    paths = sorted((HERE / "dialogues").glob("*.json"))
    chosen = [path for path in paths if not names or path.stem in names]
    unknown = set(names) - {path.stem for path in paths}
    if unknown:
        print(f"no such dialogue: {', '.join(sorted(unknown))}")
        return 2
    if complaints := [line for path in chosen for line in missing_words(path)]:
        print("\n".join(complaints))
        return 1
    with ProcessPoolExecutor() as pool:
        for report in pool.map(make_session, chosen):
            print(report, flush=True)
    return 0


def missing_words(path: Path) -> list[str]:
    """One line for each word of a dialogue that PocketSphinx's dictionary lacks."""
    from pocketsphinx import get_model_path

    entries = Path(get_model_path("en-us/cmudict-en-us.dict")).read_text(encoding="utf-8").splitlines()
    known = {entry.split(maxsplit=1)[0] for entry in entries if entry.strip()}
    lines = json.loads(path.read_text(encoding="utf-8"))["lines"]
    words = {word.lower() for line in lines for word in voices.spoken_words(line["text"])}
    return [f"{path.name}: {word!r} is not in the dictionary" for word in sorted(words - known)]


def make_session(path: Path) -> str:
    """Write recording, consent record and gold of one dialogue; gives a line that says so."""
    scene = scenes.read_dialogue(path)
    recording = HERE / "recordings" / f"{scene.session}.mp4"
    recording.parent.mkdir(exist_ok=True)
    truncated = scene.session == TRUNCATED
    write_recording(scene, recording, index_first=not truncated)
    if truncated:
        content = recording.read_bytes()
        recording.write_bytes(content[: int(len(content) * TRUNCATED_SHARE)])
    else:
        _write_json(HERE / "gold" / f"{scene.session}.json", gold_of(scene))
    _write_json(recording.with_suffix(".consent.json"), consent_of(scene))
    return f"{scene.session:14} {scene.duration_ms / 1000:5.1f} s {recording.stat().st_size / 1e6:5.2f} MB"


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def consent_of(scene: scenes.Scene) -> dict[str, Any]:
    """The consent record: nobody real took part."""
    return {
        "group": scene.group,
        "consent": {
            "basis": "fictional_role_play",
            "permitted_uses": [
                "transcribe",
                "annotate",
                "annotate_cloud",
                "emotion_from_media",
                "train",
                "publish",
            ],
            "evidence": "Invented dialogue, synthetic voices and drawn faces: no real person was recorded.",
            "recorded_on": RECORDED_ON,
            "expires_on": None,
            "revocation_contact": None,
            "subject": "role_play",
            "adults_only": True,
        },
    }


def gold_of(scene: scenes.Scene) -> dict[str, Any]:
    """The known answers of a scene; times in milliseconds, spans half-open.

    Speaker labels follow the order of first appearance, so a label never tells the role.
    """
    labels: dict[str, str] = {}
    utterances = []
    for line in scene.lines:
        label = labels.setdefault(line.role, string.ascii_uppercase[len(labels)])
        utterances.append(
            {
                "speaker": label,
                "role": line.role,
                "start_ms": line.start_ms,
                "end_ms": line.end_ms,
                "text": line.text,
                "words": [
                    {
                        "text": word.text,
                        "start_ms": line.start_ms + word.start_ms,
                        "end_ms": line.start_ms + word.end_ms,
                    }
                    for word in line.speech.words
                ],
                "emotion": line.emotion,
                "strategy": line.strategy,
            }
        )
    return {
        "session": scene.session,
        "traits": list(scene.traits),
        "fps": scene.fps,
        "duration_ms": scene.duration_ms,
        "utterances": utterances,
    }


def write_recording(scene: scenes.Scene, path: Path, *, index_first: bool) -> None:
    """Encode sound and picture of a scene as H.264 and AAC in mp4.

    `index_first` puts the index (moov) before the media; otherwise it comes last, and a cut file cannot be opened.
    """
    options = {"fflags": "+bitexact", "movflags": "+faststart" if index_first else "0"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        rate = 30 if scene.fps == "variable" else Fraction(scene.fps)
        picture = container.add_stream("libx264", rate=rate, options=X264)
        picture.width, picture.height, picture.pix_fmt = scenes.WIDTH_PX, faces.HEIGHT_PX, "yuv420p"
        picture.time_base = picture.codec_context.time_base = Fraction(1, TICKS_PER_S)
        picture.codec_context.flags |= av.codec.context.Flags.bitexact
        sound = container.add_stream("aac", rate=AUDIO_HZ, layout="mono")
        sound.bit_rate = AUDIO_BITS_PER_S
        sound.codec_context.flags |= av.codec.context.Flags.bitexact
        camera = scenes.Camera(scene)
        pieces = _audio_frames(scene)
        heard_ms = 0.0
        for tick, length in _frame_ticks(scene):
            at_ms = tick * 1000 / TICKS_PER_S
            # Sound and picture go in side by side: the muxer gives up ordering after ten seconds of one alone.
            while heard_ms <= at_ms and (piece := next(pieces, None)) is not None:
                container.mux(sound.encode(piece))
                heard_ms += AUDIO_FRAME * 1000 / AUDIO_HZ
            frame = av.VideoFrame.from_ndarray(camera.frame(at_ms), format="rgb24")
            frame.pts, frame.duration, frame.time_base = tick, length, Fraction(1, TICKS_PER_S)
            container.mux(picture.encode(frame))
        for piece in pieces:
            container.mux(sound.encode(piece))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))


def _frame_ticks(scene: scenes.Scene) -> Iterator[tuple[int, int]]:
    """Time and duration of each frame, in ticks."""
    end = scene.duration_ms * TICKS_PER_S // 1000
    random = np.random.default_rng(7)
    tick = 0
    while tick < end:
        if scene.fps == "variable":
            length = int(random.choice(VARIABLE_TICKS))
        else:
            length = int(TICKS_PER_S / Fraction(scene.fps))
        yield tick, min(length, end - tick)
        tick += length


def _audio_frames(scene: scenes.Scene) -> Iterator[av.AudioFrame]:
    """The sound of a scene as AAC-sized frames at `AUDIO_HZ`; the last one may be shorter."""
    sound = upsampled(scenes.mix(scene)).astype(np.float32)
    for first in range(0, sound.size, AUDIO_FRAME):
        piece = np.ascontiguousarray(sound[None, first : first + AUDIO_FRAME])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_HZ, first, Fraction(1, AUDIO_HZ)
        yield frame


def upsampled(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sound at `voices.RATE_HZ` brought to `AUDIO_HZ`: its spectrum is zero-padded, so nothing is delayed."""
    factor = AUDIO_HZ // voices.RATE_HZ
    return np.fft.irfft(np.fft.rfft(sound), sound.size * factor) * factor


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
