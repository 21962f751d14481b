"""What a stopped run goes on from: the trained weights, the optimiser and the curve after some step.

    step-000020-<first 16 hex of the sha256>.pt

A checkpoint is written whole or not at all, and its name says what its bytes must hash to: one that a crash or a full
disk spoiled is passed over in favour of the one before it.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ai_therapist.finetuning.curve import Point
from ai_therapist.store.blobs import write_atomically

_KEPT = 2


def trained_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights that training changes, by name."""
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}


def save_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, curve: list[Point]) -> None:
    """Write the state after step len(curve) and drop all but the last two checkpoints."""
    state = {
        "weights": trained_state(model),
        "optimizer": optimizer.state_dict(),
        "curve": [point.model_dump() for point in curve],
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    write_atomically(folder / f"step-{len(curve):06d}-{_digest(data)}.pt", data)
    for old in sorted(folder.glob("step-*.pt"))[:-_KEPT]:
        old.unlink()


def restore_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Point]:
    """Put the newest whole checkpoint into model and optimiser; returns its curve, empty where there is none."""
    for path in sorted(folder.glob("step-*.pt"), reverse=True):
        data = path.read_bytes()
        if not path.stem.endswith(_digest(data)):
            continue
        state: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True)
        own = trained_state(model)
        with torch.no_grad():
            for name, weight in state["weights"].items():
                own[name].copy_(weight)
        optimizer.load_state_dict(state["optimizer"])
        return [Point.model_validate(point) for point in state["curve"]]
    return []


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
