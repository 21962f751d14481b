"""Layers of PEFT and transformers with fewer passes over memory; their numbers are the same but for rounding.

PEFT computes y = W·x, then B·(A·x), then a scaled copy of that, then the sum: three more passes over y, and in the
backward pass as many over the gradients. Here each product is added where it belongs as it is made. A norm in
transformers takes four passes and about nine backward, here three and four.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm


class FusedLinear(Linear):
    """An adapted linear layer that goes PEFT's own way wherever more is asked than one plain adapter in 32 bits."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(…, in) → (…, out)."""
        active = self.active_adapters
        plain = not (args or kwargs or self.disable_adapters or self.merged or self.lora_variant) and len(active) == 1
        if not plain or active[0] not in self.lora_A or not self._is_simple(x, active[0]):
            found: Tensor = super().forward(x, *args, **kwargs)
            return found
        base, first, second = self.base_layer, self.lora_A[active[0]], self.lora_B[active[0]]
        rows: Tensor = _Adapted.apply(
            x.reshape(-1, x.shape[-1]), base.weight, base.bias, first.weight, second.weight, self.scaling[active[0]]
        )
        return rows.view(*x.shape[:-1], -1)

    def _is_simple(self, x: Tensor, name: str) -> bool:
        """Whether the base is frozen, all is in 32 bits, and nothing is dropped."""
        base, first, second = self.base_layer, self.lora_A[name], self.lora_B[name]
        if type(base) is not nn.Linear or not isinstance(self.lora_dropout[name], nn.Identity):
            return False
        weights = (x, base.weight, first.weight, second.weight)
        in_32_bits = all(one.dtype == torch.float32 for one in weights)
        frozen = not any(weight.requires_grad for weight in base.parameters())
        return in_32_bits and frozen and not torch.is_autocast_enabled(x.device.type)


class _Adapted(torch.autograd.Function):
    """x (T, in), W (out, in), bias or None, A (rank, in), B (out, rank), s → W·x + bias + s·B·A·x, (T, out)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, first: Tensor, second: Tensor, scale: float
    ) -> Tensor:
        low = x @ first.t()
        ctx.save_for_backward(x, weight, first, second, low)
        ctx.scale = scale
        return nn.functional.linear(x, weight, bias).addmm_(low, second.t(), alpha=scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, first, second, low = ctx.saved_tensors
        of_low = (gradient @ second).mul_(ctx.scale)
        of_x = (gradient @ weight).addmm_(of_low, first) if ctx.needs_input_grad[0] else None
        return of_x, None, None, of_low.t() @ x, (gradient.t() @ low).mul_(ctx.scale), None


class FusedNorm(Qwen2RMSNorm):
    """Qwen2's norm, which goes its own way where its weight is trained or numbers are not in 32 bits."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        if self.weight.requires_grad or not hidden_states.dtype == self.weight.dtype == torch.float32:
            return super().forward(hidden_states)
        found: Tensor = _Normed.apply(hidden_states, self.weight, self.variance_epsilon)
        return found


class _Normed(torch.autograd.Function):
    """x (…, D), w (D,), ε → w ∘ x·r with r = 1 / sqrt(mean(x²) + ε); dx = r·(w ∘ dy) - x·r³·(w ∘ dy)·x / D."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        scale = squares.div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        normed: Tensor = (x * scale).mul_(weight)
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        given = gradient * weight
        along = torch.linalg.vecdot(given, x).unsqueeze(-1).mul_(scale**3).div_(x.shape[-1])
        return given.mul_(scale).addcmul_(x, along, value=-1), None, None


def fuse_layers(model: nn.Module) -> None:
    """Let every plainly adapted linear layer and every norm of `model` compute as above; their weights stay."""
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = FusedLinear
        elif type(module) is Qwen2RMSNorm:
            module.__class__ = FusedNorm
