"""The loss curve, and the learning rate and batches that every step has from the start."""

from __future__ import annotations

import random

from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.records.base import Record


class Point(Record):
    """One optimiser step: the mean loss per target token before it, in nats, and its learning rate."""

    step: int
    loss: float
    learning_rate: float


Step = list[list[int]]
"""The forward passes of one optimiser step, each with the places of its examples."""


def plan_steps(examples: int, config: FinetuningConfig) -> list[Step]:
    """All optimiser steps of a run: every epoch takes every example once, in an order that follows from the seed."""
    steps: list[Step] = []
    for epoch in range(config.epochs):
        order = list(range(examples))
        random.Random(f"{config.seed}-{epoch}").shuffle(order)
        passes = [order[start : start + config.batch_size] for start in range(0, examples, config.batch_size)]
        steps += [passes[at : at + config.accumulation] for at in range(0, len(passes), config.accumulation)]
    return steps


def learning_rate(step: int, steps: int, config: FinetuningConfig) -> float:
    """Rate of step 0 to steps - 1: a linear rise over the warm-up, then a linear fall that would reach 0 at `steps`."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    return config.learning_rate * (steps - step) / max(1, steps - config.warmup_steps)
