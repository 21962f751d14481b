"""The curve as an event file of TensorBoard, where that is installed; equal curves give equal bytes."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ai_therapist.finetuning.curve import Point

NAME = "tensorboard/events.out.tfevents.0.finetuning"
"""What TensorBoard knows an event file by."""

_TAGS = ("loss", "learning_rate", "gradient_norm", "tokens", "learned")


def can_write_events() -> bool:
    """Whether TensorBoard is installed."""
    return importlib.util.find_spec("tensorboard") is not None


def event_file(curve: Sequence[Point]) -> bytes:
    """The file: one event per step with loss, learning rate, gradient norm and tokens, under "train/".

    Steps count as seconds, so that the file says nothing of when the training was.
    """
    proto: Any = import_module("tensorboard.compat.proto.event_pb2")
    summary: Any = import_module("tensorboard.compat.proto.summary_pb2").Summary
    written = io.BytesIO()
    records: Any = import_module("tensorboard.summary.writer.record_writer").RecordWriter(written)
    records.write(proto.Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
    for point in curve:
        values = [summary.Value(tag=f"train/{tag}", simple_value=float(getattr(point, tag))) for tag in _TAGS]
        event = proto.Event(wall_time=float(point.step), step=point.step, summary=summary(value=values))
        records.write(event.SerializeToString())
    records.flush()
    return written.getvalue()
