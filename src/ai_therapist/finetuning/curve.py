"""What is measured of every optimiser step, and what of it is shown while it runs."""

from __future__ import annotations

import resource
import sys

from ai_therapist.pipeline.stage import Progress
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


class Watched:
    """Shows every step: loss, tokens per second, share of the GPU's peak where that is known, memory."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.flops_per_token = 0.0
        """Operations of a pass per token read; set when the trees are known."""
        self.peak_tflops: float | None = None
        """Stated peak of the device, or None where it is not known."""
        self._seconds = 0.0
        self._tokens = 0

    def __call__(self, point: Point, steps: int, seconds: float) -> None:
        """A step is done."""
        self._seconds += seconds
        self._tokens += point.tokens
        shown = [f"loss {point.loss:.3f}", f"{point.tokens / seconds:.0f} tokens/s"]
        share = self._mfu(point.tokens / seconds)
        if share is not None:
            shown.append(f"MFU {share:.0%}")
        shown.append(f"{memory_gib():.1f} GiB")
        self._progress(point.step, steps, ", ".join(shown))

    def speed(self) -> dict[str, object]:
        """Tokens per second of the attempt that finished, the share of the peak and the memory at its highest."""
        rate = self._tokens / self._seconds if self._seconds else 0.0
        share = self._mfu(rate)
        return {
            "tokens_per_s": round(rate),
            "mfu": None if share is None else round(share, 3),
            "peak_memory_gib": round(memory_gib(), 2),
        }

    def _mfu(self, tokens_per_s: float) -> float | None:
        if self.peak_tflops is None:
            return None
        return tokens_per_s * self.flops_per_token / (self.peak_tflops * 1e12)


def memory_gib() -> float:
    """The highest memory so far: of the GPU where one is used, else of this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 2**30
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
