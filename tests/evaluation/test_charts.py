"""Charts are well-formed SVG that states its numbers, escapes its texts and fits its frame."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from ai_therapist.evaluation.charts import Bar, Whisker, heatmap, strip, whiskers
from ai_therapist.records import Role, Scored, Unscored
from ai_therapist.svg import curve, element


def parsed(chart: Markup) -> ET.Element:
    return ET.fromstring(chart)


def texts(chart: Markup) -> list[str]:
    return [node.text or "" for node in parsed(chart).iter("text")]


def test_texts_and_attributes_are_escaped() -> None:
    node = parsed(element("text", "<b> & co", element("title", "a<b"), class_='x"y'))
    assert (node.text, node.attrib["class"]) == ("<b> & co", 'x"y')
    assert [child.text for child in node] == ["a<b"]


def test_every_chart_has_a_title_and_a_label() -> None:
    bar = Bar(Role.CLIENT, 0, 900, None, "utt")
    for chart in (
        strip("a session", 1000, [bar], []),
        heatmap("a matrix", ["x", "y"], [[1, 0, 0], [0, 1, 0]]),
        whiskers("scores", [Whisker("one", Scored(value=0.5, n=2))]),
        curve("loss", [(1, 2.0)]),
    ):
        svg = parsed(chart)
        assert svg.attrib["role"] == "img"
        assert svg.attrib["aria-label"] == svg[0].text


def test_a_strip_has_a_lane_per_role_that_speaks() -> None:
    turns = [
        Bar(Role.THERAPIST, 0, 40_000, "neutral", "first"),
        Bar(Role.CLIENT, 40_000, 41_000, "joy", "second"),
        Bar(Role.CLIENT, 41_000, 60_000, None, "third"),
    ]
    chart = strip("a session", 60_000, turns, [Bar(Role.THERAPIST, 0, 39_000, "neutral", "gold")])
    bars = [node for node in parsed(chart).iter("rect") if node.attrib["class"].startswith("turn")]
    assert [node.attrib["class"] for node in bars] == ["turn therapist", "turn client", "turn client"]
    assert len({node.attrib["y"] for node in bars}) == 2
    assert float(bars[0].attrib["width"]) == pytest.approx(1000 * 40 / 60, abs=0.01)
    emotions = [node for node in parsed(chart).iter("rect") if node.attrib["class"].startswith("emotion")]
    assert len(emotions) == 2
    assert "neutral" in texts(chart)
    assert "joy" not in texts(chart)
    assert "third" in [node.text for node in parsed(chart).iter("title")]


def test_a_turn_with_a_clip_is_a_link_with_a_sign() -> None:
    bars = [Bar(Role.CLIENT, 0, 400, "joy", "utt_1", "view/clip.mp4"), Bar(Role.CLIENT, 500, 900, "joy", "utt_2")]
    svg = parsed(strip("a session", 1000, bars, []))
    (link,) = svg.iter("a")
    assert (link.attrib["href"], link.attrib["aria-label"]) == ("view/clip.mp4", "Clip of utt_1")
    assert [node.text for node in link.iter("text")] == ["joy", "▶"]
    assert svg.attrib["role"] == "group"


def test_the_cells_of_a_matrix_state_their_counts() -> None:
    chart = heatmap("a matrix", ["joy", "fear"], [[7, 2, 1], [0, 0, 0]])
    assert [text for text in texts(chart) if text.isdigit()] == ["7", "2", "1"]
    hovers = [node.text for node in parsed(chart).iter("title")]
    assert "joy taken for fear: 2 of 10" in hovers
    assert "joy: 7 of 10 right" in hovers
    heat = [node.attrib["fill-opacity"] for node in parsed(chart).iter("rect") if node.attrib["class"] == "heat"]
    assert [float(value) for value in heat] == [0.7, 0.2, 0.1, 0, 0, 0]


def test_whiskers_show_interval_value_or_reason() -> None:
    rows = [
        Whisker("wide", Scored(value=0.5, low=0.25, high=0.75, n=4)),
        Whisker("single", Scored(value=0.5, n=4)),
        Whisker("silent", Unscored(reason="every answer is an abstention")),
        Whisker("worse than chance", Scored(value=-0.2, low=-0.4, high=0.1, n=4)),
    ]
    chart = whiskers("scores", rows)
    shown = texts(chart)
    assert {"0.50 (0.25 to 0.75)", "0.50", "every answer is an abstention"} <= set(shown)
    lines = [node for node in parsed(chart).iter("line") if node.attrib["class"] == "whisker"]
    assert len(lines) == 2
    assert float(lines[0].attrib["x2"]) - float(lines[0].attrib["x1"]) == pytest.approx(344 / 2)
    assert all(float(node.attrib["x1"]) >= 0 for node in lines)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 50)), min_size=1, max_size=900))
def test_a_curve_stays_in_its_frame_and_keeps_its_ends(points: list[tuple[int, float]]) -> None:
    points = sorted(points)
    chart = parsed(curve("loss", points))
    line = next(chart.iter("polyline")).attrib["points"].split()
    places = [tuple(float(number) for number in pair.split(",")) for pair in line]
    assert len(places) <= 601
    assert all(0 <= x <= 640 and 0 <= y <= 260 for x, y in places)
    dots = list(chart.iter("circle"))
    assert [float(dots[0].attrib["cx"]), float(dots[1].attrib["cx"])] == [places[0][0], places[-1][0]]


def test_a_curve_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a point"):
        curve("loss", [])
