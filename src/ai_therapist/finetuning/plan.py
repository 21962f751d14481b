"""What a training will cost, before it is run: tokens, operations, memory and time.

Operations of a dense decoder per token: 2 per weight of its layers, and 4·width·(tokens seen) per layer for attention.
The base is frozen, so the backward pass costs one forward pass, not two; what is trained whole and the adapter cost
the second part as well. Recomputing activations costs one forward pass more. The head runs on learned tokens alone.
Memory and time are estimates; both say of what.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.loss import ForestLoss
from ai_therapist.finetuning.packing import plan_passes
from ai_therapist.finetuning.tree import Tree

PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "RTX 4090": 165.0}
"""Dense bfloat16 operations per second of GPUs, as their makers state them, in 10^12."""

ASSUMED_MFU = 0.40
"""Share of the peak that is assumed for times on a GPU; what is reached is shown while training."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder that decide the cost."""

    layers: int
    width: int
    vocabulary: int
    layer_weights: int
    """Weights of all layers, adapters left out."""
    trained: int
    """Weights that are trained."""
    trained_in_layers: int
    """Those of them inside the layers: the adapters."""
    last_feed_forward: int
    """Weights of the last layer's feed-forward part, which runs where a token is predicted; adapters left out."""
    last_trained: int
    """Its adapters."""
    trained_head: bool
    """Whether the head is trained whole."""
    bytes_of_base: int
    """Bytes of all weights as they lie in memory."""


@dataclass(frozen=True)
class Plan:
    """The cost of a training."""

    examples: int
    trees: int
    tokens: int
    """Tokens read in all epochs."""
    tokens_one_by_one: int
    """The same with a copy of the context for every example."""
    learned: int
    steps: int
    largest_pass: int
    """Tokens of the largest forward pass."""
    flops: float
    recompute_flops: float
    """Further operations where activations are recomputed."""
    memory: dict[str, int]
    """Bytes by part, of the largest pass without recomputing; and with it."""


def shape_of(loss: ForestLoss) -> Shape:
    """The sizes of a model with its adapter."""
    causal = loss.causal
    text = causal.config.get_text_config()
    decoder: Any = getattr(causal.model, "language_model", causal.model)
    own = [(name, weight) for name, weight in decoder.layers.named_parameters()]
    last = [one for one in own if one[0].startswith(f"{text.num_hidden_layers - 1}.mlp.")]
    head: nn.Module = causal.get_output_embeddings()
    return Shape(
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        vocabulary=text.vocab_size,
        layer_weights=sum(_elements(weight) for name, weight in own if "lora_" not in name),
        trained=sum(weight.numel() for weight in loss.parameters() if weight.requires_grad),
        trained_in_layers=sum(weight.numel() for _, weight in own if weight.requires_grad),
        last_feed_forward=sum(_elements(weight) for name, weight in last if "lora_" not in name),
        last_trained=sum(weight.numel() for _, weight in last if weight.requires_grad),
        trained_head=any(weight.requires_grad for weight in head.parameters()),
        bytes_of_base=sum(weight.numel() * weight.element_size() for weight in loss.parameters()),
    )


def pass_flops(shape: Shape, trees: Sequence[Tree]) -> tuple[float, float]:
    """Operations of forward and backward pass over `trees`, and those of recomputing the layers once.

    Where layers are recomputed the last one runs whole, which is not counted.
    """
    tokens = sum(tree.tokens for tree in trees)
    learned = sum(tree.learned for tree in trees)
    layers = 2.0 * (tokens * shape.layer_weights - (tokens - learned) * shape.last_feed_forward)
    adapters = 2.0 * (tokens * shape.trained_in_layers - (tokens - learned) * shape.last_trained)
    head = 2.0 * learned * shape.vocabulary * shape.width * (3 if shape.trained_head else 2)
    attention = attention_flops(shape, trees)
    # Both products of attention have two gradients, a frozen layer has one.
    return 2 * layers + 3 * adapters + head + 3 * attention, layers + adapters + attention


def attention_flops(shape: Shape, trees: Sequence[Tree]) -> float:
    """Operations of the forward pass of attention: two products over every pair of which one token sees the other."""
    return 4.0 * shape.layers * shape.width * sum(map(_pairs, trees))


def make_plan(shape: Shape, trees: Sequence[Tree], config: FinetuningConfig) -> Plan:
    """The cost of training a model of that shape on `trees`, of which there is one at least, in one process."""
    (passes,) = plan_passes(trees, config)
    flops = recompute = 0.0
    for planned in passes:
        own, again = pass_flops(shape, [trees[place] for place in planned.trees])
        flops, recompute = flops + own, recompute + again
    largest = max(sum(trees[place].tokens for place in planned.trees) for planned in passes)
    return Plan(
        examples=sum(len(tree.branches) for tree in trees),
        trees=len(trees),
        tokens=config.epochs * sum(tree.tokens for tree in trees),
        tokens_one_by_one=config.epochs * sum(one.tokens for tree in trees for one in tree.apart()),
        learned=config.epochs * sum(tree.learned for tree in trees),
        steps=-(-len(passes) // config.accumulation),
        largest_pass=largest,
        flops=flops,
        recompute_flops=recompute,
        memory=_memory(shape, largest, config),
    )


def seconds_on(plan: Plan, peak_tflops: float, mfu: float = ASSUMED_MFU) -> float:
    """Estimated seconds of the training at a share of a peak, without recomputing."""
    return plan.flops / (peak_tflops * 1e12 * mfu)


def peak_tflops_here() -> float | None:
    """The stated peak of this machine's GPU, or None where there is none or it is not known."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)


def cpu_tflops(size: int = 512, rounds: int = 8) -> float:
    """Measured operations per second of this processor, from products of matrices with one thread, in 10^12."""
    one = torch.randn(size, size)
    start = time.process_time()
    for _ in range(rounds):
        one @ one
    return rounds * 2.0 * size**3 / max(time.process_time() - start, 1e-9) / 1e12


def _memory(shape: Shape, tokens: int, config: FinetuningConfig) -> dict[str, int]:
    number = 2 if config.precision == "bf16" else 4
    per_weight = {"adamw": 8, "adamw_8bit": 2, "paged_adamw_8bit": 2}[config.optimizer]
    inside = 2 * shape.layer_weights // (shape.layers * shape.width)
    """Rough width of all that a layer keeps per token."""
    return {
        "weights": shape.bytes_of_base,
        "gradients and optimiser": shape.trained * (4 + per_weight),
        "activations": shape.layers * tokens * (shape.width + inside) * number,
        "activations, recomputed": tokens * (shape.layers * shape.width + inside) * number,
        "head and loss": config.loss_chunk * shape.vocabulary * (2 * 4 + number),
    }


def _elements(weight: torch.Tensor) -> int:
    """Weights in a parameter: two per byte where it is packed into 4 bits."""
    return weight.numel() * (2 if weight.dtype == torch.uint8 else 1)


def _pairs(tree: Tree) -> float:
    """Pairs of tokens that attention computes; a causal square counts as half."""
    pairs = len(tree.trunk) ** 2 / 2
    for branch in tree.branches:
        prompt = len(branch.prompt)
        pairs += prompt * (branch.fork + prompt / 2)
        pairs += sum(len(one.ids) * (branch.fork + prompt + len(one.ids) / 2) for one in branch.answers)
    return pairs
