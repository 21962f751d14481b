"""The published job on a GPU, random weights in the real shape: python benchmarks/gpu/finetune.py [--tiny].

1,329 examples of therapist turns, the language model of Qwen2.5-7B in 4 bits, LoRA of rank 16 on all seven projections,
features of clips cached. Ours (one pass per conversation), with each way to compute attention, with and without
recomputing activations, beside plain Trainer and PEFT on one example per turn, in the same run: wall time, tokens per
second, share of the GPU's peak, memory. What the first passes cost (kernels are compiled) counts as `start_s`. Without
a CUDA device nothing is measured and the result says so. `--tiny` runs the same functions on a small model and few
conversations, on the CPU if need be: that proves the script, not the speed.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Trainer, TrainingArguments

sys.path.insert(0, str(Path(__file__).parents[1]))
from reporting import finish
from training import LONG, VOCABULARY, conversations

from ai_therapist.finetuning.adapter import with_adapter
from ai_therapist.finetuning.attention import plant
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.loss import Attention, ForestLoss
from ai_therapist.finetuning.packing import plan_passes
from ai_therapist.finetuning.plan import pass_flops, peak_tflops_here, shape_of
from ai_therapist.finetuning.train import recompute
from ai_therapist.finetuning.trainer import ForestTrainer, Passes
from ai_therapist.finetuning.tree import Tree
from ai_therapist.models.base import open_base

EXAMPLES = 1329
LIMIT_GIB, LIMIT_S, LEAST_MFU = 16.0, 120.0, 0.45
STARTING = 4
"""Passes before the clock runs."""


class Way(NamedTuple):
    """How attention is computed, and whether activations are computed again in the backward pass."""

    attention: Attention
    recomputed: bool

    @property
    def name(self) -> str:
        """Prefix of its figures."""
        return f"{self.attention}{'_recomputed' if self.recomputed else ''}"


WAYS = (Way("flex", False), Way("flex", True), Way("segments", True), Way("dense", True))
"""The first two need a CUDA device."""


def shape(tiny: bool) -> Qwen2Config:
    """Qwen2.5-7B, or a model of three million weights."""
    if tiny:
        return Qwen2Config(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    return Qwen2Config(
        vocab_size=152064,
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        tie_word_embeddings=False,
    )


def save_random(config: Qwen2Config, folder: Path) -> None:
    """Write a model of random weights in bfloat16."""
    before = torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            Qwen2ForCausalLM(config).save_pretrained(folder)
    finally:
        torch.set_default_dtype(before)


def settings(tiny: bool) -> FinetuningConfig:
    """The preset of text, one epoch, as the published job."""
    changes: dict[str, Any] = {"preset": "text", "epochs": 1, "checkpoint_steps": 100_000}
    return FinetuningConfig.model_validate(changes | ({"precision": "fp32", "quantisation": "none"} if tiny else {}))


def opened(folder: Path, config: FinetuningConfig) -> Any:
    """The base with its adapter, as training opens it."""
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    return with_adapter(open_base(folder, four_bit=config.quantisation == "nf4", dtype=dtype).model, config)


def ours(folder: Path, trees: list[Tree], config: FinetuningConfig, way: Way) -> dict[str, float]:
    """One pass per conversation."""
    loss = ForestLoss(opened(folder, config).get_base_model(), way.attention, config.loss_chunk)
    if way.recomputed:
        recompute(loss)
    passes = plan_passes(trees, config)[0]
    started = timed(lambda: warm_up(loss, [[trees[at] for at in planned.trees] for planned in passes[:STARTING]]))
    with tempfile.TemporaryDirectory() as checkpoints:
        trainer = ForestTrainer(loss, Passes(trees, passes), {}, config, Path(checkpoints), lambda *each: None)
        figures = {"start_s": started["wall_s"], **timed(trainer.run)}
    figures["tokens_per_s"] = round(sum(tree.tokens for tree in trees) / figures["wall_s"])
    peak = peak_tflops_here()
    if peak is not None:
        figures["mfu"] = round(pass_flops(shape_of(loss), trees)[0] / figures["wall_s"] / (peak * 1e12), 3)
    return figures


def warm_up(loss: ForestLoss, groups: list[list[Tree]]) -> None:
    """Forward and backward passes without a step, of several lengths: after them no kernel is compiled any more."""
    loss.train()
    for group in groups:
        loss(plant(group, next(loss.parameters()).device), {}).backward()
    loss.zero_grad()


def plain(folder: Path, trees: list[Tree], config: FinetuningConfig) -> dict[str, float]:
    """One example per turn, batch 2 times 4, padded to the longest, through Trainer and PEFT as they come."""
    rows = [one for tree in trees for one in tree.apart()]

    def batch(chosen: list[Tree]) -> dict[str, torch.Tensor]:
        longest = max(tree.tokens for tree in chosen)
        ids = [list(tree.row) for tree in chosen]
        labels = [
            [-100] * (len(row) - tree.learned) + row[-tree.learned :] for row, tree in zip(ids, chosen, strict=True)
        ]
        return {
            "input_ids": torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids]),
            "labels": torch.tensor([[*row, *[-100] * (longest - len(row))] for row in labels]),
        }

    model = opened(folder, config)
    with tempfile.TemporaryDirectory() as checkpoints:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=checkpoints,
                per_device_train_batch_size=2,
                gradient_accumulation_steps=4,
                num_train_epochs=1,
                learning_rate=config.learning_rate,
                bf16=config.precision == "bf16",
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                remove_unused_columns=False,
                use_cpu=not torch.cuda.is_available(),
            ),
            data_collator=batch,
            train_dataset=rows,
        )
        return timed(trainer.train)


def timed(work: Any) -> dict[str, float]:
    """Wall seconds and, on a GPU, the highest memory of `work`."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    work()
    if not torch.cuda.is_available():
        return {"wall_s": round(time.perf_counter() - start, 2)}
    torch.cuda.synchronize()
    return {
        "wall_s": round(time.perf_counter() - start, 2),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
    }


def main() -> None:
    """Measure where there is a CUDA device, or the tiny model anywhere, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a small model and few conversations, also without a GPU")
    parser.add_argument("--quick", action="store_true", help="accepted as by all benchmarks; changes nothing")
    tiny = parser.parse_args().tiny
    bar = f"1,329 examples within {LIMIT_S:g} s and {LIMIT_GIB:g} GiB at {LEAST_MFU:.0%} of the peak or more"
    if not torch.cuda.is_available() and not tiny:
        print("not run: no CUDA device")
        finish("gpu/finetune", {"not_run": "no CUDA device"}, bar, holds=None)
    config = settings(tiny)
    trees = conversations(LONG, 1 if tiny else -(-EXAMPLES // LONG.pairs[0]), 0).trees
    figures: dict[str, float] = {}
    holds = False
    with tempfile.TemporaryDirectory() as base:
        save_random(shape(tiny), Path(base))
        for way in WAYS:
            if way.attention == "flex" and not torch.cuda.is_available():
                continue
            own = ours(Path(base), trees, config, way)
            figures |= named(way.name, own)
            holds |= meets_goals(own)
        figures |= named("plain", plain(Path(base), trees, config))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    finish(
        "gpu/finetune",
        {"tiny": tiny, "device": device, "examples": sum(len(tree.branches) for tree in trees), **figures},
        bar,
        holds=None if tiny else holds,
    )


def named(name: str, figures: dict[str, float]) -> dict[str, float]:
    """The figures of one way, shown at once: what comes after it may take minutes."""
    print(name, figures, flush=True)
    return {f"{name}_{key}": value for key, value in figures.items()}


def meets_goals(figures: dict[str, float]) -> bool:
    """Whether one way meets the goals of time, memory and use together."""
    quick = figures["wall_s"] + figures.get("start_s", 0) <= LIMIT_S
    return quick and figures.get("peak_gib", 0) <= LIMIT_GIB and figures.get("mfu", 0) >= LEAST_MFU


if __name__ == "__main__":
    main()
