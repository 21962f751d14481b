"""Draw one person of a sample session: a simple face whose brows, eyes, mouth and colour follow the emotion.

A panel is the part of the picture that one person sits in, 216 px high. Everything is drawn three times too large with
Pillow and then averaged down, which is all the smoothing there is. Coordinates below are panel pixels before that
enlargement, with the middle of the head at (0, 0), x to the right and y down.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image, ImageDraw

OVERSAMPLING = 3
HEIGHT_PX = 216
HEAD_Y_PX = 96
"""The middle of the head, from the top of the panel."""

Colour = tuple[int, int, int]
Point = tuple[float, float]

HALO_OF_EMOTION: dict[str, Colour] = {
    "anger": (222, 92, 74),
    "sadness": (92, 138, 206),
    "disgust": (136, 166, 84),
    "depression": (112, 118, 136),
    "neutral": (250, 240, 222),
    "joy": (255, 205, 92),
    "fear": (160, 122, 204),
}
"""The soft light behind the head."""


@dataclass(frozen=True)
class Look:
    """What a person keeps through a whole session."""

    skin: Colour
    hair: Colour
    shirt: Colour
    style: str
    """One of `short`, `bob`, `long`, `bun`, `curly`, `ponytail`."""
    glasses: bool = False
    beard: bool = False


@dataclass(frozen=True)
class Pose:
    """What a face does at one moment; every number is 0 for a calm face unless said otherwise."""

    brow_lift: float = 0.0
    """-1 lowered .. 1 raised."""
    brow_tilt: float = 0.0
    """-1 inner ends down (anger) .. 1 inner ends up (sorrow, fear)."""
    eye_open: float = 1.0
    """0 closed .. 1 normal .. 1.4 wide."""
    smile: float = 0.0
    """-1 corners down .. 1 corners up."""
    skew: float = 0.0
    """0 .. 1: one side of the upper lip raised and the nose wrinkled."""
    tear: float = 0.0
    blush: float = 0.0
    """0 .. 1: red cheeks."""
    pale: float = 0.0
    """0 .. 1: colour leaves the skin."""
    mouth_open: float = 0.0
    mouth_width: float = 1.0
    """0.6 rounded .. 1 normal .. 1.2 spread."""
    sink_px: float = 0.0
    """The head lowered by so much."""
    sway_px: float = 0.0


POSE_OF_EMOTION: dict[str, Pose] = {
    "anger": Pose(brow_lift=-0.5, brow_tilt=-1.0, eye_open=0.85, smile=-0.6, blush=0.9, mouth_width=0.95),
    "sadness": Pose(brow_lift=0.1, brow_tilt=0.9, eye_open=0.75, smile=-0.7, tear=1.0, sink_px=1.5),
    "disgust": Pose(brow_lift=-0.3, brow_tilt=-0.45, eye_open=0.55, smile=-0.5, skew=1.0, mouth_width=0.9),
    "depression": Pose(brow_lift=-0.2, brow_tilt=0.55, eye_open=0.45, smile=-0.4, pale=0.7, sink_px=5.0),
    "neutral": Pose(smile=0.12),
    "joy": Pose(brow_lift=0.5, eye_open=0.8, smile=1.0, blush=0.5, mouth_width=1.15, sink_px=-1.0),
    "fear": Pose(brow_lift=0.9, brow_tilt=0.75, eye_open=1.35, smile=-0.3, pale=1.0, mouth_width=0.8),
}

STEP_OF_FIELD = {"sink_px": 1 / 3, "sway_px": 1 / 3, "mouth_width": 0.1}
"""Poses are rounded to these steps (0.125 for the rest), so that equal ones are drawn once."""


def mixed(first: Pose, second: Pose, share: float) -> Pose:
    """The pose that lies `share` (0 .. 1) of the way from the first to the second."""
    values = {
        field.name: (1 - share) * getattr(first, field.name) + share * getattr(second, field.name)
        for field in fields(Pose)
    }
    return Pose(**values)


def rounded(pose: Pose) -> Pose:
    """The pose on the grid of `STEP_OF_FIELD`."""
    values = {}
    for field in fields(Pose):
        step = STEP_OF_FIELD.get(field.name, 0.125)
        values[field.name] = round(getattr(pose, field.name) / step) * step
    return Pose(**values)


def mixed_colour(first: Colour, second: Colour, share: float) -> Colour:
    """The colour that lies `share` (0 .. 1) of the way from the first to the second."""
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(first, second, strict=True))
    return red, green, blue


def draw_person(wall: Image.Image, look: Look, pose: Pose, halo: Colour, glow: float) -> Image.Image:
    """The panel `wall` (drawn `OVERSAMPLING` times too large) with the person in it, at final size.

    `glow` (0 .. 1) is the strength of the light of colour `halo` behind the head.
    """
    picture = Image.composite(Image.new("RGB", wall.size, halo), wall, _light(wall.size, round(glow * 200)))
    width_px = wall.size[0] / OVERSAMPLING
    scale = OVERSAMPLING * min(1.0, width_px / 160)
    brush = _Brush(
        picture,
        scale,
        (width_px * OVERSAMPLING / 2 + pose.sway_px * scale, (HEAD_Y_PX + pose.sink_px) * OVERSAMPLING),
    )
    grey = min(255, round(sum(look.skin) / 3) + 14)
    skin = mixed_colour(look.skin, (grey, grey, grey), 0.4 * pose.pale)
    _hair_behind(brush, look)
    _body(brush, look, skin, pose)
    _head(brush, look, skin, pose)
    _eyes(brush, look, pose)
    _mouth(brush, skin, pose)
    _hair_in_front(brush, look)
    return picture.reduce(OVERSAMPLING)


@functools.cache
def _light(size: tuple[int, int], strength: int) -> Image.Image:
    """A round mask that fades from `strength` (0 .. 255) behind the head to 0."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    distance = np.hypot(columns - size[0] / 2, rows - HEAD_Y_PX * OVERSAMPLING)
    distance /= min(96 * OVERSAMPLING, 0.62 * size[0])
    mask = strength * np.clip(1.0 - distance**2, 0.0, 1.0)
    return Image.fromarray(mask.astype(np.uint8))


class _Brush:
    """Shapes in face coordinates on the enlarged picture."""

    def __init__(self, picture: Image.Image, scale: float, middle: Point) -> None:
        self._draw = ImageDraw.Draw(picture, "RGBA")
        self._scale = scale
        self._middle = middle

    def _at(self, point: Point) -> Point:
        return self._middle[0] + point[0] * self._scale, self._middle[1] + point[1] * self._scale

    def oval(self, middle: Point, radii: Point, fill: Colour, alpha: int = 255) -> None:
        left, top = self._at((middle[0] - radii[0], middle[1] - radii[1]))
        right, bottom = self._at((middle[0] + radii[0], middle[1] + radii[1]))
        if bottom > top and right > left:
            self._draw.ellipse((left, top, right, bottom), fill=(*fill, alpha))

    def shape(self, points: list[Point], fill: Colour, alpha: int = 255) -> None:
        self._draw.polygon([self._at(point) for point in points], fill=(*fill, alpha))

    def stroke(self, points: list[Point], width: float, fill: Colour) -> None:
        """A line with round ends and joints."""
        placed = [self._at(point) for point in points]
        self._draw.line(placed, fill=fill, width=round(width * self._scale), joint="curve")
        radius = width * self._scale / 2
        for x, y in (placed[0], placed[-1]):
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def ring(self, middle: Point, radius: float, width: float, fill: Colour) -> None:
        x, y = self._at(middle)
        reach = radius * self._scale
        box = (x - reach, y - reach, x + reach, y + reach)
        self._draw.ellipse(box, outline=fill, width=round(width * self._scale))


def _bow(start: Point, handle: Point, end: Point, steps: int = 16) -> list[Point]:
    """Points on the quadratic Bezier curve."""
    points = []
    for step in range(steps + 1):
        share = step / steps
        a, b, c = (1 - share) ** 2, 2 * share * (1 - share), share**2
        points.append(
            (a * start[0] + b * handle[0] + c * end[0], a * start[1] + b * handle[1] + c * end[1]),
        )
    return points


def _dome(top: float, half_width: float, bottom: float) -> list[Point]:
    """The upper half of an oval of this half width, with straight sides down to `bottom`."""
    arc = [
        (-half_width * math.cos(math.pi * step / 24), top + 30 - 30 * math.sin(math.pi * step / 24))
        for step in range(25)
    ]
    return [(-half_width, bottom), *arc, (half_width, bottom)]


def _hair_behind(brush: _Brush, look: Look) -> None:
    """The hair that lies behind neck and ears."""
    shade = mixed_colour(look.hair, (0, 0, 0), 0.22)
    if look.style == "bob":
        brush.shape(_dome(-49, 43, 36), shade)
        brush.oval((-31, 34), (13, 10), shade)
        brush.oval((31, 34), (13, 10), shade)
    elif look.style == "long":
        brush.shape(_dome(-49, 43, 66), shade)
        brush.oval((-28, 66), (15, 13), shade)
        brush.oval((28, 66), (15, 13), shade)
    elif look.style == "bun":
        brush.oval((0, -52), (17, 15), shade)
    elif look.style == "curly":
        for step in range(15):
            angle = math.pi * (0.86 + 1.28 * step / 14)
            brush.oval((41 * math.cos(angle), -4 + 44 * math.sin(angle)), (15, 15), shade)
    elif look.style == "ponytail":
        brush.shape([*_bow((22, -40), (64, -30), (46, 44)), *_bow((46, 44), (40, 0), (24, -20))], shade)


def _body(brush: _Brush, look: Look, skin: Colour, pose: Pose) -> None:
    """Neck and shoulders; they sink a little less than the head."""
    lift = -0.6 * pose.sink_px
    collar = mixed_colour(look.shirt, (255, 255, 255), 0.25)
    shoulders = _bow((-72, 160), (-70, 64 + lift), (-22, 58 + lift))
    shoulders += _bow((22, 58 + lift), (70, 64 + lift), (72, 160))
    brush.shape(shoulders, look.shirt)
    brush.shape([(-19, 56 + lift), (0, 78 + lift), (19, 56 + lift), (12, 50), (-12, 50)], collar)
    brush.shape(
        [(-13, 30), (-13, 57 + lift), (0, 70 + lift), (13, 57 + lift), (13, 30)],
        mixed_colour(skin, (120, 60, 40), 0.22),
    )


def _head(brush: _Brush, look: Look, skin: Colour, pose: Pose) -> None:
    """Head, ears, cheeks, nose and beard."""
    shadow = mixed_colour(skin, (120, 60, 40), 0.25)
    for side in (-1, 1):
        brush.oval((side * 36, 4), (7, 10), shadow)
        brush.oval((side * 36, 4), (4, 6), skin)
    brush.oval((0, 0), (36, 44), skin)
    if look.beard:
        beard = mixed_colour(look.hair, skin, 0.12)
        outer = _bow((-36, 2), (-35, 47), (0, 47)) + _bow((0, 47), (35, 47), (36, 2))
        inner = _bow((32, 8), (26, 22), (13, 19)) + _bow((13, 19), (0, 13), (-13, 19))
        brush.shape(outer + inner + _bow((-13, 19), (-26, 22), (-32, 8)), beard)
    for side in (-1, 1):
        brush.oval((side * 22, 13), (9, 6.5), (226, 84, 78), round(40 + 120 * pose.blush))
    brush.stroke(_bow((-1, -2), (5, 10), (0, 11)), 2.0, shadow)
    if pose.skew > 0.2:
        for side in (-1, 1):
            brush.stroke([(side * 4, -3), (side * 8, 0)], 1.2, shadow)


def _eyes(brush: _Brush, look: Look, pose: Pose) -> None:
    """Eyes, brows, tears and glasses."""
    dark = mixed_colour(look.hair, (30, 24, 24), 0.55)
    for side in (-1, 1):
        x, y = side * 15.0, -6.0
        opening = 5.6 * pose.eye_open
        if opening < 1.6:
            brush.stroke(_bow((x - 7, y), (x, y + 3), (x + 7, y)), 1.8, dark)
        else:
            brush.oval((x, y), (8, opening), (252, 250, 246))
            brush.oval((x, y + 0.5), (4.4, min(4.8, opening)), (84, 62, 48))
            brush.oval((x, y + 0.5), (2.3, min(2.6, opening)), (22, 18, 20))
            brush.oval((x + 1.6, y - 1.4), (1.2, min(1.2, opening)), (255, 255, 255))
            brush.stroke(_bow((x - 8, y), (x, y - 2 * opening), (x + 8, y)), 1.6, dark)
        height = -20.0 - 4.5 * pose.brow_lift
        inner, outer = height - 4.5 * pose.brow_tilt, height + 3.0 * pose.brow_tilt
        brush.stroke(_bow((side * 6, inner), (side * 14, (inner + outer) / 2 - 3.5), (side * 24, outer)), 3.2, dark)
        if pose.tear > 0.2:
            drop = 8 + 9 * pose.tear
            brush.shape([(side * 19, drop - 9), (side * 19 - 3, drop), (side * 19 + 3, drop)], (150, 204, 244))
            brush.oval((side * 19, drop), (3.1, 3.1), (150, 204, 244))
        if look.glasses:
            brush.ring((x, y), 12.5, 1.6, (58, 60, 72))
            brush.stroke([(side * 27, y - 2), (side * 35, y - 4)], 1.6, (58, 60, 72))
    if look.glasses:
        brush.stroke(_bow((-3, -7), (0, -9.5), (3, -7)), 1.6, (58, 60, 72))


def _mouth(brush: _Brush, skin: Colour, pose: Pose) -> None:
    """Lips, and teeth and tongue when the mouth is open."""
    half = 13.0 * pose.mouth_width
    corner, centre = 25.0 - 4.5 * pose.smile, 25.0 + 3.5 * pose.smile
    left, right = (-half, corner), (half, corner - 4.0 * pose.skew)
    lip = mixed_colour(skin, (170, 50, 56), 0.62)
    upper = _bow(left, (2 * pose.skew, 2 * centre - corner - 4 * pose.mouth_open - 3 * pose.skew), right)
    lower = _bow(left, (0, 2 * centre - corner + 20 * pose.mouth_open), right)
    if pose.mouth_open > 0.1:
        brush.shape(upper + lower[::-1], (96, 28, 34))
        teeth = _bow(left, (0, 2 * centre - corner - 4 * pose.mouth_open + 5), right)
        brush.shape(upper + teeth[::-1], (250, 246, 240))
        if pose.mouth_open > 0.45:
            brush.oval((0, centre + 7.5 * pose.mouth_open), (half * 0.5, 2.6 * pose.mouth_open), (206, 94, 96))
        brush.stroke(lower, 2.4, lip)
    brush.stroke(upper, 2.4, lip)


def _hair_in_front(brush: _Brush, look: Look) -> None:
    """The hair over the forehead."""
    if look.style == "short":
        brush.shape(
            [
                *_bow((-38, -2), (-42, -50), (2, -50)),
                *_bow((2, -50), (42, -50), (38, -2)),
                *_bow((33, -16), (30, -30), (6, -29)),
                *_bow((6, -29), (-30, -26), (-33, -14)),
            ],
            look.hair,
        )
    elif look.style == "curly":
        for step in range(9):
            angle = math.pi * (1.08 + 0.84 * step / 8)
            brush.oval((35 * math.cos(angle), 2 + 41 * math.sin(angle)), (11, 10), look.hair)
    else:
        parting = -12 if look.style in ("bob", "ponytail") else 0
        brush.shape(
            [
                *_bow((-39, 8), (-44, -50), (0, -50)),
                *_bow((0, -50), (44, -50), (39, 8)),
                *_bow((34, -4), (30, -28), (parting, -33)),
                *_bow((parting, -33), (-32, -26), (-34, -2)),
            ],
            look.hair,
        )
        shine = mixed_colour(look.hair, (255, 255, 255), 0.2)
        brush.stroke(_bow((-26, -30), (-18, -43), (-2, -45)), 2.2, shine)
