"""A checkpoint gives back everything; a spoiled one is passed over."""

from pathlib import Path

import torch
from torch import nn

from ai_therapist.finetuning.checkpoint import restore_checkpoint, save_checkpoint, trained_state
from ai_therapist.finetuning.curve import Point


def _model(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
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
    return [Point(step=step + 1, loss=1.0 / (step + 1), learning_rate=0.1) for step in range(length)]


def test_a_restored_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    model, optimizer = _model(0)
    _step(model, optimizer)
    save_checkpoint(tmp_path, model, optimizer, _curve(1))
    _step(model, optimizer)
    again, again_optimizer = _model(0)
    assert restore_checkpoint(tmp_path, again, again_optimizer) == _curve(1)
    _step(again, again_optimizer)
    assert all(torch.equal(weight, trained_state(again)[name]) for name, weight in trained_state(model).items())


def test_only_trained_weights_are_kept() -> None:
    assert set(trained_state(_model(0)[0])) == {"1.weight", "1.bias"}


def test_the_last_two_stay_and_a_spoiled_one_is_passed_over(tmp_path: Path) -> None:
    model, optimizer = _model(0)
    for length in (1, 2, 3):
        _step(model, optimizer)
        save_checkpoint(tmp_path, model, optimizer, _curve(length))
    kept = sorted(tmp_path.glob("step-*.pt"))
    assert [path.name[:11] for path in kept] == ["step-000002", "step-000003"]
    kept[-1].write_bytes(kept[-1].read_bytes()[:-100])
    assert len(restore_checkpoint(tmp_path, *_model(0))) == 2


def test_no_checkpoint_is_a_fresh_start(tmp_path: Path) -> None:
    model, optimizer = _model(0)
    before = {name: weight.clone() for name, weight in trained_state(model).items()}
    assert restore_checkpoint(tmp_path, model, optimizer) == []
    assert all(torch.equal(weight, trained_state(model)[name]) for name, weight in before.items())
