"""Adapts the sentence encoder of the crisis gate and writes the change and its card into the package.

    python scripts/train_crisis_encoder.py --goemotions FOLDER

It learns from the same messages as scripts/train_crisis_classifier.py, alone, and writes a low-rank change of the
encoder's matrices and a linear layer over mean and maximum of its last states. The published weights are read from the
package of the extra `safety` and stay as they are. On two cores it takes an hour and a quarter. How its answer is
weighed with that of the classifier's words, and from where they speak, scripts/weigh_crisis_gate.py decides afterwards.
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

import numpy as np
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

RANK = 48
SCALE = 1.0
LEARNING_RATE = 1.5e-3
HEAD_LEARNING_RATE = 2e-3
PASSES = 7
RATES = ((0.0, 0.0), (1 / 14, 1.0), (4 / 7, 12 / 19), (1.0, 0.0))
"""Share of the learning rates after shares of the passes, with lines between: slowly at first, then down to nought."""
LEARNED = 0.18
"""Loss below which a message counts as learned: about nine to one for the right side."""
REPEATED = 0.4
"""Share of the learned messages that the next pass shows again."""
BATCH = 32
STYLED = 0.4
"""Share of the messages that each pass shows as somebody types them or a recogniser hears them."""
SMOOTHING = 0.03
KINDS = 0.3
"""Weight of the question which danger it is."""
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


def one_pass(samples: Sequence[Sample], shown: Sequence[int], rng: random.Random) -> Iterator[list[tuple[int, Sample]]]:
    """Batches of messages of like length with their places, some in another style, in a random order."""
    styled = [(place, _in_some_style(samples[place], rng)) for place in rng.sample(shown, len(shown))]
    batches = []
    for start in range(0, len(styled), BATCH * 20):
        near = sorted(styled[start : start + BATCH * 20], key=lambda each: len(each[1].text))
        batches += [near[i : i + BATCH] for i in range(0, len(near), BATCH)]
    rng.shuffle(batches)
    yield from batches


def _in_some_style(sample: Sample, rng: random.Random) -> Sample:
    if len(sample.text) <= 4 or rng.random() >= STYLED:
        return sample
    return replace(sample, text=rng.choice(STYLES)(sample.text, rng))


def read_batch(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask [texts, tokens], cut to what the gate reads at once."""
    first, last = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    rows = [[first, *tokenizer.encode(text, add_special_tokens=False).ids[:WINDOW_TOKENS], last] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def pooled(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean and maximum [texts, twice the width] over the tokens of each text."""
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.cat([mean, states.masked_fill(mask[..., None] == 0, -torch.inf).amax(1)], -1)


def losses_of(scores: torch.Tensor, batch: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of danger against calm per message, and of which danger over those at risk."""
    at_risk = torch.tensor([sample.label != CALM for sample in batch])
    wanted = at_risk.float() * (1 - 2 * SMOOTHING) + SMOOTHING
    danger = functional.binary_cross_entropy_with_logits(scores[:, 0], wanted, reduction="none")
    if not at_risk.any():
        return danger, torch.zeros(())
    kinds = torch.tensor([LABELS.index(sample.label) - 1 for sample in batch if sample.label != CALM])
    return danger, functional.cross_entropy(scores[at_risk, 1:], kinds, label_smoothing=SMOOTHING)


def rate_at(done: float) -> float:
    """Share of the learning rates after this share of the passes."""
    return float(np.interp(done, [after for after, _ in RATES], [rate for _, rate in RATES]))


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
    head = nn.Linear(2 * model.config.hidden_size, len(LABELS))
    changes = {}
    for name, layer in list(model.encoder.named_modules()):
        if isinstance(layer, nn.Linear):
            changes[f"encoder.{name}"] = LowRank(layer.weight)
            parametrize.register_parametrization(layer, "weight", changes[f"encoder.{name}"])
    changed = [parameter for change in changes.values() for parameter in change.parameters()]
    groups: list[dict[str, Any]] = [
        {"params": changed, "most": LEARNING_RATE},
        {"params": list(head.parameters()), "most": HEAD_LEARNING_RATE},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    model.train()
    last = [float("inf")] * len(samples)
    for number in range(passes):
        # What is known already is seen less often, so that time goes to what is not.
        shown = [place for place, loss in enumerate(last) if loss > LEARNED or rng.random() < REPEATED]
        start, total, count = time.monotonic(), 0.0, 0
        for batch in one_pass(samples, shown, rng):
            for group in optimiser.param_groups:
                group["lr"] = group["most"] * rate_at((number + count / len(shown)) / passes)
            places, messages = zip(*batch, strict=True)
            ids, mask = read_batch(tokenizer, [sample.text for sample in messages])
            with parametrize.cached():
                states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            danger, kinds = losses_of(head(pooled(states, mask)), messages)
            (danger.mean() + KINDS * kinds).backward()
            nn.utils.clip_grad_norm_(changed, 1.0)
            optimiser.step()
            optimiser.zero_grad()
            for place, loss in zip(places, danger.tolist(), strict=True):
                last[place] = loss
            total, count = total + danger.sum().item(), count + len(batch)
        spent = time.monotonic() - start
        print(f"pass {number + 1}: {count} messages, loss {total / count:.4f}, {spent:.0f} s", flush=True)
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
