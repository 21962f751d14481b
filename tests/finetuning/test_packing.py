"""Every epoch takes every tree once, no pass is above its budget, and processes share what one would do."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.packing import Pass, pack, plan_passes
from ai_therapist.finetuning.tree import AnswerTokens, BranchTokens, Tree


def make_trees(sizes: list[int]) -> list[Tree]:
    branch = BranchTokens("exm", 0, (1,), (AnswerTokens((2,), 1),), None)
    return [Tree(tuple(range(size - 2)), (branch,)) for size in sizes]


@given(sizes=st.lists(st.integers(1, 50), max_size=40), budget=st.integers(50, 120), most=st.integers(0, 4))
def test_groups_hold_every_place_once_within_budget_and_number(sizes: list[int], budget: int, most: int) -> None:
    groups = pack(sizes, budget, most)
    assert sorted(chain.from_iterable(groups)) == list(range(len(sizes)))
    assert all(sum(sizes[place] for place in group) <= budget for group in groups)
    assert all(not most or len(group) <= most for group in groups)


def test_the_best_fit_is_taken() -> None:
    assert pack([60, 50, 40, 50], 100, 0) == [[0, 2], [1, 3]]
    assert pack([], 10, 0) == []
    with pytest.raises(ValueError, match="budget of 10"):
        pack([11], 10, 0)


@given(
    sizes=st.lists(st.integers(3, 60), min_size=1, max_size=30),
    batch_size=st.integers(0, 3),
    accumulation=st.integers(1, 4),
    processes=st.integers(1, 3),
)
def test_every_epoch_takes_every_tree_once(
    sizes: list[int], batch_size: int, accumulation: int, processes: int
) -> None:
    trees = make_trees(sizes)
    config = FinetuningConfig(
        epochs=2, batch_tokens=64, max_tokens=64, batch_size=batch_size, accumulation=accumulation
    )
    plan = plan_passes(trees, config, processes)
    assert len({len(own) for own in plan}) == 1
    taken = [planned for step in zip(*plan, strict=True) for planned in step if planned.counts]
    order = list(chain.from_iterable(planned.trees for planned in taken))
    assert sorted(order[: len(trees)]) == sorted(order[len(trees) :]) == list(range(len(trees)))
    assert all(sum(trees[place].tokens for place in planned.trees) <= 64 for planned in taken)
    for start in range(0, len(plan[0]), accumulation):
        step = [planned for own in plan for planned in own[start : start + accumulation]]
        learned = sum(len(planned.trees) for planned in step if planned.counts)
        assert {planned.step_learned for planned in step} == {learned}


def test_two_processes_do_what_one_does_that_accumulates_twice() -> None:
    trees = make_trees([30] * 10)
    one = FinetuningConfig(epochs=1, batch_tokens=64, max_tokens=64, accumulation=2)
    (alone,) = plan_passes(trees, one)
    both = plan_passes(trees, one.model_copy(update={"accumulation": 1}), 2)
    together = [planned for step in zip(*both, strict=True) for planned in step]
    assert together[: len(alone)] == alone
    assert together[len(alone) :] == [Pass(together[-2].trees, together[-2].step_learned, counts=False)]


def test_another_seed_is_another_order() -> None:
    trees = make_trees([20] * 12)
    one, two = (
        plan_passes(trees, FinetuningConfig(batch_tokens=64, max_tokens=64, seed=seed, epochs=1)) for seed in (1, 2)
    )
    assert one != two
    assert one == plan_passes(trees, FinetuningConfig(batch_tokens=64, max_tokens=64, seed=1, epochs=1))
