"""What is measured of every optimiser step."""

from __future__ import annotations

from ai_therapist.records.base import Record


class Point(Record):
    """One optimiser step."""

    step: int
    loss: float
    """Mean loss per learned token before the step, in nats."""
    learning_rate: float
    gradient_norm: float
    """Norm of the gradient before it was scaled down."""
    tokens: int
    """Tokens read by all processes."""
    learned: int
    """Tokens learned."""
