"""Timelines and speaker mappings."""

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from ai_therapist.evaluation.alignment import Timeline, best_mapping
from ai_therapist.records import TimeSpan, Utterance
from ai_therapist.testing import make_session

SESSION = make_session().id


def utterance(index: int, start_ms: int, end_ms: int) -> Utterance:
    return Utterance.of(SESSION, index, "A", TimeSpan(start_ms=start_ms, end_ms=end_ms), "words")


def at(timeline: Timeline, start_ms: int, end_ms: int, share: float = 0) -> int | None:
    found = timeline.at(TimeSpan(start_ms=start_ms, end_ms=end_ms), share)
    return None if found is None else found.index


def test_the_utterance_that_covers_most_is_found() -> None:
    timeline = Timeline([utterance(0, 0, 1000), utterance(1, 900, 2000), utterance(2, 3000, 4000)])
    assert at(timeline, 100, 200) == 0
    assert at(timeline, 800, 1500) == 1
    assert at(timeline, 900, 1000) == 0
    assert at(timeline, 2000, 3000) is None
    assert at(timeline, 5000, 6000) is None


def test_a_share_asks_for_more_than_a_touch() -> None:
    timeline = Timeline([utterance(0, 0, 1000)])
    assert at(timeline, 900, 2000) == 0
    assert at(timeline, 900, 2000, 0.5) is None
    assert at(timeline, 500, 1500, 0.5) == 0


def test_an_empty_timeline_covers_nothing() -> None:
    assert at(Timeline([]), 0, 1000) is None


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.tuples(st.sampled_from("wxyz"), st.sampled_from("ABC")), st.integers(1, 30), max_size=8))
def test_no_other_one_to_one_mapping_shares_more_words(shared: dict[tuple[str, str], int]) -> None:
    mapping = best_mapping(shared)
    assert len(set(mapping.values())) == len(mapping)
    assert all(pair in shared for pair in mapping.items())
    best = max(
        sum(shared.get((label, speaker), 0) for label, speaker in zip("wxyz", order, strict=True))
        for order in permutations("ABC-")
    )
    assert sum(shared[pair] for pair in mapping.items()) == best


def test_two_labels_never_share_a_speaker() -> None:
    assert best_mapping({("x", "A"): 10, ("y", "A"): 9}) == {"x": "A"}
    assert best_mapping({}) == {}
