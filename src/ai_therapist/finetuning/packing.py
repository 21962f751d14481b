"""Which trees are read together: best fit into the token budget of a pass, and passes into optimiser steps."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import NamedTuple

from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.tree import Tree


class Pass(NamedTuple):
    """One forward pass: the places of its trees, and the learned tokens of the whole optimiser step it belongs to."""

    trees: tuple[int, ...]
    step_learned: int
    """Dividing by them makes a step the mean over its tokens, however it is split into passes and processes."""
    counts: bool = True
    """False for a pass that only keeps a process busy while others finish the last step."""


def pack(sizes: Sequence[int], budget: int, most: int) -> list[list[int]]:
    """Places of all sizes in groups of at most `budget` in sum and `most` in number (0: any), best fit decreasing.

    Raises ValueError for a size above the budget.
    """
    if any(size > budget for size in sizes):
        raise ValueError(f"a size is above the budget of {budget}")
    groups: list[list[int]] = []
    free: list[tuple[int, int]] = []
    """(room, group) of every group that takes more, sorted."""
    for place in sorted(range(len(sizes)), key=lambda at: -sizes[at]):
        at = bisect_left(free, (sizes[place], -1))
        if at < len(free):
            room, group = free.pop(at)
            groups[group].append(place)
        else:
            room, group = budget, len(groups)
            groups.append([place])
        if not most or len(groups[group]) < most:
            insort(free, (room - sizes[place], group))
    return groups


def plan_passes(trees: Sequence[Tree], config: FinetuningConfig, processes: int = 1) -> list[list[Pass]]:
    """For each process its forward passes in order; `config.accumulation` of them make an optimiser step.

    Every epoch takes every tree once, in an order that follows from the seed. A step takes its passes from all
    processes in turn, so one process that accumulates n passes does what n processes do that accumulate one.
    """
    groups: list[list[int]] = []
    for epoch in range(config.epochs):
        dice = random.Random(f"{config.seed}-{epoch}")
        order = list(range(len(trees)))
        dice.shuffle(order)
        if config.batch_size:
            # With a fixed number, chance alone decides who is read together, as in the recipes that fix it.
            own = _in_order([trees[at].tokens for at in order], config.batch_tokens, config.batch_size)
        else:
            own = pack([trees[at].tokens for at in order], config.batch_tokens, 0)
            dice.shuffle(own)
        groups += [[order[place] for place in group] for group in own]
    per_step = config.accumulation * processes
    passes: list[list[Pass]] = [[] for _ in range(processes)]
    for start in range(0, len(groups), per_step):
        step = groups[start : start + per_step]
        learned = sum(trees[place].learned for group in step for place in group)
        for at in range(-(-len(step) // processes) * processes):
            group = step[at] if at < len(step) else step[0]
            passes[at % processes].append(Pass(tuple(group), learned, at < len(step)))
    return passes


def _in_order(sizes: Sequence[int], budget: int, most: int) -> list[list[int]]:
    groups: list[list[int]] = []
    used = 0
    for place, size in enumerate(sizes):
        if not groups or len(groups[-1]) == most or used + size > budget:
            groups.append([])
            used = 0
        groups[-1].append(place)
        used += size
    return groups
