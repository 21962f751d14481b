"""Steps and learning rates are known before the first one is taken."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.curve import learning_rate, plan_steps


@given(
    examples=st.integers(1, 40),
    batch_size=st.integers(1, 8),
    accumulation=st.integers(1, 4),
    epochs=st.integers(1, 4),
)
def test_every_epoch_takes_every_example_once(examples: int, batch_size: int, accumulation: int, epochs: int) -> None:
    config = FinetuningConfig(batch_size=batch_size, accumulation=accumulation, epochs=epochs)
    steps = plan_steps(examples, config)
    order = list(chain.from_iterable(chain.from_iterable(steps)))
    for epoch in range(epochs):
        assert sorted(order[epoch * examples : (epoch + 1) * examples]) == list(range(examples))
    assert all(len(step) <= accumulation and all(len(batch) <= batch_size for batch in step) for step in steps)
    assert plan_steps(examples, config) == steps


def test_another_seed_is_another_order() -> None:
    one, two = (plan_steps(30, FinetuningConfig(seed=seed)) for seed in (1, 2))
    assert one != two


def test_the_rate_rises_then_falls_to_nothing() -> None:
    config = FinetuningConfig(learning_rate=1.0, warmup_steps=4)
    rates = [learning_rate(step, 24, config) for step in range(24)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4] == 1.0
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(0.05)


def test_a_run_shorter_than_its_warm_up_keeps_rising() -> None:
    config = FinetuningConfig(learning_rate=1.0, warmup_steps=10)
    assert [learning_rate(step, 3, config) for step in range(3)] == pytest.approx([1 / 11, 2 / 11, 3 / 11])
