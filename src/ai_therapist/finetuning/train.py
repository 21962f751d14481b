"""Tunes a base on the training split: trees from examples, an adapter, and the trainer over them."""

# mypy: allow-untyped-calls

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from transformers import AutoTokenizer

from ai_therapist.dataset.render import instructions, plain, target_text
from ai_therapist.dataset.trunk import gather_conversations
from ai_therapist.errors import ItemError
from ai_therapist.finetuning.adapter import with_adapter
from ai_therapist.finetuning.attention import plant
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.curve import Point, Watched
from ai_therapist.finetuning.features import ClipFeatures, placeholders_of
from ai_therapist.finetuning.loss import Attention, ForestLoss, LossOf
from ai_therapist.finetuning.packing import pack, plan_passes
from ai_therapist.finetuning.plan import pass_flops, peak_tflops_here, shape_of
from ai_therapist.finetuning.processes import process
from ai_therapist.finetuning.tokenizer import train_tokenizer
from ai_therapist.finetuning.trainer import ForestTrainer, Passes, StepSeen
from ai_therapist.finetuning.tree import Encoded, Tree, encode_all
from ai_therapist.models.base import open_base
from ai_therapist.models.chat_text import ChatText
from ai_therapist.models.local import silence_progress_bars
from ai_therapist.models.tuned_folder import ADAPTER, PROCESSOR
from ai_therapist.records import Example, Split

_MEASURED_TREES = 64
"""Trees of a split over which the loss before and after is measured."""


class Tuned(NamedTuple):
    """What a finished training gives."""

    model: PeftModel
    loss: ForestLoss
    processor: Any
    """Processor or tokenizer of the base; of a random one the tokenizer that was trained."""
    curve: list[Point]
    context_turns: int
    """Most turns of context that an example showed."""
    account: dict[str, object]
    """Losses before and after, sizes, steps and seconds."""


class Prepared(NamedTuple):
    """A base with its adapter, and the trees that it is trained on and measured with."""

    model: PeftModel
    loss: ForestLoss
    processor: Any
    seen: Encoded
    held_out: Encoded


def tune_on(
    examples: Sequence[Example],
    features: Mapping[str, ClipFeatures],
    base: Path,
    config: FinetuningConfig,
    checkpoints: Path,
    seen: StepSeen,
    start: Path | None = None,
) -> Tuned:
    """Tune the base in the folder `base` on the examples of split train; those of split validation are only measured.

    `start` holds the adapter, and for a random base the tokenizer, of an earlier model to go on from. `loss_first` and
    `loss_last` of the account are the mean loss per learned token over the training examples (at most 64 trees of
    them), without training, before the first step and after the last; `seconds` is the time of the attempt that
    finished. Raises ItemError where no example fits into the token limit or the loss is no number.
    """
    started_s = time.perf_counter()
    ready = prepare(examples, placeholders_of(features), base, config, start)
    trees = ready.seen.trees
    if not trees:
        raise ItemError(f"finetuning: no example fits into {config.max_tokens} tokens; raise finetuning.max_tokens")
    processes, rank = process()
    passes = plan_passes(trees, config, processes)[rank]
    trainer = ForestTrainer(ready.loss, Passes(trees, passes), features, config, checkpoints, seen)
    if needs_recomputing(config, ready.loss, [trees[at] for at in max(passes, key=_tokens_of(trees)).trees], features):
        recompute(ready.loss)
    if isinstance(seen, Watched):
        seen.flops_per_token = pass_flops(shape_of(ready.loss), trees)[0] / sum(tree.tokens for tree in trees)
        seen.peak_tflops = peak_tflops_here()
    first = _losses(ready, features, config)
    curve = trainer.run()
    last = _losses(ready, features, config)
    weights = list(ready.model.parameters())
    account: dict[str, object] = {
        "loss_first": first[0],
        "loss_last": last[0],
        "validation_loss_first": first[1],
        "validation_loss_last": last[1],
        "examples": sum(len(tree.branches) for tree in trees),
        "too_long": len(ready.seen.too_long),
        "context_turns": ready.seen.context_turns,
        "with_clip": sum(branch.clip is not None for tree in trees for branch in tree.branches),
        "trees": len(trees),
        "steps": len(curve),
        "tokens": sum(tree.tokens for tree in trees),
        "tokens_one_by_one": sum(one.tokens for tree in trees for one in tree.apart()),
        "target_tokens": sum(tree.learned for tree in trees),
        "vocabulary": len(getattr(ready.processor, "tokenizer", ready.processor)),
        "parameters": sum(weight.numel() for weight in weights),
        "trained_parameters": sum(weight.numel() for weight in weights if weight.requires_grad),
        "processes": processes,
        "seconds": round(time.perf_counter() - started_s, 2),
    }
    return Tuned(ready.model, ready.loss, ready.processor, curve, ready.seen.context_turns, account)


def prepare(
    examples: Sequence[Example],
    placeholders: Mapping[str, str],
    base: Path,
    config: FinetuningConfig,
    start: Path | None = None,
) -> Prepared:
    """The base without its towers and with its adapter, and the encoded examples.

    `placeholders` are the control tokens that stand for each clip. With `start` the adapter of an earlier model goes
    on, and its tokenizer where the base has none of its own.
    """
    silence_progress_bars()
    train = [example for example in examples if example.split is Split.TRAIN]
    validation = [example for example in examples if example.split is Split.VALIDATION]
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    opened = open_base(base, towers=False, four_bit=config.quantisation == "nf4", dtype=dtype)
    processor = opened.processor
    if processor is None and start is not None:
        processor = AutoTokenizer.from_pretrained(start / PROCESSOR)
    elif processor is None:
        processor = train_tokenizer(reading_matter(train), config.base.vocabulary_size)
    chat = ChatText(getattr(processor, "tokenizer", processor))
    model = with_adapter(opened.model, config, None if start is None else start / ADAPTER)
    loss = ForestLoss(
        model.get_base_model(), attention_of(config), config.loss_chunk, tower_features=config.train_connector
    )
    return Prepared(
        model,
        loss,
        processor,
        encode_examples(train, chat, placeholders, config),
        encode_examples(validation, chat, placeholders, config),
    )


def encode_examples(
    examples: Sequence[Example], chat: ChatText, placeholders: Mapping[str, str], config: FinetuningConfig
) -> Encoded:
    """The trees of the examples: of whole conversations, or one per example in the layout "turn"."""
    groups = [[example] for example in examples] if config.layout == "turn" else [list(examples)]
    conversations = [conversation for group in groups for conversation in gather_conversations(group)]
    return encode_all(
        conversations,
        chat,
        placeholders,
        config.max_tokens,
        config.overlap_turns,
        cues=config.cues,
        targets=config.targets,
    )


@torch.no_grad()
def mean_loss(loss: ForestLoss, trees: Sequence[Tree], features: Mapping[str, ClipFeatures], budget: int) -> float:
    """Mean loss per learned token in nats over `trees`, without training. Raises ValueError over none."""
    loss.eval()
    device = next(loss.parameters()).device
    nats = 0.0
    for group in pack([tree.tokens for tree in trees], budget, 0):
        forest = plant([trees[place] for place in group], device)
        nats += float(loss(forest, {clip: features[clip].to(device) for clip in forest.clips}))
    return LossOf(nats, sum(tree.learned for tree in trees)).mean


def attention_of(config: FinetuningConfig) -> Attention:
    """How attention is computed on this machine."""
    if config.attention != "auto":
        return config.attention
    return "flex" if torch.cuda.is_available() else "segments"


def needs_recomputing(
    config: FinetuningConfig, loss: ForestLoss, trees: Sequence[Tree], features: Mapping[str, ClipFeatures]
) -> bool:
    """Whether activations must be computed again: as the settings say, or because the largest pass does not fit.

    The largest pass is run once forward and backward to find out; only a CUDA device runs out in a way that is told.
    """
    if config.recompute != "auto":
        return config.recompute == "on"
    if not torch.cuda.is_available():
        return False
    return runs_out_of_memory(lambda: _trial(loss, trees, features))


def runs_out_of_memory(work: Callable[[], object]) -> bool:
    """Whether `work` fails for want of memory on the device."""
    try:
        work()
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return True
    return False


def recompute(loss: ForestLoss) -> None:
    """Let every layer of the language model compute its inner activations again in the backward pass."""
    loss.causal.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})


def _trial(loss: ForestLoss, trees: Sequence[Tree], features: Mapping[str, ClipFeatures]) -> None:
    device = next(loss.parameters()).device
    forest = plant(trees, device)
    loss.train()
    loss(forest, {clip: features[clip].to(device) for clip in forest.clips}).backward()
    loss.zero_grad()


def _tokens_of(trees: Sequence[Tree]) -> Callable[[Any], int]:
    return lambda planned: sum(trees[place].tokens for place in planned.trees)


def reading_matter(examples: Iterable[Example]) -> Iterable[str]:
    """The text from which the tokenizer is learned: each reply with its labels, each turn before it, instructions."""
    for example in examples:
        yield instructions()
        yield from (plain(turn.text) for turn in (*example.context, example.client))
        yield target_text(example.labels, example.reply.text)


def _losses(
    ready: Prepared, features: Mapping[str, ClipFeatures], config: FinetuningConfig
) -> tuple[float, float | None]:
    """Mean loss over the training examples, and over the held-out ones where there are any."""
    own, other = (part.trees[:_MEASURED_TREES] for part in (ready.seen, ready.held_out))
    budget = config.batch_tokens
    return mean_loss(ready.loss, own, features, budget), (
        mean_loss(ready.loss, other, features, budget) if other else None
    )
