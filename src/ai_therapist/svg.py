"""Charts as inline SVG: no script, no external file, colours from the page's CSS variables, a title on each."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape


def element(name: str, *children: str, **attributes: str | float) -> Markup:
    """An SVG element. Children that are not Markup are escaped; `_` in an attribute's name stands for `-`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(short(value))}"' for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{''.join(escape(child) for child in children)}</{name}>")


def chart(title: str, width: float, height: float, *marks: Markup, **attributes: str) -> Markup:
    """An SVG image that says what it shows. Title and marks stand inside; attributes as `element`."""
    return element(
        "svg",
        element("title", title),
        *marks,
        viewBox=f"0 0 {short(width)} {short(height)}",
        aria_label=title,
        **{"role": "img", **attributes},
    )


def curve(title: str, points: Sequence[tuple[int, float]]) -> Markup:
    """A loss over steps. Raises ValueError without points."""
    if not points:
        raise ValueError("a curve needs a point")
    width, height, left, bottom = 640, 260, 44, 230
    last = max(step for step, _ in points) or 1
    top = max(loss for _, loss in points) * 1.05 or 1.0
    marks: list[Markup] = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - share * (bottom - 14)
        marks.append(element("line", x1=left, x2=width - 8, y1=y, y2=y, class_="grid"))
        marks.append(element("text", f"{share * top:.1f}", x=left - 6, y=y + 4, text_anchor="end", class_="axis"))
        x = left + share * (width - 8 - left)
        anchor = "end" if share == 1 else "middle"
        marks.append(element("text", f"{share * last:.0f}", x=x, y=bottom + 18, text_anchor=anchor, class_="axis"))
    at = [
        (left + step / last * (width - 8 - left), bottom - loss / top * (bottom - 14))
        for step, loss in _thinned(points)
    ]
    path = " ".join(f"{short(x)},{short(y)}" for x, y in at)
    marks.append(element("polyline", points=path, class_="curve"))
    marks += [element("circle", cx=x, cy=y, r=4, class_="dot") for x, y in (at[0], at[-1])]
    marks.append(element("text", "step", x=width - 8, y=bottom - 6, text_anchor="end", class_="axis"))
    return chart(title, width, height, *marks, class_="loss")


def short(value: str | float) -> str:
    """A number in at most two decimals; text as it is."""
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def _thinned(points: Sequence[tuple[int, float]], at_most: int = 600) -> list[tuple[int, float]]:
    """Every k-th point and the last, so that a long run makes no heavy page."""
    every = -(-len(points) // at_most)
    return [*points[:-1:every], points[-1]]
