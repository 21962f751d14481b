"""What a stopped run goes on from: the trained weights, the optimiser and the curve after some step.

    step-000020-<first 16 hex of the sha256>.safetensors

Everything is tensors and JSON, nothing is pickled. A checkpoint is written whole or not at all, and its name says what
its bytes must hash to: one that a crash or a full disk spoiled is passed over in favour of the one before it. Random
numbers need no place in it, since every step draws its own from the seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ai_therapist.finetuning.curve import Point
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.codec import canonical_json

_KEPT = 2


class Checkpoint(NamedTuple):
    """A whole checkpoint as it was read back."""

    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    curve: list[Point]


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """The weights that training changes, by name."""
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: Mapping[str, Any],
    schedule: Mapping[str, Any],
    curve: list[Point],
) -> None:
    """Write the state after step len(curve) and drop all but the last two checkpoints.

    `optimizer` and `schedule` are their state dictionaries. Raises StoreError where the disk fails; the checkpoints
    before stay then.
    """
    tensors = {f"weights.{name}": weight.cpu().clone().contiguous() for name, weight in trained_state(model).items()}
    facts = {
        "optimizer": _without_tensors(optimizer, "optimizer", tensors),
        "schedule": _without_tensors(schedule, "schedule", tensors),
        "curve": [point.model_dump() for point in curve],
    }
    data = save(tensors, {"facts": canonical_json(facts).decode()})
    write_atomically(folder / f"step-{len(curve):06d}-{_digest(data)}.safetensors", data)
    for old in sorted(folder.glob("step-*.safetensors"))[:-_KEPT]:
        old.unlink()


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`, or None where there is none."""
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        if not path.stem.endswith(_digest(path.read_bytes())):
            continue
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (safe_open is no mapping)
            facts = json.loads(stored.metadata()["facts"])
        weights = {name.removeprefix("weights."): each for name, each in tensors.items() if name.startswith("weights.")}
        return Checkpoint(
            weights,
            _with_tensors(facts["optimizer"], tensors),
            _with_tensors(facts["schedule"], tensors),
            [Point.model_validate(point) for point in facts["curve"]],
        )
    return None


@torch.no_grad()
def restore_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put trained weights back in place. Raises KeyError where the model trains others."""
    own = trained_state(model)
    for name, weight in own.items():
        weight.copy_(weights[name])


def _without_tensors(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON, with each tensor moved to `tensors` under its path; keys that are numbers say so."""
    if isinstance(value, Tensor):
        # A copy, since bitsandbytes shares one table of 8-bit values between all its states.
        tensors[path] = value.detach().cpu().clone().contiguous()
        return {"tensor": path}
    if isinstance(value, Mapping):
        return {
            "items": [
                [key, _without_tensors(each, f"{path}.{key}", tensors)]
                for key, each in value.items()
                if not callable(each)
            ]
        }
    if isinstance(value, list | tuple):
        return {"list": [_without_tensors(each, f"{path}.{at}", tensors) for at, each in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path}: {type(value).__name__} has no place in a checkpoint")


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "list" in value:
        return [_with_tensors(each, tensors) for each in value["list"]]
    return {key: _with_tensors(each, tensors) for key, each in value["items"]}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
