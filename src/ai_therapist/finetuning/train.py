"""Tunes a LoRA adapter on the language model, with the loss on target tokens only."""

# mypy: allow-untyped-calls

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedTokenizerFast

from ai_therapist.dataset.render import instructions, plain, target_text
from ai_therapist.errors import ItemError
from ai_therapist.finetuning.checkpoint import restore_checkpoint, save_checkpoint
from ai_therapist.finetuning.collate import Encoded, collate, encode_example
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.curve import Point, Step, learning_rate, plan_steps
from ai_therapist.finetuning.features import ClipFeatures
from ai_therapist.finetuning.tokenizer import PAD, SPECIAL_TOKENS, train_tokenizer
from ai_therapist.models.local import load_videollama2
from ai_therapist.pipeline.stage import Progress
from ai_therapist.records import Example, Split
from ai_therapist.videollama2 import LORA_TARGETS, VideoLLaMA2Qwen2ForConditionalGeneration

# A random vocabulary that stays frozen cannot learn: no update of the layers between makes its rows mean words.
_TRAINED_WHOLE = ["embed_tokens", "lm_head"]

_PAD_ID = SPECIAL_TOKENS.index(PAD)


def with_adapter(model: VideoLLaMA2Qwen2ForConditionalGeneration, config: FinetuningConfig) -> PeftModel:
    """The model with a fresh adapter on all seven projections of its language model, from the seed of `config`.

    Embedding and output head are trained whole and saved with the adapter; all else is frozen.
    """
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules=LORA_TARGETS,
        modules_to_save=_TRAINED_WHOLE,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        with warnings.catch_warnings():
            # PEFT asks for a property by the name it had before transformers 5.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
            return get_peft_model(model, lora)


class Tuning:
    """One training run: a model with its adapter, the encoded examples and the features of their clips."""

    def __init__(
        self,
        model: PeftModel,
        examples: Sequence[Encoded],
        features: Mapping[str, ClipFeatures],
        config: FinetuningConfig,
    ) -> None:
        self.model = model
        self._examples = examples
        self._features = features
        self._config = config
        self.steps: list[Step] = plan_steps(len(examples), config)
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._optimizer = torch.optim.AdamW(self._weights, lr=config.learning_rate, weight_decay=0.0)

    def run(self, checkpoints: Path, progress: Progress) -> list[Point]:
        """Train to the end, from the last whole checkpoint in the folder `checkpoints` if there is one.

        Returns the whole curve, the steps of earlier attempts included. Raises ItemError where the loss is no number;
        the last checkpoint stays then.
        """
        curve = restore_checkpoint(checkpoints, self.model, self._optimizer)
        self.model.train()
        for number in range(len(curve), len(self.steps)):
            rate = learning_rate(number, len(self.steps), self._config)
            loss = self._take(self.steps[number], rate, number)
            curve.append(Point(step=number + 1, loss=loss, learning_rate=rate))
            progress(number + 1, len(self.steps), f"loss {loss:.3f}")
            if len(curve) % self._config.checkpoint_steps == 0:
                save_checkpoint(checkpoints, self.model, self._optimizer, curve)
        self.model.eval()
        return curve

    def _take(self, step: Step, rate: float, number: int) -> float:
        """One optimiser step; returns the mean loss over the target tokens of all its forward passes."""
        targets = sum(self._examples[place].targets for batch in step for place in batch)
        total = 0.0
        for batch in step:
            inputs = collate([self._examples[place] for place in batch], self._features, _PAD_ID)
            # Dividing by the targets of the whole step keeps accumulation equal to one large batch.
            loss = self.model(**inputs, num_items_in_batch=targets, use_cache=False).loss
            loss.backward()
            total += loss.item()
        if not torch.isfinite(torch.tensor(total)):
            raise ItemError(f"finetuning: the loss of step {number + 1} is no number; lower finetuning.learning_rate")
        torch.nn.utils.clip_grad_norm_(self._weights, self._config.max_grad_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return total


@torch.no_grad()
def mean_loss(
    model: PeftModel, examples: Sequence[Encoded], features: Mapping[str, ClipFeatures], batch_size: int
) -> float:
    """Mean loss per target token in nats over `examples`, without training. Raises ValueError over none."""
    if not examples:
        raise ValueError("the mean loss of nothing is not defined")
    model.eval()
    targets = sum(one.targets for one in examples)
    total = 0.0
    for start in range(0, len(examples), batch_size):
        inputs = collate(examples[start : start + batch_size], features, _PAD_ID)
        total += model(**inputs, num_items_in_batch=targets, use_cache=False).loss.item()
    return total


class Tuned(NamedTuple):
    """What a finished training gives."""

    model: PeftModel
    tokenizer: PreTrainedTokenizerFast
    curve: list[Point]
    account: dict[str, object]
    """Losses before and after, sizes, steps and seconds."""


def tune_on(
    examples: Sequence[Example],
    features: Mapping[str, ClipFeatures],
    base: Path,
    config: FinetuningConfig,
    checkpoints: Path,
    progress: Progress,
) -> Tuned:
    """Tune the base in the folder `base` on the examples of split train; those of split validation are only measured.

    `loss_first` and `loss_last` of the account are the mean loss per target token over all training examples, without
    training, before the first step and after the last; `seconds` is the time of the attempt that finished. Raises
    ItemError where no example fits into the token limit or the loss is no number.
    """
    started_s = time.perf_counter()
    train = [example for example in examples if example.split is Split.TRAIN]
    validation = [example for example in examples if example.split is Split.VALIDATION]
    tokenizer = train_tokenizer(_reading_matter(train), config.base.vocabulary_size)
    seen = _encoded(train, tokenizer, features, config)
    held_out = _encoded(validation, tokenizer, features, config)
    if not seen:
        raise ItemError(f"finetuning: no example fits into {config.max_tokens} tokens; raise finetuning.max_tokens")
    model = with_adapter(load_videollama2(base, towers=False), config)
    tuning = Tuning(model, seen, features, config)
    first = _losses(model, seen, held_out, features, config.batch_size)
    curve = tuning.run(checkpoints, progress)
    last = _losses(model, seen, held_out, features, config.batch_size)
    account: dict[str, object] = {
        "loss_first": first[0],
        "loss_last": last[0],
        "validation_loss_first": first[1],
        "validation_loss_last": last[1],
        "examples": len(seen),
        "too_long": len(train) - len(seen),
        "with_clip": sum(one.clip is not None for one in seen),
        "steps": len(curve),
        "tokens": sum(len(one.input_ids) for one in seen),
        "target_tokens": sum(one.targets for one in seen),
        "vocabulary": len(tokenizer),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "trained_parameters": sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        "seconds": round(time.perf_counter() - started_s, 2),
    }
    return Tuned(model, tokenizer, curve, account)


def _reading_matter(examples: Iterable[Example]) -> Iterable[str]:
    """The text from which the tokenizer is learned: each reply with its labels, each turn before it, instructions."""
    for example in examples:
        yield instructions()
        yield from (plain(turn.text) for turn in (*example.context, example.client))
        yield target_text(example.labels, example.reply.text)


def _encoded(
    examples: Iterable[Example],
    tokenizer: PreTrainedTokenizerFast,
    features: Mapping[str, ClipFeatures],
    config: FinetuningConfig,
) -> list[Encoded]:
    encoded = (encode_example(example, tokenizer, features, config.max_tokens) for example in examples)
    return [one for one in encoded if one is not None]


def _losses(
    model: PeftModel,
    seen: Sequence[Encoded],
    held_out: Sequence[Encoded],
    features: Mapping[str, ClipFeatures],
    batch_size: int,
) -> tuple[float, float | None]:
    """Mean loss over the training examples, and over the held-out ones where there are any."""
    own = mean_loss(model, seen, features, batch_size)
    return own, mean_loss(model, held_out, features, batch_size) if held_out else None
