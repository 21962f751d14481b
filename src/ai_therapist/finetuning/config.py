"""Settings of fine-tuning. The defaults are the preset "tiny": a toy that trains on a CPU in seconds."""

from typing import Annotated, Literal

from pydantic import Field

from ai_therapist.pipeline.stage import StageConfig

Count = Annotated[int, Field(ge=1, le=1_000_000)]


class BaseConfig(StageConfig):
    """The base of the preset "tiny": VideoLLaMA2.1-AV with every size shrunk (videollama2/tiny.py), random weights."""

    seed: Annotated[int, Field(ge=0)] = 3407
    """Seed of the random weights."""

    initializer_range: Annotated[float, Field(gt=0, le=1)] = 0.08
    """Standard deviation of the random weights: about 1 / sqrt(width), since at the 0.02 of large models the layers of
    a tiny one add next to nothing to its embeddings, and only pairs of tokens are learned."""

    vocabulary_size: Annotated[int, Field(ge=320, le=100_000)] = 1024
    """Rows of the embedding; the tokenizer learns at most as many tokens, at least 320."""

    num_frames: Annotated[int, Field(ge=2, le=32)] = 8
    """Frames that the model sees of a clip, at the middles of equal parts."""

    tokens_per_clip: Count = 16
    """Tokens that the picture of a clip costs, after pooling; with 8 frames at most 16."""

    audio_tokens_per_clip: Count = 8
    """Tokens that the sound of a clip costs, after pooling."""


class FinetuningConfig(StageConfig):
    """How the tiny base is tuned with LoRA; `finetuning.base` says what that is."""

    preset: Literal["tiny"] = "tiny"
    """Name of the set of defaults. "tiny" is a toy: it shows that everything works, not what a real model can do."""

    base: BaseConfig = BaseConfig()
    """The model that is tuned."""

    seed: Annotated[int, Field(ge=0)] = 3407
    """Seed of the adapter's first weights and of the order of examples."""

    epochs: Annotated[int, Field(ge=1, le=1000)] = 6
    """Passes over the training examples."""

    batch_size: Annotated[int, Field(ge=1, le=256)] = 2
    """Examples in one forward pass."""

    accumulation: Annotated[int, Field(ge=1, le=256)] = 1
    """Forward passes per optimiser step; the loss is the mean over the target tokens of all of them."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    """Highest learning rate of AdamW; high, because a random vocabulary starts from nothing."""

    warmup_steps: Annotated[int, Field(ge=0, le=100_000)] = 5
    """Optimiser steps in which the learning rate rises linearly; from there it falls linearly to 0."""

    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this norm where they are larger."""

    lora_rank: Annotated[int, Field(ge=1, le=512)] = 32
    """Rank of the adapter."""

    lora_alpha: Annotated[int, Field(ge=1, le=4096)] = 64
    """The adapter's update is scaled by alpha / rank; above 1, because random layers have far to go."""

    max_tokens: Annotated[int, Field(ge=64, le=32_768)] = 512
    """Longest example in tokens, clip included; the oldest turns of its context are left out to fit."""

    checkpoint_steps: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Optimiser steps between checkpoints; a run that was stopped goes on from the last one."""
