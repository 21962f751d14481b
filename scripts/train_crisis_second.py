"""Adapts the larger encoder of the crisis gate and writes the change and its card into the package.

    python scripts/train_crisis_second.py --goemotions FOLDER [--device cuda]

It learns from the messages of scripts/train_crisis_classifier.py and from more of them, in crisis_more/, that seven
authors wrote afterwards: alone, and one danger or none among calm sentences. It writes a low-rank change of the
matrices of the first six layers and a linear layer over their mean state; the published weights are read from their
packages, rounded to half precision, and stay as they are. On one H100 it took six minutes beside three other trainings,
in bfloat16; on two cores it takes hours. A GPU does not give the same bytes twice. The change that ships was learned by
these steps, with these numbers and the same messages in the same order, before they stood in a script of their own.
scripts/weigh_crisis_gate.py decides afterwards when it is asked and how its answer counts.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize
from train_crisis_classifier import (
    DATA,
    EXAMPLES,
    HERE,
    PACKAGE,
    SEED,
    STYLES,
    UNCHOSEN,
    Sample,
    comments,
    grammar,
    inputs_digest,
    refuse_held_out,
    talk,
    without_held_out,
    written,
)
from transformers import MPNetConfig, MPNetModel

from ai_therapist.safety.crisis_classifier import CALM, LABELS
from ai_therapist.safety.crisis_encoder import WINDOW_TOKENS
from ai_therapist.safety.crisis_second import (
    BASE_SHA256,
    CARD_FILE,
    LAYERS,
    WEIGHTS_FILE,
    SecondCard,
    installed_parts,
    published,
)
from ai_therapist.safety.encoder_layers import MPNET

MORE = HERE / "crisis_more"
RANK = 64
SCALE = 1.0
LEARNING_RATE = 8e-4
HEAD_LEARNING_RATE = 2e-3
PASSES = 4
BATCH = 64
TORCH_SEED = 3
PADDING = 1
STYLED = 0.4
"""Share of the messages that each pass shows as somebody types them or a recogniser hears them."""
SMOOTHING = 0.03
TAKEN = {"grammar": 2_000, "talk": 1_200, "comment": 6_000}
"""How many messages of a source are taken; of those written by hand, all."""
BURIED = {"at_risk": 10_000, CALM: 14_000}
"""How many messages of several sentences are made."""
LONGEST_PART, LONGEST_BURIED = 40, 110
"""Words of a sentence that is put among others, and of the whole."""


def training_samples(folder: Path) -> list[Sample]:
    """All that is learned from, in a fixed order."""
    rng = random.Random(SEED)
    by_hand = sorted([*written(EXAMPLES), *written(MORE)], key=lambda sample: (sample.label == CALM, sample.family))
    refuse_held_out(by_hand)
    others = {
        "grammar": without_held_out(grammar(rng)),
        "talk": without_held_out(talk()),
        "comment": comments(folder, rng),
    }
    taken = [sample for name, found in others.items() for sample in rng.sample(found, min(len(found), TAKEN[name]))]
    return [*by_hand, *taken, *buried([*by_hand, *others["talk"]], rng)]


def buried(samples: Sequence[Sample], rng: random.Random) -> list[Sample]:
    """Messages of several sentences: one danger among calm ones, or calm ones alone."""
    short = [sample for sample in samples if len(sample.text.split()) <= LONGEST_PART]
    calm = [sample.text for sample in short if sample.label == CALM]
    dangers = [sample for sample in short if sample.label != CALM]
    made = []
    for kind, count in BURIED.items():
        for _ in range(count):
            core = rng.choice(dangers) if kind == "at_risk" else Sample(rng.choice(calm), CALM, "written", CALM)
            parts = [core.text]
            for other in rng.sample(calm, rng.randint(1, 6)):
                if sum(len(part.split()) for part in parts) + len(other.split()) > LONGEST_BURIED:
                    break
                parts.insert(rng.randint(0, len(parts)), other)
            text = " ".join(part if part[-1] in ".!?" else f"{part}." for part in parts)
            made.append(Sample(text, core.label, "composed", core.family))
    return made


def one_pass(samples: Sequence[Sample], rng: random.Random) -> Iterator[list[Sample]]:
    """Batches of messages of like length, some in another style, in a random order."""
    shown = [
        replace(sample, text=rng.choice(STYLES)(sample.text, rng))
        if len(sample.text) > 4 and rng.random() < STYLED
        else sample
        for sample in samples
    ]
    rng.shuffle(shown)
    batches = []
    for start in range(0, len(shown), BATCH * 20):
        near = sorted(shown[start : start + BATCH * 20], key=lambda sample: len(sample.text))
        batches += [near[i : i + BATCH] for i in range(0, len(near), BATCH)]
    rng.shuffle(batches)
    yield from batches


def read_batch(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask [texts, tokens]."""
    start, end = tokenizer.token_to_id(MPNET.first), tokenizer.token_to_id(MPNET.last)
    rows = [[start, *tokenizer.encode(text, add_special_tokens=False).ids[:WINDOW_TOKENS], end] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [PADDING] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def loss_of(scores: torch.Tensor, batch: Sequence[Sample]) -> torch.Tensor:
    """Danger against calm for every message, and which danger for those at risk."""
    risky = [place for place, sample in enumerate(batch) if sample.label != CALM]
    wanted = torch.full((len(batch),), SMOOTHING, device=scores.device)
    wanted[risky] = 1 - SMOOTHING
    loss = functional.binary_cross_entropy_with_logits(scores[:, 0], wanted)
    if risky:
        kinds = torch.tensor([LABELS.index(batch[place].label) - 1 for place in risky], device=scores.device)
        loss = loss + 0.3 * functional.cross_entropy(scores[risky, 1:], kinds, label_smoothing=SMOOTHING)
    return loss


class LowRank(nn.Module):
    """A matrix plus the product of two thin ones, of which alone is learned (LoRA, Hu et al. 2021)."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        wide, narrow = weight.shape
        self.down = nn.Parameter(torch.randn(RANK, narrow) / narrow**0.5)
        self.up = nn.Parameter(torch.zeros(wide, RANK))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The changed matrix [wide, narrow]."""
        return weight + SCALE * self.up @ self.down


def base() -> tuple[Any, Tokenizer]:
    """The published layers, frozen, and their tokenizer."""
    parts = installed_parts()
    if parts is None:
        raise SystemExit("the weights of the larger encoder are not installed (docs/safety.md)")
    weights, tokenizer = published(parts)
    model = MPNetModel(MPNetConfig(num_hidden_layers=LAYERS, max_position_embeddings=514), add_pooling_layer=False)
    model.load_state_dict(weights)
    return model.requires_grad_(requires_grad=False), tokenizer


def learn(samples: Sequence[Sample], passes: int, device: str) -> dict[str, torch.Tensor]:
    """The change of the matrices and the linear layer, as they will be written."""
    torch.manual_seed(TORCH_SEED)
    rng = random.Random(TORCH_SEED)
    model, tokenizer = base()
    changes = {}
    for name, layer in list(model.encoder.named_modules()):
        if isinstance(layer, nn.Linear):
            changes[f"encoder.{name}"] = LowRank(layer.weight)
            parametrize.register_parametrization(layer, "weight", changes[f"encoder.{name}"])
    head = nn.Linear(model.config.hidden_size, len(LABELS)).to(device)
    model.to(device)
    changed = [parameter for change in changes.values() for parameter in change.parameters()]
    groups: list[dict[str, Any]] = [{"params": changed}, {"params": list(head.parameters())}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    steps = passes * sum(1 for _ in one_pass(samples, random.Random()))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [LEARNING_RATE, HEAD_LEARNING_RATE], total_steps=steps, pct_start=0.1, anneal_strategy="linear"
    )
    model.train()
    for number in range(passes):
        start, count, total = time.monotonic(), 0, torch.zeros((), device=device)
        for batch in one_pass(samples, rng):
            ids, mask = (one.to(device) for one in read_batch(tokenizer, [sample.text for sample in batch]))
            with parametrize.cached(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                states = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            loss = loss_of(head(mean), batch)
            loss.backward()
            nn.utils.clip_grad_norm_(changed, 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            total, count = total + loss.detach(), count + 1
        print(f"pass {number + 1}: loss {total.item() / count:.4f}, {time.monotonic() - start:.0f} s", flush=True)
    tensors = {"head.weight": head.weight, "head.bias": head.bias}
    tensors |= {f"{name}.{side}": getattr(change, side) for name, change in changes.items() for side in ("up", "down")}
    return {name: tensor.detach().half().cpu().contiguous() for name, tensor in sorted(tensors.items())}


def present_inputs() -> str:
    """Digest over the scripts and the messages as they are."""
    return inputs_digest(
        Path(__file__), Path(__file__).with_name("train_crisis_classifier.py"), *sorted(MORE.rglob("*.txt"))
    )


def card_of(change: bytes) -> SecondCard:
    """The card of a change that says nothing yet of how it is weighed."""
    return SecondCard(
        base_sha256=BASE_SHA256,
        sha256=hashlib.sha256(change).hexdigest(),
        scale=SCALE,
        first_share=0.5,
        second_share=0.5,
        offset=0.0,
        clearly_calm=-1e9,
        asked_from=-1e9,
        asked_below=1e9,
        thresholds=UNCHOSEN,
        data=DATA,
        inputs_sha256=present_inputs(),
    )


def main() -> None:
    """Learn, and write change and card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goemotions", type=Path, required=True, help="folder with original_train.tsv")
    parser.add_argument("--passes", type=int, default=PASSES, help="times that every message is seen")
    parser.add_argument("--device", default="cpu", help="where to train, as PyTorch names it")
    parser.add_argument("--output", type=Path, default=PACKAGE, help="folder to write into")
    options = parser.parse_args()
    samples = training_samples(options.goemotions)
    print(f"{len(samples)} messages, {sum(sample.label != CALM for sample in samples)} of them at risk", flush=True)
    change = save(learn(samples, options.passes, options.device))
    (options.output / WEIGHTS_FILE).write_bytes(change)
    (options.output / CARD_FILE).write_text(card_of(change).model_dump_json(indent=2) + "\n", "utf-8")
    print(f"{options.output / WEIGHTS_FILE}: {len(change) / 1e6:.1f} MB, sha256 {card_of(change).sha256[:12]}")


if __name__ == "__main__":
    main()
