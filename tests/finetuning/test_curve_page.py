"""The loss curve is a small page of its own, and an event file where TensorBoard is installed."""

import re
from pathlib import Path

import pytest

from ai_therapist.finetuning.curve import Point
from ai_therapist.finetuning.curve_page import curve_page
from ai_therapist.finetuning.event_file import event_file

CURVE = [
    Point(step=step, loss=4 / step, learning_rate=0.1, gradient_norm=1.0, tokens=100, learned=20)
    for step in range(1, 2001)
]
ACCOUNT: dict[str, object] = {"loss_first": 7.125, "loss_last": 0.5, "validation_loss_first": None, "tokens": 12345}


def test_the_page_shows_curve_and_account_and_loads_nothing() -> None:
    page = curve_page(CURVE, ACCOUNT)
    assert "<polyline" in page
    assert "7.12" in page
    assert "12,345" in page
    assert "validation" not in page.partition("<table>")[2]
    assert not re.search(r"<script|src=|href=|@import|url[(]|https?:", page)
    assert len(page) < 30_000
    with pytest.raises(ValueError, match="point"):
        curve_page([], ACCOUNT)


def test_tensorboard_reads_the_event_file(tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="TensorBoard is not installed"
    )
    written = event_file(CURVE[:5])
    assert written == event_file(CURVE[:5])
    (tmp_path / "events.out.tfevents.0.finetuning").write_bytes(written)
    found = reader.EventAccumulator(str(tmp_path))
    found.Reload()
    losses = found.Scalars("train/loss")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5]
    assert [event.value for event in losses] == pytest.approx([point.loss for point in CURVE[:5]])
