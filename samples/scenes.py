"""Turn one written dialogue into a scene: who speaks when, what the microphone hears, what the camera sees.

    dialogue (JSON) ── voices.speak ──▶ Line · Line · Line ──▶ mix()      sound, 16 kHz
                                              │
                                              └─────────────▶ Camera      picture at any millisecond

Times are integer milliseconds from the start of the session; spans are half-open.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faces
import numpy as np
import voices
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

WIDTH_PX = 384
LEAD_MS = 400
"""Silence before the first word."""
TAIL_MS = 500
GRID_MS = 200
"""Sessions last a multiple of this: whole frames at 25 and at 30 per second."""

ROOM_TONE_DBFS = -63.0
"""A little hiss, because no real room is digitally silent."""

THERAPIST_LOOK = faces.Look((236, 196, 166), (104, 84, 72), (70, 100, 118), "short", glasses=True, beard=True)

EASE_IN_MS = 350
EASE_OUT_MS = 900
AHEAD_MS = 250
"""A face changes this long before its owner speaks."""
AFTERGLOW = 0.45
"""The share of an emotion that stays on a listening face."""

OPENNESS = {
    **dict.fromkeys(("aa", "ae", "ah", "ao", "aw", "ay"), 0.9),
    **dict.fromkeys(("eh", "ey", "er", "ax", "axr", "ow", "oy"), 0.6),
    **dict.fromkeys(("iy", "ih", "uh", "uw", "y", "l", "r", "hh"), 0.4),
    **dict.fromkeys(("m", "b", "p", "pau"), 0.0),
    **dict.fromkeys(("f", "v", "w"), 0.15),
}
"""How far each phone opens the mouth, 0 .. 1; the others 0.25."""
SPREAD = {**dict.fromkeys(("iy", "ih", "ey", "s", "z"), 0.12), **dict.fromkeys(("uw", "ow", "w", "oy"), -0.3)}
"""What each phone adds to the width of the mouth."""


@dataclass(frozen=True)
class Line:
    """One utterance at its place in the session."""

    role: str
    emotion: str
    strategy: str | None
    text: str
    start_ms: int
    speech: voices.Speech

    @property
    def end_ms(self) -> int:
        """The end of the last phone."""
        return self.start_ms + self.speech.duration_ms


@dataclass(frozen=True)
class Scene:
    """One session, spoken and timed."""

    session: str
    group: str
    traits: tuple[str, ...]
    fps: str
    """`"25/1"`, `"30/1"` or `"variable"`."""
    wall: faces.Colour
    looks: dict[str, faces.Look]
    """By role, in order from left to right."""
    lines: tuple[Line, ...]
    duration_ms: int


def read_dialogue(path: Path) -> Scene:
    """The scene of a dialogue file; the lines are spoken here.

    Raises KeyError for a missing field and RuntimeError when flite fails.
    """
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    lines: list[Line] = []
    clock_ms = LEAD_MS
    for item in data["lines"]:
        pitch = float(data["client_pitch"]) if item["role"] == "CLIENT" else 1.0
        speech = voices.speak(item["text"], item["role"], item["emotion"], pitch)
        start_ms = clock_ms + item["pause_ms"]
        lines.append(
            Line(item["role"], item["emotion"], item["strategy"], item["text"], start_ms, speech),
        )
        clock_ms = max(clock_ms, lines[-1].end_ms)
    looks = {"THERAPIST": THERAPIST_LOOK}
    if "other" in data["looks"]:
        looks["OTHER"] = _look(data["looks"]["other"])
    looks["CLIENT"] = _look(data["looks"]["client"])
    return Scene(
        session=data["session"],
        group=data["group"],
        traits=tuple(data["traits"]),
        fps=data["fps"],
        wall=_colour(data["wall"]),
        looks=looks,
        lines=tuple(lines),
        duration_ms=math.ceil((clock_ms + TAIL_MS) / GRID_MS) * GRID_MS,
    )


def _colour(values: list[int]) -> faces.Colour:
    red, green, blue = values
    return red, green, blue


def _look(data: dict[str, Any]) -> faces.Look:
    return faces.Look(
        skin=_colour(data["skin"]),
        hair=_colour(data["hair"]),
        shirt=_colour(data["shirt"]),
        style=data["style"],
        glasses=data.get("glasses", False),
        beard=data.get("beard", False),
    )


def mix(scene: Scene) -> NDArray[np.float64]:
    """All lines at their places over a low room tone: 16 kHz mono, -1 .. 1, exactly `duration_ms` long."""
    length = scene.duration_ms * voices.SAMPLES_PER_MS
    random = np.random.default_rng(_seed(scene.session))
    tone = np.convolve(random.standard_normal(length + 3), np.ones(4) / 4, mode="valid")
    sound = tone * (10 ** (ROOM_TONE_DBFS / 20) / np.sqrt(np.mean(tone**2)))
    for line in scene.lines:
        first = (line.start_ms - voices.EDGE_MS) * voices.SAMPLES_PER_MS
        sound[first : first + line.speech.samples.size] += line.speech.samples
    bounded: NDArray[np.float64] = np.clip(sound, -0.99, 0.99)
    return bounded


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _eased(value: float) -> float:
    """A smooth step: 0 below 0, 1 above 1, level at both ends."""
    bounded = min(1.0, max(0.0, value))
    return bounded * bounded * (3 - 2 * bounded)


class Camera:
    """The picture of a scene at any time; equal panels are drawn once."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        room = _room(scene)
        count = len(scene.looks)
        step = room.size[0] // count
        self._walls = {
            role: room.crop((index * step, 0, (index + 1) * step, room.size[1]))
            for index, role in enumerate(scene.looks)
        }
        self._blinks = {role: _blinks(scene, role) for role in scene.looks}
        self._panel = functools.lru_cache(maxsize=4000)(self._draw_panel)

    def frame(self, at_ms: float) -> NDArray[np.uint8]:
        """The picture as height x width x 3 bytes."""
        panels = []
        for role in self._scene.looks:
            pose, halo, glow = self._pose(role, at_ms)
            panels.append(self._panel(role, faces.rounded(pose), halo, round(glow * 20) / 20))
        picture = Image.new("RGB", (WIDTH_PX, faces.HEIGHT_PX))
        for index, panel in enumerate(panels):
            picture.paste(panel, (index * (WIDTH_PX // len(panels)), 0))
        _caption(picture)
        return np.asarray(picture)

    def _draw_panel(self, role: str, pose: faces.Pose, halo: faces.Colour, glow: float) -> Image.Image:
        return faces.draw_person(self._walls[role], self._scene.looks[role], pose, halo, glow)

    def _pose(self, role: str, at_ms: float) -> tuple[faces.Pose, faces.Colour, float]:
        """Face, light and strength of the light of one person."""
        calm = faces.POSE_OF_EMOTION["neutral"]
        pose, halo, glow = calm, faces.HALO_OF_EMOTION["neutral"], 0.3
        for line in self._scene.lines:
            begin_ms = line.start_ms - AHEAD_MS
            if line.role != role or at_ms < begin_ms:
                continue
            felt = faces.POSE_OF_EMOTION[line.emotion]
            rise = _eased((at_ms - begin_ms) / EASE_IN_MS)
            pose = faces.mixed(pose, felt, rise)
            halo = faces.mixed_colour(halo, faces.HALO_OF_EMOTION[line.emotion], round(rise * 8) / 8)
            glow += (0.95 - glow) * rise
            fall = _eased((at_ms - line.end_ms) / EASE_OUT_MS)
            pose = faces.mixed(pose, faces.mixed(calm, felt, AFTERGLOW), fall)
            glow += (0.5 - glow) * fall
            if line.start_ms <= at_ms < line.end_ms:
                pose = _speaking(pose, line, at_ms)
        return self._with_reflexes(role, pose, at_ms), halo, glow

    def _with_reflexes(self, role: str, pose: faces.Pose, at_ms: float) -> faces.Pose:
        """The pose with blinking; a therapist also nods when somebody else ends a line, and never weeps."""
        if any(start <= at_ms < start + 130 for start in self._blinks[role]):
            pose = replace(pose, eye_open=0.0)
        if role == "THERAPIST":
            pose = replace(pose, tear=0.0)
            for line in self._scene.lines:
                since = at_ms - line.end_ms + 150
                if line.role != role and 0 <= since < 520:
                    pose = replace(pose, sink_px=pose.sink_px + 3.0 * math.sin(math.pi * since / 520))
        return pose


def _blinks(scene: Scene, role: str) -> list[float]:
    """The times at which one person blinks: every 2.2 to 5 s."""
    random = np.random.default_rng(_seed(f"{scene.session} {role}"))
    times: list[float] = []
    clock_ms = float(random.uniform(300, 2500))
    while clock_ms < scene.duration_ms:
        times.append(clock_ms)
        clock_ms += float(random.uniform(2200, 5000))
    return times


def _speaking(pose: faces.Pose, line: Line, at_ms: float) -> faces.Pose:
    """The pose with the mouth of the phone spoken at this time and the small movements of a speaking head."""
    inside_ms = at_ms - line.start_ms
    middles = [(phone.start_ms + phone.end_ms) / 2 for phone in line.speech.phones]
    opening = np.interp(inside_ms, middles, [OPENNESS.get(phone.name, 0.25) for phone in line.speech.phones])
    spread = np.interp(inside_ms, middles, [SPREAD.get(phone.name, 0.0) for phone in line.speech.phones])
    swing = min(1.0, inside_ms / 400, (line.end_ms - at_ms) / 400)
    return replace(
        pose,
        mouth_open=float(opening),
        mouth_width=pose.mouth_width + float(spread),
        sink_px=pose.sink_px + 0.8 * swing * math.sin(inside_ms / 210),
        sway_px=1.4 * swing * math.sin(inside_ms / 520),
    )


def _room(scene: Scene) -> Image.Image:
    """The wall, a picture, a plant and the chairs, enlarged by `faces.OVERSAMPLING`."""
    size = (WIDTH_PX * faces.OVERSAMPLING, faces.HEIGHT_PX * faces.OVERSAMPLING)
    rows = np.linspace(0.14, -0.12, size[1])[:, None, None]
    base = np.array(scene.wall, dtype=np.float64)[None, None, :]
    shaded = np.where(rows > 0, base + (255 - base) * rows, base * (1 + rows))
    room = Image.fromarray(np.broadcast_to(shaded, (size[1], size[0], 3)).astype(np.uint8))
    brush = ImageDraw.Draw(room, "RGBA")
    unit = faces.OVERSAMPLING
    if len(scene.looks) == 2:
        _draw_picture(brush, unit)
        _draw_plant(brush, unit)
    width = size[0] // len(scene.looks)
    reach = min(66, width // unit // 2 - 5) * unit
    for index in range(len(scene.looks)):
        middle = index * width + width // 2
        cushion = tuple(round(0.72 * part) for part in scene.wall)
        brush.rounded_rectangle(
            (middle - reach, 112 * unit, middle + reach, size[1] + 40), radius=22 * unit, fill=cushion
        )
    return room


def _draw_picture(brush: ImageDraw.ImageDraw, unit: int) -> None:
    """A small framed landscape between the two people."""
    brush.rectangle((170 * unit, 22 * unit, 214 * unit, 62 * unit), fill=(250, 246, 238))
    brush.rectangle((174 * unit, 26 * unit, 210 * unit, 58 * unit), fill=(176, 206, 220))
    brush.ellipse((196 * unit, 30 * unit, 204 * unit, 38 * unit), fill=(250, 222, 150))
    hill = [(174, 58), (174, 50), (183, 43), (192, 50), (200, 45), (210, 52), (210, 58)]
    brush.polygon([(x * unit, y * unit) for x, y in hill], fill=(120, 156, 122))


def _draw_plant(brush: ImageDraw.ImageDraw, unit: int) -> None:
    """A plant on the floor between the two people."""
    for angle, length in ((-64, 40), (-34, 52), (-8, 60), (20, 54), (50, 44)):
        tip = (192 + length * math.sin(math.radians(angle)), 188 - length * math.cos(math.radians(angle)))
        side = (5 * math.cos(math.radians(angle)), 5 * math.sin(math.radians(angle)))
        half = ((192 + tip[0]) / 2, (188 + tip[1]) / 2)
        leaf = [
            (192, 188),
            (half[0] + side[0], half[1] + side[1]),
            tip,
            (half[0] - side[0], half[1] - side[1]),
        ]
        brush.polygon([(x * unit, y * unit) for x, y in leaf], fill=(92, 138, 98))
    pot = [(178, 184), (206, 184), (202, 214), (182, 214)]
    brush.polygon([(x * unit, y * unit) for x, y in pot], fill=(192, 122, 92))


def _caption(picture: Image.Image) -> None:
    """What everybody who sees a frame alone should know."""
    brush = ImageDraw.Draw(picture, "RGBA")
    brush.text(
        (picture.size[0] - 4, picture.size[1] - 2),
        "fictional role-play, synthetic voices",
        fill=(255, 255, 255, 190),
        font=_caption_font(),
        anchor="rb",
    )


@functools.cache
def _caption_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(9)
