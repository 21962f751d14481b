"""Tokens are drawn by the probabilities that the model gives, and a seed draws the same again."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from ai_therapist.models.causal import open_causal
from ai_therapist.models.local import open_tuned
from ai_therapist.models.protocol import GREEDY, Sampling, SamplingGenerator, Tally
from ai_therapist.models.sampling import Chooser
from ai_therapist.records.message import Message
from tests.finetuning.builders import save_untrained
from tests.models.tiny_models import save_causal

LOGITS = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0]).log()
"""The last token must never be said."""
ASKED = [Message.of_text("system", "Be kind."), Message.of_text("user", "I walked to work today.")]


def drawn(sampling: Sampling, times: int = 4_000) -> Counter[int]:
    choose = Chooser(sampling)
    return Counter(choose(LOGITS) for _ in range(times))


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(0.0, 0.5, 3), Sampling(1.0, 0.0, 3)])
def test_without_heat_or_choice_the_likeliest_is_taken(sampling: Sampling) -> None:
    assert set(drawn(sampling, 50)) == {0}


def test_heat_1_draws_by_the_model_s_own_probabilities() -> None:
    found = drawn(Sampling(1.0, seed=0))
    assert [found[token] / 4_000 for token in range(5)] == pytest.approx([0.5, 0.3, 0.15, 0.05, 0.0], abs=0.03)


def test_less_heat_draws_the_likeliest_more_often_and_almost_none_always() -> None:
    assert drawn(Sampling(0.5, seed=0))[0] > drawn(Sampling(1.0, seed=0))[0] > drawn(Sampling(2.0, seed=0))[0]
    assert set(drawn(Sampling(1e-12, seed=0), 50)) == {0}


def test_top_p_draws_from_the_likeliest_that_reach_it() -> None:
    assert set(drawn(Sampling(1.0, 0.6, 0))) == {0, 1}
    assert set(drawn(Sampling(1.0, 1e-9, 0), 50)) == {0}


@pytest.fixture(scope="module", params=["tuned", "causal"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SamplingGenerator:
    folder = tmp_path_factory.mktemp("model")
    return open_tuned(save_untrained(folder)) if request.param == "tuned" else open_causal(str(save_causal(folder)))


def written(model: SamplingGenerator, sampling: Sampling, most: int = 12, tally: Tally | None = None) -> str:
    return "".join(model.sample(ASKED, max_tokens=most, sampling=sampling, tally=tally or Tally()))


def test_a_seed_writes_the_same_again_and_another_does_not(model: SamplingGenerator) -> None:
    assert written(model, Sampling(1.0, seed=7)) == written(model, Sampling(1.0, seed=7))
    assert len({written(model, Sampling(1.0, seed=seed)) for seed in range(5)}) > 1
    assert len({written(model, Sampling(1.0)) for _ in range(5)}) > 1
    assert written(model, GREEDY) == "".join(model.generate(ASKED, max_tokens=12))


def test_tokens_read_and_written_are_counted(model: SamplingGenerator) -> None:
    short, long = Tally(), Tally()
    written(model, Sampling(1.0, seed=7), 3, short)
    list(model.sample(ASKED, max_tokens=3, prefix="Reply: and", sampling=GREEDY, tally=long))
    assert (short.written, short.at_limit) == (3, True)
    assert short.read is not None and long.read is not None and 0 < short.read < long.read
