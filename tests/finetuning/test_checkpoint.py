"""A checkpoint gives back everything without a pickle; a spoiled one is passed over."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ai_therapist.finetuning.checkpoint import load_checkpoint, restore_weights, save_checkpoint, trained_state
from ai_therapist.finetuning.curve import Point


def _model(seed: int) -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    for weight in model[0].parameters():
        weight.requires_grad = False
    return model, torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=0.1)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.ones(2, 4)).pow(2).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def _curve(length: int) -> list[Point]:
    return [
        Point(step=step + 1, loss=1.0 / (step + 1), learning_rate=0.1, gradient_norm=1.0, tokens=10, learned=5)
        for step in range(length)
    ]


def _save(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, length: int) -> None:
    save_checkpoint(
        folder, model, optimizer.state_dict(), {"last_epoch": length, "rates": [0.5, (1, 2)]}, _curve(length)
    )


def test_a_restored_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    model, optimizer = _model(0)
    _step(model, optimizer)
    _save(tmp_path, model, optimizer, 1)
    _step(model, optimizer)
    again, again_optimizer = _model(1)
    again[0].load_state_dict(model[0].state_dict())  # type: ignore[index]
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.curve == _curve(1)
    assert found.schedule == {"last_epoch": 1, "rates": [0.5, [1, 2]]}
    restore_weights(again, found.weights)
    again_optimizer.load_state_dict(found.optimizer)
    _step(again, again_optimizer)
    assert all(torch.equal(weight, trained_state(again)[name]) for name, weight in trained_state(model).items())


def test_only_trained_weights_are_kept_and_nothing_is_pickled(tmp_path: Path) -> None:
    model, optimizer = _model(0)
    _step(model, optimizer)
    assert set(trained_state(model)) == {"1.weight", "1.bias"}
    _save(tmp_path, model, optimizer, 1)
    (path,) = tmp_path.iterdir()
    assert path.suffix == ".safetensors"
    assert b"pickle" not in path.read_bytes()


def test_the_last_two_stay_and_a_spoiled_one_is_passed_over(tmp_path: Path) -> None:
    model, optimizer = _model(0)
    for length in (1, 2, 3):
        _step(model, optimizer)
        _save(tmp_path, model, optimizer, length)
    kept = sorted(tmp_path.iterdir())
    assert [path.name[:11] for path in kept] == ["step-000002", "step-000003"]
    kept[-1].write_bytes(kept[-1].read_bytes()[:-100])
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert len(found.curve) == 2


def test_no_checkpoint_is_a_fresh_start(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None


def test_what_is_no_state_is_refused(tmp_path: Path) -> None:
    model, optimizer = _model(0)
    with pytest.raises(TypeError, match=r"schedule\.odd: complex"):
        save_checkpoint(tmp_path, model, optimizer.state_dict(), {"odd": 1j}, [])
