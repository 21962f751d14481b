"""Draws the next token from what a local model holds likely."""

# mypy: allow-untyped-calls

from __future__ import annotations

import torch
from torch import Tensor

from ai_therapist.models.protocol import Sampling


class Chooser:
    """Chooses the tokens of one answer, one after the other."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        # On the CPU, so that a seed draws the same on every machine.
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def __call__(self, logits: Tensor) -> int:
        """The next token; `logits` (vocabulary,) are those of the model, -inf for what it must not say."""
        if self._sampling.is_greedy:
            return int(logits.argmax())
        logits = logits.double().cpu()
        # Below 0 everywhere before the division, so that a temperature close to 0 gives no infinity.
        weights, tokens = ((logits - logits.max()) / self._sampling.temperature).softmax(-1).sort(descending=True)
        weights[weights.cumsum(-1) - weights >= self._sampling.top_p] = 0
        return int(tokens[torch.multinomial(weights, 1, generator=self._random)])
