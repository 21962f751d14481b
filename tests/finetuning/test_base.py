"""The base follows from its settings alone."""

import pytest
import torch

from ai_therapist.errors import ConfigError
from ai_therapist.finetuning.base import base_config, random_base
from ai_therapist.finetuning.config import BaseConfig
from ai_therapist.finetuning.tokenizer import SPECIAL_TOKENS


def test_the_same_seed_gives_the_same_weights_and_leaves_the_caller_alone() -> None:
    state = torch.random.get_rng_state()
    one, two, other = (random_base(BaseConfig(seed=seed)).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(weight, two[name]) for name, weight in one.items())
    assert not all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_the_settings_reach_the_model() -> None:
    config = base_config(BaseConfig(vocabulary_size=640, num_frames=4, tokens_per_clip=8, audio_tokens_per_clip=4))
    assert (config.text.vocab_size, config.num_frames, config.num_video_tokens()) == (640, 4, 8)
    assert config.num_audio_tokens(500) == 4
    deviations = [random_base(BaseConfig(initializer_range=size)).lm_head.weight.std().item() for size in (0.02, 0.08)]
    assert deviations == pytest.approx([0.02, 0.08], rel=0.05)
    assert SPECIAL_TOKENS[config.video_token_id or 0] == "<video>"


def test_a_budget_that_the_frames_cannot_give_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"finetuning\.base.*tokens_per_clip=17"):
        base_config(BaseConfig(tokens_per_clip=17))
