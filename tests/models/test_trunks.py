"""What was read of a conversation is found again by its longest common beginning, and room is made by age."""

from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.models.trunks import Trunks

TOKENS = st.lists(st.integers(0, 2), max_size=8)


def test_the_longest_beginning_is_found() -> None:
    trunks: Trunks[str] = Trunks(100)
    trunks.keep([1, 2, 3], "short", 1)
    trunks.keep([1, 2, 9, 9], "other", 1)
    found = trunks.longest([1, 2, 3, 4])
    assert found is not None
    assert (found.tokens, found.of, found.state) == (3, 3, "short")
    assert trunks.longest([7]) is None


def test_a_conversation_that_goes_on_takes_one_place() -> None:
    trunks: Trunks[str] = Trunks(100)
    for length in range(1, 9):
        trunks.keep(range(length), str(length), 10)
    assert (len(trunks), trunks.size_bytes) == (1, 10)


def test_the_one_unused_for_longest_makes_room() -> None:
    trunks: Trunks[str] = Trunks(20)
    trunks.keep([1], "one", 10)
    trunks.keep([2], "two", 10)
    assert trunks.longest([1]) is not None
    trunks.keep([3], "three", 10)
    assert trunks.longest([2]) is None
    assert trunks.longest([1]) is not None
    trunks.keep([4], "too big", 21)
    assert len(trunks) == 0


@given(st.lists(TOKENS, max_size=6), TOKENS)
def test_it_finds_what_a_search_through_all_would_find(kept: list[list[int]], wanted: list[int]) -> None:
    trunks: Trunks[int] = Trunks(10_000)
    for number, tokens in enumerate(kept):
        trunks.keep(tokens, number, 1)
    best = max(
        (next((i for i, (a, b) in enumerate(zip(t, wanted, strict=False)) if a != b), min(len(t), len(wanted))))
        for t in [*kept, []]
    )
    found = trunks.longest(wanted)
    assert (0 if found is None else found.tokens) == best
    assert found is None or kept[found.state][:best] == wanted[:best]
