"""The BEATs audio encoder: log-mel filter banks to one feature per 16x16 patch."""

# mypy: allow-untyped-calls

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_videollama2 import BeatsConfig

_WEIGHT_NORM_EPS = 1e-6


class ScaleGradient(torch.autograd.Function):
    """Identity forward; the gradient is multiplied by a factor on the way back."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, factor: float) -> Tensor:
        """`hidden`, unchanged."""
        ctx.factor = factor
        return hidden.view_as(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """The incoming gradient times the factor."""
        return grads[0] * ctx.factor, None


class PositionalConvolution(nn.Module):
    """Grouped convolution over the token axis with its own weight norm: (B, L, C) → (B, L, C).

    weight = gain · direction · rsqrt(Σ direction² over output and input channels + 1e-6), the sum in float32;
    torch's weight norm lacks the epsilon.
    """

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        width, kernel, self.groups = config.hidden_size, config.conv_pos, config.conv_pos_groups
        self.gain = nn.Parameter(torch.ones(1, 1, kernel))
        self.direction = nn.Parameter(torch.randn(width, width // self.groups, kernel) * 0.02)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, hidden: Tensor) -> Tensor:
        """GELU of the convolution; the extra last step that an even kernel gives is cut."""
        norm = self.direction.float().square().sum((0, 1), keepdim=True).add(_WEIGHT_NORM_EPS).rsqrt()
        weight = (self.gain.float() * self.direction.float() * norm).to(hidden.dtype)
        kernel = weight.shape[-1]
        mixed = nn.functional.conv1d(hidden.transpose(1, 2), weight, self.bias, padding=kernel // 2, groups=self.groups)
        return nn.functional.gelu(mixed[..., : hidden.shape[1]]).transpose(1, 2)


class BeatsAttention(nn.Module):
    """Self-attention whose shared relative position bias is gated per query: (B, L, C) → (B, L, C)."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.grep_linear = nn.Linear(width // self.heads, 8)
        self.grep_a = nn.Parameter(torch.ones(1, self.heads, 1, 1))

    def forward(self, hidden: Tensor, position_bias: Tensor, padding_bias: Tensor | None) -> Tensor:
        """Attention output for `position_bias` (1, H, L, L) and `padding_bias` (B, 1, 1, L) of 0 and -inf, or None.

        gate = a·(b·grep_a − 1) + 2 with a, b = sigmoid of the projected, unscaled query, as in WavLM's gated
        relative position bias (Chen et al. 2022) but from the query instead of the hidden state.
        """
        query, key, value = (
            projection(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        gates = self.grep_linear(query).unflatten(-1, (2, 4)).sum(-1).sigmoid()
        a, b = gates.split(1, dim=-1)
        bias = (a * (b * self.grep_a - 1.0) + 2.0) * position_bias
        if padding_bias is not None:
            bias = bias + padding_bias
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        projected: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return projected


class BeatsLayer(GradientCheckpointingLayer):
    """A post-norm encoder layer with DeepNorm residuals x = LN(α·x + f(x)), α = (2·layers)^¼ (Wang et al. 2022)."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.alpha = (2 * config.num_hidden_layers) ** 0.25
        self.gradient_decay = config.gradient_decay
        self.self_attn = BeatsAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(width, eps=eps)
        self.fc1 = nn.Linear(width, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, width)
        self.final_layer_norm = nn.LayerNorm(width, eps=eps)

    def forward(self, hidden: Tensor, position_bias: Tensor, padding_bias: Tensor | None) -> Tensor:
        """The layer's output (B, L, C); see `BeatsAttention.forward` for the two biases."""
        hidden = ScaleGradient.apply(hidden, self.gradient_decay)
        attended = self.self_attn(hidden, position_bias, padding_bias)
        hidden = self.self_attn_layer_norm(self.alpha * hidden + attended)
        fed = self.fc2(nn.functional.gelu(self.fc1(hidden)))
        normalised: Tensor = self.final_layer_norm(self.alpha * hidden + fed)
        return normalised


class BeatsModel(nn.Module):
    """Encodes filter banks (B, F, mels) to patch features (B, (F // 16)·8, C), time-major."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.config = config
        width, patch = config.patch_embed_size, config.patch_size
        self.patch_embedding = nn.Conv2d(1, width, patch, stride=patch, bias=False)
        self.layer_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.post_extract_proj = nn.Linear(width, config.hidden_size)
        self.pos_conv = PositionalConvolution(config)
        self.encoder_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.relative_attention_bias = nn.Embedding(config.num_buckets, config.num_attention_heads)
        self.layers = nn.ModuleList(BeatsLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, input_features: Tensor, token_mask: Tensor | None = None) -> Tensor:
        """Patch features (B, L, C) of `input_features` (B, F, mels).

        `token_mask` (B, L), True on real patches, keeps the others out of attention and convolution, so that a
        padded row equals the same sound alone; None attends to everything, as the original does.

        Raises:
            ValueError: fewer frames than one patch, or another number of mel bins than the configuration's.
        """
        patch, mels = self.config.patch_size, self.config.num_mel_bins
        if input_features.shape[-1] != mels or input_features.shape[1] < patch:
            raise ValueError(
                f"input_features has shape {tuple(input_features.shape)}; it must be (clips, {patch} or more "
                f"frames, {mels} mel bins), as VideoLLaMA2FeatureExtractor gives"
            )
        weight = self.patch_embedding.weight
        fbank = input_features.to(weight.device, weight.dtype)
        fbank = (fbank - self.config.fbank_mean) / (2.0 * self.config.fbank_std)
        hidden = self.patch_embedding(fbank[:, None]).flatten(2).transpose(1, 2)
        hidden = self.post_extract_proj(self.layer_norm(hidden))
        padding_bias = None
        if token_mask is not None:
            hidden = hidden.masked_fill(~token_mask[..., None], 0.0)
            padding_bias = torch.zeros_like(token_mask, dtype=hidden.dtype)
            padding_bias = padding_bias.masked_fill(~token_mask, float("-inf"))[:, None, None]
        hidden = self.encoder_layer_norm(hidden + self.pos_conv(hidden))
        position_bias = self._position_bias(hidden.shape[1])
        for layer in self.layers:
            if not self._dropped():
                hidden = layer(hidden, position_bias, padding_bias)
        encoded: Tensor = hidden
        return encoded

    def _dropped(self) -> bool:
        """Whether to leave out the next layer; never without gradients, so that cached features are reproducible."""
        if not (self.training and torch.is_grad_enabled() and self.config.layerdrop > 0):
            return False
        return torch.rand(()).item() < self.config.layerdrop

    def _position_bias(self, length: int) -> Tensor:
        """The bias (1, heads, length, length) of key − query distances."""
        table = self.relative_attention_bias.weight
        distance = torch.arange(1 - length, length, device=table.device)
        per_distance = self.relative_attention_bias(self._bucket(distance)).T
        place = torch.arange(length, device=table.device)
        bias: Tensor = per_distance[:, place[None] - place[:, None] + length - 1][None]
        return bias

    def _bucket(self, distance: Tensor) -> Tensor:
        """Bucket of each signed distance, as in T5 (Raffel et al. 2020).

        Half of the buckets for each sign (positive: the upper half); of these the first half one distance each,
        the rest spaced by logarithm up to `max_distance`, clamped.
        """
        half = self.config.num_buckets // 2
        exact = half // 2
        size = distance.abs()
        scale = torch.log(size.clamp(min=1).float() / exact) / math.log(self.config.max_distance / exact)
        spaced = (exact + (scale * (half - exact)).long()).clamp(max=half - 1)
        return torch.where(size < exact, size, spaced) + half * (distance > 0)
