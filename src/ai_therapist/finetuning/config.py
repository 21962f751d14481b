"""Settings of fine-tuning. The defaults are the preset "tiny"; presets.py has the others, each complete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ai_therapist.finetuning.presets import PRESETS
from ai_therapist.pipeline.stage import StageConfig

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

RANDOM = "random"
"""In place of a model's name: the tiny one of random weights."""
NO_MEDIA = "none"
"""In place of a checkpoint's name: no towers, text alone."""


class BaseConfig(StageConfig):
    """The model that is tuned: a language model, and the towers and connectors that give it clips."""

    language: Annotated[str, Field(min_length=1)] = RANDOM
    """Language model: a Hub id or a folder; "random" is a tiny Qwen2 of random weights."""

    language_revision: str | None = None
    """Branch, tag or commit of the language model on the Hub; None takes its main branch. What it was is recorded."""

    media: Annotated[str, Field(min_length=1)] = RANDOM
    """VideoLLaMA2.1 checkpoint whose towers and connectors are used: a Hub id or a folder; "random" are tiny ones of
    random weights, "none" makes a model that reads words alone."""

    media_revision: str | None = None
    """Branch, tag or commit of `media` on the Hub."""

    seed: Annotated[int, Field(ge=0)] = 3407
    """Seed of random weights."""

    initializer_range: Annotated[float, Field(gt=0, le=1)] = 0.08
    """Standard deviation of random weights: about 1 / sqrt(width), since at the 0.02 of large models the layers of
    a tiny one add next to nothing to its embeddings, and only pairs of tokens are learned."""

    vocabulary_size: Annotated[int, Field(ge=320, le=100_000)] = 1024
    """Rows of a random embedding; its tokenizer learns at most as many tokens, at least 320."""

    num_frames: Annotated[int, Field(ge=2, le=32)] = 8
    """Frames that the model sees of a clip, at the middles of equal parts."""

    tokens_per_clip: Count = 16
    """Tokens that the picture of a clip costs, after pooling; with the tiny model's 8 frames at most 16."""

    audio_tokens_per_clip: Count = 8
    """Tokens that the sound of a clip costs, after pooling."""

    @property
    def is_random(self) -> bool:
        """Whether the weights are drawn, not learned."""
        return self.language == RANDOM

    @property
    def sees_clips(self) -> bool:
        """Whether the model is shown clips."""
        return self.media != NO_MEDIA

    @model_validator(mode="after")
    def _random_or_not(self) -> Self:
        if self.sees_clips and (self.media == RANDOM) != self.is_random:
            raise ValueError("language and media are both 'random' or both the names of models; media may be 'none'")
        return self


class FinetuningConfig(StageConfig):
    """How the base is tuned. `preset` fills in every field that is not given."""

    preset: Literal["tiny", "text", "multimodal", "original"] = "tiny"
    """Set of values for all other fields. tiny: a toy on the CPU that shows that everything works, not what a real
    model can do. text and multimodal: a 7B model on one GPU, from words or from words, faces and voices. original: the
    published recipe of 2024, one turn per example, from words and written cues."""

    base: BaseConfig = BaseConfig()
    """The model that is tuned."""

    seed: Annotated[int, Field(ge=0)] = 3407
    """Seed of the adapter's first weights, of dropout and of the order of conversations."""

    epochs: Annotated[int, Field(ge=1, le=1000)] = 8
    """Passes over the training examples."""

    layout: Literal["conversation", "turn"] = "conversation"
    """conversation: what was said is read once and every turn's target grows from it. turn: every target is read with
    its own copy of what came before, as most recipes do; the same loss, several times the tokens."""

    cues: bool = False
    """Whether the client's current turn is followed by what was written down of its clip, where the annotation did so
    (task "cues"): a model of text alone then reads what others see. Only evaluation tells it the same again; in a chat
    nobody writes cues."""

    targets: Literal["together", "apart"] = "together"
    """together: one answer per turn, the labels first, so that they condition the reply. apart: every label and the
    reply is an answer of its own to the same clip and words, which are read once for all; none sees another, and the
    model is then asked for each without the others."""

    max_tokens: Annotated[int, Field(ge=64, le=131_072)] = 1024
    """Longest conversation, or turn with its context, in tokens, clips included. A longer one is cut into windows that
    overlap; turns are left out whole, oldest first, and a clip, the client's words and an answer are never cut."""

    overlap_turns: Annotated[int, Field(ge=0, le=200)] = 8
    """Turns of context that the first target of a later window still sees, as far as they fit."""

    batch_tokens: Annotated[int, Field(ge=64, le=1_000_000)] = 1024
    """Tokens of one forward pass at most; conversations are packed into it whole."""

    batch_size: Annotated[int, Field(ge=0, le=4096)] = 0
    """Conversations, or turns, of one forward pass at most; 0: as many as `batch_tokens` holds."""

    accumulation: Annotated[int, Field(ge=1, le=4096)] = 1
    """Forward passes of each process per optimiser step; the loss is the mean over the learned tokens of all."""

    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = "adamw"
    """AdamW with its state in 32 bits, in 8 bits, or in 8 bits and moved out of a full GPU's memory (bitsandbytes)."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-3
    """Highest learning rate; high here, because a random vocabulary starts from nothing."""

    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """What the learning rate does after the warm-up: falls to 0 in a line or half a cosine, or stays."""

    warmup_steps: Annotated[int, Field(ge=0, le=100_000)] = 5
    """Optimiser steps in which the learning rate rises from 0."""

    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """AdamW's weight decay."""

    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this norm where they are larger."""

    lora_rank: Annotated[int, Field(ge=1, le=512)] = 32
    """Rank of the adapter."""

    lora_alpha: Annotated[int, Field(ge=1, le=4096)] = 64
    """The adapter's update is scaled by alpha / rank; above 1 here, because random layers have far to go."""

    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the adapter."""

    lora_targets: Annotated[tuple[Projection, ...], Field(min_length=1, strict=False)] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    """Projections of the language model that are adapted; those of the towers never are."""

    train_embeddings: bool = True
    """Whether embedding and output head are trained whole: a random vocabulary that stays frozen cannot learn."""

    train_connector: bool = False
    """Whether the connector and the audio projector are trained whole and saved with the adapter. What is kept of a
    clip are then the features of the towers, which are larger, and the connectors run in every step."""

    quantisation: Literal["none", "nf4"] = "none"
    """nf4: the frozen layers of the language model in 4 bits with double quantisation (bitsandbytes)."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the forward and backward pass; the adapter's weights are always 32 bits."""

    recompute: Literal["auto", "on", "off"] = "auto"
    """Activation checkpointing: a layer's inner activations are computed again in the backward pass, which costs a
    third more and saves most of the memory. auto: on where the largest batch does not fit without."""

    attention: Literal["auto", "segments", "dense", "flex"] = "auto"
    """How attention over trees is computed; all give the same numbers. auto: flex on a CUDA device, else segments."""

    loss_chunk: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Learned tokens whose logits exist at the same time."""

    checkpoint_steps: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Optimiser steps between checkpoints; a run that was stopped goes on from the last one."""

    merge: bool = True
    """Whether the tuned model is kept whole too; otherwise the adapter is put on its base whenever it is opened."""

    trackers: Annotated[tuple[Literal["tensorboard", "trackio", "wandb", "mlflow"], ...], Field(strict=False)] = ()
    """Further places for the metrics, none by default. wandb and mlflow may send them to another computer."""

    @model_validator(mode="before")
    @classmethod
    def _filled_from_preset(cls, given: Any) -> Any:
        """`given` over the values of its preset; what is no mapping or names no preset fails in its own field."""
        name = given.get("preset") if isinstance(given, Mapping) else None
        if not isinstance(name, str) or name not in PRESETS:
            return given
        preset = PRESETS[name]
        base = given.get("base", {})
        if isinstance(base, Mapping):
            base = {**preset["base"], **base}
        return {**preset, **given, "base": base}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.batch_tokens < self.max_tokens:
            raise ValueError("batch_tokens is less than max_tokens: a conversation of that length fits into no batch")
        if self.train_connector and not self.base.sees_clips:
            raise ValueError("train_connector needs base.media: a model of text alone has no connector")
        if self.quantisation == "nf4" and self.train_embeddings and not self.base.is_random:
            raise ValueError("train_embeddings does not go with quantisation 'nf4': the vocabulary needs no training")
        return self
