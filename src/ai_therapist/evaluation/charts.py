"""Charts as inline SVG: no script, no external file, colours from the page's CSS variables, a title on every mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ai_therapist.records import Role, Score, Scored, Task, load_codebook
from ai_therapist.svg import chart, element, short

_CELL_PX = 34
_STRIP_PX = 1000
_LANE_PX = 30
_SIGN_PX = 14
"""Width of the sign on a turn that can be opened."""
_CHARACTER_PX = 6.8
"""Width of a character of a bold 11 px label, with some air."""


@dataclass(frozen=True)
class Bar:
    """A turn on a session's strip."""

    role: Role
    start_ms: int
    end_ms: int
    emotion: str | None
    hover: str
    link: str | None = None
    """What a click opens."""


@dataclass(frozen=True)
class Whisker:
    """A system's score on a dot-and-whisker chart."""

    label: str
    score: Score


def strip(title: str, duration_ms: int, turns: Sequence[Bar], gold: Sequence[Bar]) -> Markup:
    """Who speaks when: one lane per role, each turn with its emotion; thin lines below the lanes show gold.

    ┌ therapist ▇▇▇▇neutral▇▇        ▇▇▇▇▇▇
    └ client                 ▇joy▇▇▇        ▇▇▇▇fear
    """
    roles = [role for role in Role if any(each.role is role for each in (*turns, *gold))]
    lane = {role: place * (_LANE_PX + 10) for place, role in enumerate(roles)}
    per_ms = _STRIP_PX / duration_ms
    bottom = len(roles) * (_LANE_PX + 10)
    marks = [*_ticks(duration_ms, per_ms, bottom)]
    marks += [_gold_line(each, lane[each.role], per_ms) for each in gold]
    marks += [_turn(each, lane[each.role], per_ms) for each in turns]
    # A reader of the screen steps over what is inside an image, but must reach the links.
    role = "group" if any(each.link is not None for each in turns) else "img"
    return chart(title, _STRIP_PX, bottom + 18, *marks, class_="strip", role=role)


def heatmap(title: str, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Markup:
    """A confusion matrix: rows gold, columns given, the last column no answer; shade is the share of the row."""
    columns = [*classes, "no answer"]
    longest_px = max(len(name) for name in columns) * _CHARACTER_PX
    left, top = longest_px + 12, 10 + 0.85 * longest_px
    marks = []
    for place, name in enumerate(columns):
        x, y = left + (place + 0.5) * _CELL_PX, top - 6
        turned = f"rotate(-55 {short(x)} {short(y)})"
        marks.append(element("text", name, x=x, y=y, transform=turned, class_="axis"))
    for row, (name, cells) in enumerate(zip(classes, counts, strict=True)):
        y = top + row * _CELL_PX
        marks.append(element("text", name, x=left - 8, y=y + _CELL_PX / 2 + 4, text_anchor="end", class_="axis"))
        marks += [_cell(name, columns[at], cell, sum(cells), left + at * _CELL_PX, y) for at, cell in enumerate(cells)]
    width = left + len(columns) * _CELL_PX + 60
    readable = f"min-width:{0.76 * width:.0f}px;max-width:{1.3 * width:.0f}px"
    return chart(title, width, top + len(classes) * _CELL_PX + 4, *marks, class_="heatmap", style=readable)


def whiskers(title: str, rows: Sequence[Whisker]) -> Markup:
    """Scores from 0 to 1, one row per system: a dot for the value, a line for its 95 % interval."""
    width, left, row_px = 360, 8, 46
    span = width - 2 * left
    bottom = len(rows) * row_px + 4
    marks: list[Markup] = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = left + tick * span
        marks.append(element("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid"))
        marks.append(element("text", f"{tick:g}", x=x, y=bottom + 14, text_anchor="middle", class_="axis"))
    for place, row in enumerate(rows):
        marks += _whisker(row, left, span, place * row_px)
    return chart(title, width, bottom + 20, *marks, class_="whiskers")


def emotion_class(emotion: str) -> str:
    """CSS classes of an emotion, by its place in the codebook, which alone lists them."""
    return f"emotion e{load_codebook().names(Task.EMOTION).index(emotion)}"


def _ticks(duration_ms: int, per_ms: float, bottom: float) -> list[Markup]:
    step_s = next((step for step in (5, 10, 30, 60, 300, 600) if duration_ms / 1000 / step <= 12), 1800)
    marks = []
    for second in range(0, duration_ms // 1000 + 1, step_s):
        x = second * 1000 * per_ms
        marks.append(element("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid"))
        if x < _STRIP_PX - 30:
            marks.append(element("text", f"{second // 60}:{second % 60:02d}", x=x + 3, y=bottom + 13, class_="axis"))
    return marks


def _turn(turn: Bar, y: float, per_ms: float) -> Markup:
    x, width = turn.start_ms * per_ms, max(2.0, (turn.end_ms - turn.start_ms) * per_ms)
    parts = [
        element("title", turn.hover),
        element("rect", x=x, y=y, width=width, height=_LANE_PX, rx=4, class_=f"turn {turn.role.value}"),
    ]
    if turn.emotion is not None:
        parts.append(
            element("rect", x=x, y=y + _LANE_PX - 6, width=width, height=6, rx=2, class_=emotion_class(turn.emotion))
        )
        sign_px = 0 if turn.link is None else _SIGN_PX
        if len(turn.emotion) * _CHARACTER_PX + 8 + sign_px <= width:
            parts.append(element("text", turn.emotion, x=x + 6, y=y + 16, class_="inside"))
    if turn.link is not None and width >= _SIGN_PX:
        parts.append(element("text", "▶", x=x + width - _SIGN_PX, y=y + 16, class_="inside"))
    drawn = element("g", *parts)
    return drawn if turn.link is None else element("a", drawn, href=turn.link, aria_label=f"Clip of {turn.hover}")


def _gold_line(turn: Bar, y: float, per_ms: float) -> Markup:
    x, width = turn.start_ms * per_ms, max(1.0, (turn.end_ms - turn.start_ms) * per_ms)
    return element("rect", element("title", turn.hover), x=x, y=y + _LANE_PX + 2, width=width, height=3, class_="gold")


def _cell(gold: str, given: str, count: int, total: int, x: float, y: float) -> Markup:
    share = count / total if total else 0.0
    hover = f"{gold} taken for {given}: {count} of {total}" if gold != given else f"{gold}: {count} of {total} right"
    edge = _CELL_PX - 2
    parts = [
        element("title", hover),
        element("rect", x=x, y=y, width=edge, height=edge, rx=3, class_="empty"),
        element("rect", x=x, y=y, width=edge, height=edge, rx=3, class_="heat", fill_opacity=round(share, 3)),
    ]
    if count:
        shade = "count on" if share > 0.5 else "count"
        parts.append(
            element("text", str(count), x=x + edge / 2, y=y + edge / 2 + 4, text_anchor="middle", class_=shade)
        )
    return element("g", *parts)


def _whisker(row: Whisker, left: float, span: float, y: float) -> list[Markup]:
    label = element("text", row.label, x=left, y=y + 15, class_="system")
    if not isinstance(row.score, Scored):
        reason = element("text", row.score.reason, x=left + span, y=y + 15, text_anchor="end", class_="axis")
        return [label, reason]
    score = row.score
    middle, x = y + 29, left + score.value * span
    number = f"{score.value:.2f}"
    marks = []
    if score.low is not None and score.high is not None:
        number += f" ({score.low:.2f} to {score.high:.2f})" if score.low < score.high else ""
        ends = {"x1": left + max(0.0, score.low) * span, "x2": left + min(1.0, score.high) * span}
        marks.append(element("line", y1=middle, y2=middle, class_="whisker", **ends))
    marks.append(element("circle", cx=max(left, x), cy=middle, r=5.5, class_="dot"))
    return [label, element("text", number, x=left + span, y=y + 15, text_anchor="end", class_="system number"), *marks]
