"""Adapts the sentence encoder of the crisis gate and writes the change and its card into the package.

    python scripts/train_crisis_encoder.py --goemotions FOLDER

It learns from the same messages as scripts/train_crisis_classifier.py, alone, and writes a low-rank change of the
encoder's matrices and a linear layer over its mean state. The published weights are read from the package of the extra
`safety` and stay as they are. On two cores it takes an hour. How its answer is weighed with that of the
classifier's words, and from where they speak, scripts/weigh_crisis_gate.py decides afterwards.
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
    PACKAGE,
    SEED,
    STYLES,
    UNCHOSEN,
    Sample,
    comments,
    composed,
    grammar,
    inputs_digest,
    refuse_held_out,
    talk,
    without_held_out,
    written,
)

from ai_therapist.safety.crisis_classifier import CALM, LABELS
from ai_therapist.safety.crisis_encoder import (
    BASE_SHA256,
    CARD_FILE,
    WEIGHTS_FILE,
    WINDOW_TOKENS,
    EncoderCard,
    installed_archive,
    load_base,
)

RANK = 32
SCALE = 1.0
LEARNING_RATE = 1.5e-3
HEAD_LEARNING_RATE = 2e-3
PASSES = 4
BATCH = 32
STYLED = 0.4
"""Share of the messages that each pass shows as somebody types them or a recogniser hears them."""
SMOOTHING = 0.03
TAKEN = {"grammar": 1_000, "talk": 1_200, "comment": 2_500, "composed": 900}
"""How many messages of a source are taken; of those written by hand, all."""


def training_samples(folder: Path, rng: random.Random) -> list[Sample]:
    """All that is learned from, in a fixed order."""
    by_hand = written()
    refuse_held_out(by_hand)
    made, therapy = without_held_out(grammar(rng)), without_held_out(talk())
    longer = composed([*by_hand, *made, *therapy], rng)
    others: dict[str, list[Sample]] = {
        "grammar": made,
        "talk": therapy,
        "comment": comments(folder, rng),
        "composed": longer,
    }
    return by_hand + [
        sample for name, found in others.items() for sample in rng.sample(found, min(len(found), TAKEN[name]))
    ]


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
    """Token ids and mask [texts, tokens], cut to what the gate reads at once."""
    first, last = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    rows = [[first, *tokenizer.encode(text, add_special_tokens=False).ids[:WINDOW_TOKENS], last] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def loss_of(scores: torch.Tensor, batch: Sequence[Sample]) -> torch.Tensor:
    """Danger against calm for every message, and which danger for those at risk."""
    at_risk = torch.tensor([sample.label != CALM for sample in batch])
    wanted = at_risk.float() * (1 - 2 * SMOOTHING) + SMOOTHING
    loss = functional.binary_cross_entropy_with_logits(scores[:, 0], wanted)
    if at_risk.any():
        kinds = torch.tensor([LABELS.index(sample.label) - 1 for sample in batch if sample.label != CALM])
        loss = loss + 0.3 * functional.cross_entropy(scores[at_risk, 1:], kinds, label_smoothing=SMOOTHING)
    return loss


class LowRank(nn.Module):
    """A matrix plus the product of two thin ones, of which alone is learned (LoRA, Hu et al. 2021).

    As a parametrisation it costs one sum of matrices a step, where an adapter beside each layer costs a fifth of it.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        wide, narrow = weight.shape
        self.down = nn.Parameter(torch.randn(RANK, narrow) / narrow**0.5)
        self.up = nn.Parameter(torch.zeros(wide, RANK))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The changed matrix [wide, narrow]."""
        return weight + SCALE * self.up @ self.down


def learn(samples: Sequence[Sample], passes: int, rng: random.Random) -> dict[str, torch.Tensor]:
    """The change of the matrices and the linear layer, as they will be written."""
    model, tokenizer = load_base(_archive())
    head = nn.Linear(model.config.hidden_size, len(LABELS))
    changes = {}
    for name, layer in list(model.encoder.named_modules()):
        if isinstance(layer, nn.Linear):
            changes[f"encoder.{name}"] = LowRank(layer.weight)
            parametrize.register_parametrization(layer, "weight", changes[f"encoder.{name}"])
    changed = [parameter for change in changes.values() for parameter in change.parameters()]
    groups: list[dict[str, Any]] = [{"params": changed}, {"params": list(head.parameters())}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    steps = sum(1 for _ in range(passes) for _ in one_pass(samples, random.Random()))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [LEARNING_RATE, HEAD_LEARNING_RATE], total_steps=steps, pct_start=0.1, anneal_strategy="linear"
    )
    model.train()
    for number in range(passes):
        start, total, count = time.monotonic(), 0.0, 0
        for batch in one_pass(samples, rng):
            ids, mask = read_batch(tokenizer, [sample.text for sample in batch])
            with parametrize.cached():
                states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            loss = loss_of(head(mean), batch)
            loss.backward()
            nn.utils.clip_grad_norm_(changed, 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            total, count = total + loss.item(), count + 1
            if count % 100 == 0:
                print(f"  {count}: loss {total / count:.4f}, {time.monotonic() - start:.0f} s", flush=True)
        print(f"pass {number + 1}: loss {total / count:.4f}, {time.monotonic() - start:.0f} s", flush=True)
    tensors = {"head.weight": head.weight, "head.bias": head.bias}
    tensors |= {f"{name}.{side}": getattr(change, side) for name, change in changes.items() for side in ("up", "down")}
    return {name: tensor.detach().half().contiguous() for name, tensor in sorted(tensors.items())}


def _archive() -> Path:
    archive = installed_archive()
    if archive is None:
        raise SystemExit("the package of the extra `safety` is not installed")
    return archive


def main() -> None:
    """Learn, and write change and card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goemotions", type=Path, required=True, help="folder with original_train.tsv")
    parser.add_argument("--passes", type=int, default=PASSES, help="times that every message is seen")
    parser.add_argument("--output", type=Path, default=PACKAGE, help="folder to write into")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    samples = training_samples(options.goemotions, rng)
    print(f"{len(samples)} messages, {sum(sample.label != CALM for sample in samples)} of them at risk", flush=True)
    data = save(learn(samples, options.passes, rng))
    (options.output / WEIGHTS_FILE).write_bytes(data)
    card = EncoderCard(
        base_sha256=BASE_SHA256,
        sha256=hashlib.sha256(data).hexdigest(),
        scale=SCALE,
        encoder_share=1.0,
        words_share=0.0,
        offset=0.0,
        clearly_calm=-1e9,
        thresholds=UNCHOSEN,
        data=DATA,
        inputs_sha256=inputs_digest(Path(__file__), Path(__file__).with_name("train_crisis_classifier.py")),
    )
    (options.output / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", "utf-8")
    print(f"{options.output / WEIGHTS_FILE}: {len(data) / 1e6:.1f} MB, sha256 {card.sha256[:12]}")


if __name__ == "__main__":
    main()
