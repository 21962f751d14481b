"""Proves that a saved model is the one that was trained: equal logits after training, reloading, merging, serving.

What the trained model made of a fixed row of tokens is kept beside it, as it was in training: through trees, the
adapter on its base. The row is drawn from a seed and holds no words.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ai_therapist.errors import MissingInput
from ai_therapist.finetuning.attention import plant
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.loss import ForestLoss
from ai_therapist.finetuning.tree import AnswerTokens, BranchTokens, Tree
from ai_therapist.models.base import open_base, put_adapter
from ai_therapist.models.local import open_tuned, silence_progress_bars
from ai_therapist.models.tuned_folder import ADAPTER, BASE, MERGED, TunedFolder
from ai_therapist.records.message import Message
from ai_therapist.store.blobs import write_atomically

PROOF = "proof.safetensors"
"""File of a tuned model's folder with what the trained model made of the row."""

LIMITS = {"fp32": 1e-4, "bf16": 0.1}
"""Largest difference of logits that counts as equal, by the precision of training; bfloat16 has 8 bits of mantissa."""

_ASKED = (Message.of_text("system", "Be kind."), Message.of_text("user", "hello there"))
_ANSWER = "go on"


class Check(NamedTuple):
    """One comparison."""

    name: str
    difference: float
    limit: float | None
    """None where a difference is expected and only told."""

    @property
    def holds(self) -> bool:
        """Whether it is within its limit."""
        return self.limit is None or self.difference <= self.limit


def probe(vocabulary: int) -> Tree:
    """The fixed row: a trunk and two branches of random tokens, control tokens left out."""
    dice = random.Random(7)

    def some(count: int) -> tuple[int, ...]:
        return tuple(dice.randrange(16, min(vocabulary, 100_000)) for _ in range(count))

    trunk = some(24)
    branches = (
        BranchTokens(name, fork, some(8), (AnswerTokens(some(4), 4),), None)
        for name, fork in (("one", 12), ("two", 24))
    )
    return Tree(trunk, tuple(branches))


@torch.no_grad()
def save_proof(loss: ForestLoss, folder: Path) -> None:
    """Keep what the trained model makes of the row."""
    loss.eval()
    write_atomically(folder / PROOF, save({"logits": _through_trees(loss).contiguous()}))


@torch.no_grad()
def verify_tuned(folder: Path) -> list[Check]:
    """Compare a saved model with what was kept when it was trained.

    "merged" of a model that was trained on 4-bit layers differs by their rounding, which is told and not judged.
    Raises MissingInput where nothing was kept, and as `open_tuned` does.
    """
    if not (folder / PROOF).is_file():
        raise MissingInput(f"{folder} holds no {PROOF}: it was not made by  ai-therapist finetune")
    silence_progress_bars()
    about = TunedFolder.model_validate_json((folder / TunedFolder.FILE).read_bytes())
    config = FinetuningConfig.model_validate_json(_json(about.config))
    kept = load_file(folder / PROOF)["logits"]
    limit = LIMITS[config.precision]
    four_bit = config.quantisation == "nf4"
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    base = open_base(folder / BASE, towers=False, four_bit=four_bit, dtype=dtype).model
    reloaded = put_adapter(base, folder / ADAPTER).eval()
    found = _one_by_one(reloaded, kept.device)
    checks = [Check("reloaded", _difference(found, kept), limit)]
    merged: Any = (
        open_base(folder / MERGED, towers=False).model
        if (folder / MERGED).is_dir()
        else put_adapter(open_base(folder / BASE, towers=False, dtype=dtype).model, folder / ADAPTER).merge_and_unload()
    )
    merged.eval()
    checks.append(Check("merged", _difference(_one_by_one(merged, kept.device), kept), None if four_bit else limit))
    checks.append(Check("served", _served(folder, merged), limit * 8))
    return checks


def _through_trees(loss: ForestLoss) -> Tensor:
    device = next(loss.parameters()).device
    tree = probe(loss.causal.config.get_text_config().vocab_size)
    return loss.logits(plant([tree], device), {}).float().cpu()


def _one_by_one(model: Any, device: torch.device) -> Tensor:
    """The same logits through transformers' own attention, one example at a time."""
    tree = probe(model.config.get_text_config().vocab_size)
    rows = []
    for one in tree.apart():
        ids = torch.tensor([one.row], device=model.device)
        rows.append(model(input_ids=ids, use_cache=False).logits[0, -one.learned - 1 : -1])
    return torch.cat(rows).float().to(device)


def _served(folder: Path, merged: Any) -> float:
    """Nats per answer by which the models' door differs from one plain pass of the merged model."""
    door = open_tuned(folder)
    said = door.likelihood(_ASKED, _ANSWER)
    prompt, answer = door.tokens_of(_ASKED, _ANSWER)
    ids = torch.tensor([[*prompt, *answer]], device=merged.device)
    logits = merged(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    wanted = torch.tensor(answer, device=logits.device)
    plain = -logits.log_softmax(-1).gather(-1, wanted[:, None]).double().sum()
    return abs(float(plain) - said.nats)


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def _json(value: dict[str, object]) -> bytes:
    from ai_therapist.store.codec import canonical_json

    return canonical_json(value)
