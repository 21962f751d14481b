"""The algebra of half-open spans."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ai_therapist.records import TimeSpan

RATES = st.sampled_from([Fraction(16), Fraction(25), Fraction(30000, 1001)])
spans = st.builds(
    lambda start, length: TimeSpan(start_ms=start, end_ms=start + length),
    st.integers(0, 10_000_000),
    st.integers(1, 1_000_000),
)


@given(st.lists(st.integers(1, 5000), min_size=2, max_size=30), RATES)
def test_adjacent_spans_share_and_lose_no_frame(lengths: list[int], fps: Fraction) -> None:
    edges = [sum(lengths[:count]) for count in range(len(lengths) + 1)]
    frames = [
        frame for start, end in itertools.pairwise(edges) for frame in TimeSpan(start_ms=start, end_ms=end).frames(fps)
    ]
    assert frames == list(TimeSpan(start_ms=0, end_ms=edges[-1]).frames(fps))


@given(spans, RATES)
def test_every_frame_lies_inside(span: TimeSpan, fps: Fraction) -> None:
    for frame in (*span.frames(fps)[:2], *span.frames(fps)[-2:]):
        assert span.start_ms <= frame * 1000 / fps < span.end_ms


@given(spans)
def test_a_millisecond_is_sixteen_samples(span: TimeSpan) -> None:
    assert len(span.samples(16_000)) == 16 * span.duration_ms


@given(spans, spans)
def test_overlap_is_symmetric_and_bounded(one: TimeSpan, two: TimeSpan) -> None:
    assert one.overlap_ms(two) == two.overlap_ms(one) <= min(one.duration_ms, two.duration_ms)
    assert one.joined(two).contains(one)
    assert one.joined(two).contains(two)


@given(spans, st.integers(0, 1000))
def test_moving_keeps_the_length(span: TimeSpan, offset: int) -> None:
    assert span.with_offset(offset).duration_ms == span.duration_ms


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), (-1, 5)])
def test_empty_and_negative_spans_are_refused(start: int, end: int) -> None:
    with pytest.raises(ValidationError):
        TimeSpan(start_ms=start, end_ms=end)


def test_seconds_are_refused() -> None:
    with pytest.raises(ValidationError):
        TimeSpan.model_validate({"start_ms": 0.5, "end_ms": 2})
