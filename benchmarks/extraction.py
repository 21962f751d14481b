"""What the media stages cost against re-encoding every clip, and how exact their cuts are.

python benchmarks/extraction.py [--quick]

One synthetic recording, a head that moves and speaks before a textured wall with the noise of a camera, 640x360 at 30
frames a second with sound, goes through each way in turn; the processor time of this process is what counts, per
minute of recording. The predecessor's recipe: re-encode to 16 frames a second, take the sound out, re-encode every
clip. Ours: read through, take the sound out, encode once with keyframes, cut by copying packets, verify every clip.
The bare encode is one loop of FFmpeg's own parts with our codec settings and nothing else.

Then the clips: frames and packets against the span, the number written into each picture against the frame that the
recording shows at that time, and flashes against the clicks that sound with them, at constant and at variable frame
rate. `--quick` takes a third of the recording, once.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from reporting import finish

from ai_therapist.extraction.clips import cut_clips
from ai_therapist.extraction.config import ClipsConfig
from ai_therapist.extraction.turns import clip_frames
from ai_therapist.media import standardise as ours
from ai_therapist.media.frames import load_sound
from ai_therapist.media.guarded import seconds as seconds_of
from ai_therapist.media.probe import probe
from ai_therapist.media.sound import extract_speech
from ai_therapist.records import TimeSpan, Transcript, Utterance
from ai_therapist.store.blobs import hash_file
from ai_therapist.testing import make_digest, make_session

WIDTH_PX, HEIGHT_PX, FPS = 640, 360, 30
SOUND_HZ = 48_000
FULL_S, QUICK_S = 60, 20
RECIPE = {"preset": "fast", "crf": "23"}
MARK_PX = 16
"""Side of the squares in which each picture carries its number, one bit a square."""
MARK_BITS = 12
SKEW_MS = 20


def make_source(path: Path, seconds: int, *, variable: bool = False) -> Path:
    """Write the recording. With `variable` about a quarter of its frames is missing, unevenly."""
    rng = np.random.default_rng(7)
    wall = _texture(rng, HEIGHT_PX, WIDTH_PX + 16, 24)
    face = _texture(rng, 200, 160, 6) * 0.5 + 90
    rows, columns = np.mgrid[-1:1:200j, -1:1:160j]
    inside = rows**2 + columns**2 < 1
    noise = rng.normal(0, 2.5, (32, HEIGHT_PX, WIDTH_PX)).astype(np.float32)
    clicks = _sound(rng, seconds)
    with av.open(str(path), "w", format="mp4") as writer:
        video = writer.add_stream("libx264", FPS, {"preset": "veryfast", "crf": "20", "threads": "1"})
        video.width, video.height, video.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        audio = writer.add_stream("aac", SOUND_HZ, layout="stereo")
        for number in range(seconds * FPS):
            if variable and number % FPS and number * 7919 % 97 < 25:
                continue
            picture = wall[:, 8 : 8 + WIDTH_PX] + noise[int(rng.integers(32))]
            x = 240 + round(24 * np.sin(number / 17) + 6 * np.sin(number / 5))
            y = 80 + round(8 * np.sin(number / 11))
            picture[y : y + 200, x : x + 160][inside] = (
                face[inside] + noise[number % 32, :200, :160][inside] + 25 * np.sin(number / 40)
            )
            mouth = round(6 + 5 * np.sin(number * 1.3))
            picture[y + 140 : y + 140 + mouth, x + 55 : x + 105] = 40
            luma = np.clip(picture, 16, 235).astype(np.uint8)
            _mark(luma, number)
            chroma = np.full((HEIGHT_PX // 2, WIDTH_PX), 128, np.uint8)
            frame = VideoFrame.from_ndarray(np.concatenate([luma, chroma]), "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            writer.mux(video.encode(frame))
        writer.mux(video.encode(None))
        sound = AudioFrame.from_ndarray(clicks, "fltp", "stereo")
        sound.sample_rate, sound.pts, sound.time_base = SOUND_HZ, 0, Fraction(1, SOUND_HZ)
        cutter = AudioResampler("fltp", "stereo", SOUND_HZ, frame_size=1024)
        for piece in (*cutter.resample(sound), *cutter.resample(None)):
            writer.mux(audio.encode(piece))
        writer.mux(audio.encode(None))
    return path


def _texture(rng: np.random.Generator, height: int, width: int, grain: int) -> NDArray[np.float32]:
    """A smooth random field around 130."""
    coarse = rng.normal(0, 30, (height // grain + 2, width // grain + 2))
    fine = np.kron(coarse, np.ones((grain, grain)))
    kernel = np.ones(grain) / grain
    for axis in (0, 1):
        fine = np.apply_along_axis(np.convolve, axis, fine, kernel, "same")
    return (130 + fine[grain // 2 : grain // 2 + height, grain // 2 : grain // 2 + width]).astype(np.float32)


def _sound(rng: np.random.Generator, seconds: int) -> NDArray[np.float32]:
    """Noise that swells like syllables, and a loud click at every whole second, when the picture flashes."""
    times = np.arange(seconds * SOUND_HZ) / SOUND_HZ
    voice = 0.03 * rng.normal(size=times.size) * (1 + np.sin(2 * np.pi * 4 * times))
    voice[times % 1 < 0.01] = 0.9 * np.sin(2 * np.pi * 1000 * times[times % 1 < 0.01])
    return np.tile(voice.astype(np.float32), (2, 1))


def _mark(luma: NDArray[np.uint8], number: int) -> None:
    """Write a frame's number into its first rows, and a flash beside it where it begins a second."""
    bits = [number >> bit & 1 for bit in range(MARK_BITS)] + [number % FPS == 0]
    for place, bit in enumerate(bits):
        luma[:MARK_PX, place * MARK_PX : (place + 1) * MARK_PX] = 235 if bit else 16


def read_mark(frame: VideoFrame) -> tuple[int, bool]:
    """The number that a picture carries, and whether it flashes."""
    luma = frame.to_ndarray(format="gray")
    middle = MARK_PX // 2
    bits = [bool(luma[middle, place * MARK_PX + middle] > 125) for place in range(MARK_BITS + 1)]
    return sum(bit << place for place, bit in enumerate(bits[:-1])), bits[-1]


def make_turns(seconds: int) -> Transcript:
    """Turns of 3.2 to 6.4 s with short pauses, which cover about nine tenths of the recording."""
    rng = np.random.default_rng(11)
    session, now_ms = make_session(), 130
    spoken: list[Utterance] = []
    while now_ms + 6500 < seconds * 1000:
        end_ms = now_ms + int(rng.integers(3200, 6400))
        span = TimeSpan(start_ms=now_ms, end_ms=end_ms)
        spoken.append(Utterance.of(session.id, len(spoken), "AB"[len(spoken) % 2], span, "words"))
        now_ms = end_ms + int(rng.integers(100, 700))
    return Transcript(session=session.id, transcriber="benchmark", utterances=tuple(spoken))


def recode(
    source: Path,
    target: Path,
    picture: dict[str, str],
    sound: dict[str, str] | None,
    span: tuple[float, float] | None = None,
) -> None:
    """What `ffmpeg -ss A -to B -i source -vf fps=16 -c:v libx264 -c:a aac target` does, in one loop.

    Without settings for the sound it is copied, as by `-c:a copy`.
    """
    begin, end = span or (0.0, float("inf"))
    with av.open(str(source)) as reader, av.open(str(target), "w", format="mp4") as writer:
        shown, heard = reader.streams.video[0], reader.streams.audio[0]
        video = writer.add_stream("libx264", 16, dict(picture))
        video.width, video.height, video.pix_fmt = shown.width, shown.height, "yuv420p"
        if sound is None:
            audio = writer.add_stream_from_template(heard)
        else:
            audio = writer.add_stream("aac", heard.rate, dict(sound), layout=heard.layout.name)
        graph = Graph()
        entry, rate, leave = graph.add_buffer(template=shown), graph.add("fps", "16"), graph.add("buffersink")
        graph.link_nodes(entry, rate, leave).configure()
        cutter = AudioResampler("fltp", heard.layout.name, heard.rate, frame_size=1024)
        if span is not None:
            reader.seek(int(begin * 1_000_000))
        for packet in reader.demux(shown, heard):
            if packet.pts is not None and float(packet.pts * packet.time_base) > end + 1:
                break
            if sound is None and packet.stream is heard:
                if packet.size:
                    packet.stream = audio
                    writer.mux(packet)
                continue
            for frame in packet.decode():
                if not isinstance(frame, VideoFrame | AudioFrame) or not begin <= float(frame.time or 0) < end:
                    continue
                if isinstance(frame, VideoFrame):
                    entry.push(frame)
                    for made in _pulled(leave):
                        writer.mux(video.encode(made))
                elif isinstance(frame, AudioFrame):
                    frame.pts = None
                    for piece in cutter.resample(frame):
                        writer.mux(audio.encode(piece))
        entry.push(None)
        for made in _pulled(leave):
            writer.mux(video.encode(made))
        writer.mux(video.encode(None))
        if sound is not None:
            for piece in cutter.resample(None):
                writer.mux(audio.encode(piece))
            writer.mux(audio.encode(None))


def _pulled(leave: av.filter.context.FilterContext) -> Iterator[VideoFrame]:
    while True:
        try:
            frame = leave.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(frame, VideoFrame):
            # The encoder chooses the kind of frame.
            frame.pict_type = av.video.frame.PictureType.NONE
            yield frame


def take_sound_out(source: Path, target: Path) -> None:
    """The sound as MP3, as the predecessor sent it to be transcribed."""
    with av.open(str(source)) as reader, av.open(str(target), "w", format="mp3") as writer:
        heard = reader.streams.audio[0]
        stream = writer.add_stream("mp3", heard.rate, layout=heard.layout.name)
        cutter = AudioResampler(stream.format.name, heard.layout.name, heard.rate, frame_size=1152)
        for frame in reader.decode(heard):
            frame.pts = None
            for piece in cutter.resample(frame):
                writer.mux(stream.encode(piece))
        for piece in cutter.resample(None):
            writer.mux(stream.encode(piece))
        writer.mux(stream.encode(None))


def predecessor(source: Path, turns: Transcript, folder: Path) -> None:
    """The recipe of 2024: the recording and then every clip is encoded."""
    recode(source, folder / "video.mp4", RECIPE, {})
    take_sound_out(folder / "video.mp4", folder / "audio.mp3")
    for turn in turns.utterances:
        span = (turn.span.start_ms / 1000, turn.span.end_ms / 1000)
        recode(folder / "video.mp4", folder / f"{turn.id}.mp4", RECIPE, {}, span)


def our_way(source: Path, turns: Transcript, folder: Path) -> None:
    """All that extraction does with a recording besides recognising what is said."""
    media = probe(source, "recording", make_digest("recording"))
    extract_speech(source, folder / "audio.wav")
    starts = [frames.start for frames in clip_frames(turns.utterances)]
    ours.standardise(source, folder / "video.mp4", media, starts)
    hash_file(folder / "video.mp4")
    made = list(cut_clips(folder / "video.mp4", turns, ClipsConfig(), folder))
    if not all(one.clip.usable for one in made):
        raise SystemExit(f"clips with faults: {[sorted(one.clip.faults) for one in made if not one.clip.usable]}")


def _at_recipe(source: Path, turns: Transcript, folder: Path) -> None:
    """Our way at the predecessor's preset and quality."""
    usual = dict(ours.X264)
    ours.X264.update(RECIPE)
    try:
        our_way(source, turns, folder)
    finally:
        ours.X264.update(usual)


def cpu_s(work: Callable[[Path], None]) -> float:
    """Processor seconds of this process, all threads, for some work in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="extraction-"))
    begin = time.process_time()
    work(folder)
    spent = time.process_time() - begin
    shutil.rmtree(folder)
    return spent


@dataclass
class Exactness:
    """What the clips of one recording show."""

    clips: int = 0
    inexact: int = 0
    """Clips whose frames, packets or pictures are not those of their span."""
    skews_ms: list[float] = field(default_factory=list)
    """Of every flash in a clip, how far its click is from it."""


def measure_clips(source: Path, turns: Transcript, folder: Path) -> Exactness:
    """Cut a recording and look at every frame of every clip."""
    our_way(source, turns, folder)
    with av.open(str(source)) as container:
        shown = [
            (seconds_of(frame.pts or 0, frame.time_base), read_mark(frame)[0]) for frame in container.decode(video=0)
        ]
    found = Exactness()
    spans = clip_frames(turns.utterances)
    for one, frames in zip(cut_clips(folder / "video.mp4", turns, ClipsConfig(), folder), spans, strict=True):
        if one.path is None:
            continue
        with av.open(str(one.path)) as container:
            packets = sum(1 for packet in container.demux(video=0) if packet.size)
        with av.open(str(one.path)) as container:
            marks = [read_mark(frame) for frame in container.decode(video=0)]
        expected = [max(mark for time, mark in shown if time <= Fraction(number, 16)) for number in frames]
        found.clips += 1
        found.inexact += packets != len(frames) or [number for number, _ in marks] != expected
        loud = np.flatnonzero(np.abs(load_sound(one.path)) > 0.4) / 16
        for place, (_, flash) in enumerate(marks):
            # The first frame that flashes; a click that the clip cuts into has no place.
            if flash and place and not marks[place - 1][1] and place < len(marks) - 2:
                at_ms = place * 62.5
                near = loud[np.abs(loud - at_ms) < 500]
                found.skews_ms.append(float(near[0]) - at_ms if near.size else 500.0)
    return found


def main() -> None:
    """Measure, and compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the recording, once")
    quick = parser.parse_args().quick
    seconds = QUICK_S if quick else FULL_S
    turns = make_turns(seconds)
    spent: dict[str, float] = {}
    figures: dict[str, object] = {"seconds": seconds, "clips": len(turns.utterances)}
    with tempfile.TemporaryDirectory() as home:
        source = make_source(Path(home) / "source.mp4", seconds)
        bare = dict(ours.X264)
        ways: dict[str, Callable[[Path], None]] = {
            "predecessor": lambda folder: predecessor(source, turns, folder),
            "ours_same_preset": lambda folder: _at_recipe(source, turns, folder),
            "ours": lambda folder: our_way(source, turns, folder),
            "bare_encode": lambda folder: recode(source, folder / "video.mp4", bare, None),
        }
        for _ in range(1 if quick else 2):
            for name, way in ways.items():
                spent[name] = min(spent.get(name, float("inf")), cpu_s(way) * 60 / seconds)
        for name, cost in spent.items():
            print(f"{name:18}{cost:6.2f} processor seconds for a minute of recording")
        figures |= {f"{name}_cpu_s_per_min": round(cost, 2) for name, cost in spent.items()}
        skews, inexact = [], 0
        for kind, variable in (("constant", False), ("variable", True)):
            folder = Path(home) / kind
            folder.mkdir()
            part = make_source(folder / "source.mp4", QUICK_S, variable=variable)
            found = measure_clips(part, make_turns(QUICK_S), folder)
            skew = max((abs(skew) for skew in found.skews_ms), default=float("inf"))
            print(
                f"{kind} rate: {found.clips} clips, {found.inexact} inexact, "
                f"{len(found.skews_ms)} clicks, {skew:.1f} ms"
            )
            figures |= {
                f"{kind}_clips": found.clips,
                f"{kind}_clicks": len(found.skews_ms),
                f"{kind}_skew_ms": round(skew, 1),
            }
            skews.append(skew)
            inexact += found.inexact
    ratios = {
        "times_cheaper_same_preset": spent["predecessor"] / spent["ours_same_preset"],
        "times_cheaper": spent["predecessor"] / spent["ours"],
        "of_bare_encode": spent["ours"] / spent["bare_encode"],
    }
    figures |= {name: round(ratio, 2) for name, ratio in ratios.items()} | {"inexact_clips": inexact}
    holds = (
        ratios["times_cheaper_same_preset"] >= 2.5
        and ratios["times_cheaper"] >= 5
        and ratios["of_bare_encode"] <= 1.25
        and inexact == 0
        and max(skews) <= SKEW_MS
    )
    bar = (
        "at the same preset >= 2.5 times cheaper than encoding every clip, as set >= 5 times; "
        "<= 1.25 of a bare encode; every clip exact, sound and picture within 20 ms, "
        "at constant and variable frame rate"
    )
    finish("extraction", figures, bar, holds=holds)


if __name__ == "__main__":
    main()
