"""The spatial-temporal convolution connector, and the pooling of its output to a token budget."""

import torch
from torch import Tensor, nn

from .configuration_videollama2 import VideoLLaMA2Config

_BLOCKS_PER_STAGE = 4
_SQUEEZE_RATIO = 0.25


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of an image tensor (B, C, H, W), epsilon 1e-5."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalised `hidden`, same shape."""
        return super().forward(hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNorm(nn.Module):
    """A convolution without bias, then a channel norm: (B, in, H, W) → (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.norm = ChannelNorm(out_channels)

    def forward(self, hidden: Tensor) -> Tensor:
        """The convolved and normalised `hidden`."""
        normalised: Tensor = self.norm(self.conv(hidden))
        return normalised


class SqueezeExcite(nn.Module):
    """Channel gates from the spatial mean (Hu et al. 2018): (B, C, H, W) → (B, C, H, W)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, inner, 1)
        self.fc2 = nn.Conv2d(inner, channels, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """`hidden` with every channel multiplied by its gate."""
        gates = self.fc1(hidden.mean((2, 3), keepdim=True))
        gated: Tensor = hidden * self.fc2(nn.functional.silu(gates)).sigmoid()
        return gated


class Bottleneck(nn.Module):
    """A RegNet-Y bottleneck with depthwise convolution (Radosavovic et al. 2020): (B, in, H, W) → (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, out_channels)
        self.conv2 = ConvNorm(out_channels, out_channels, kernel=3, groups=out_channels)
        self.se = SqueezeExcite(out_channels, round(_SQUEEZE_RATIO * in_channels))
        self.conv3 = ConvNorm(out_channels, out_channels)
        self.shortcut = ConvNorm(in_channels, out_channels) if in_channels != out_channels else nn.Identity()

    def forward(self, hidden: Tensor) -> Tensor:
        """The block's output on the same grid."""
        inner = nn.functional.silu(self.conv1(hidden))
        inner = nn.functional.silu(self.conv2(inner))
        return nn.functional.silu(self.conv3(self.se(inner)) + self.shortcut(hidden))


class STCConnector(nn.Module):
    """Maps tower features (B, T, N, d) of B clips to language-model features (B, t·h·w, D).

    Stage s1 (d → D per frame), a Conv3d of kernel and stride 2 over (t, h, w), stage s2 (per new frame), a
    two-layer readout; then pooling to `tokens_per_clip` tokens where that is set. Source: Cheng et al.,
    "VideoLLaMA 2" (2024), section 3.
    """

    def __init__(self, config: VideoLLaMA2Config) -> None:
        super().__init__()
        self.config = config
        in_width, width = config.vision.hidden_size, config.text.hidden_size
        self.s1 = _stage(in_width, width)
        self.sampler = nn.Conv3d(width, width, 2, stride=2, padding=config.connector_padding)
        self.s2 = _stage(width, width)
        self.readout = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, features: Tensor) -> Tensor:
        """Tokens (B, n, D) of clips (B, T, N, d), time-major, n = `config.num_video_tokens(T)`.

        Raises:
            ValueError: T frames cannot be pooled to the token budget.
        """
        clips, frames, patches, _ = features.shape
        side = round(patches**0.5)
        hidden = features.flatten(0, 1).transpose(1, 2).unflatten(2, (side, side))
        hidden = self.s1(hidden).unflatten(0, (clips, frames)).transpose(1, 2)
        hidden = nn.functional.silu(self.sampler(hidden))
        time = hidden.shape[2]
        hidden = self.s2(hidden.transpose(1, 2).flatten(0, 1)).unflatten(0, (clips, time))
        hidden = self.readout(hidden.movedim(2, -1))
        if self.config.tokens_per_clip is not None:
            hidden = pool_grid(hidden, self.config.video_grid(frames))
        tokens: Tensor = hidden.flatten(1, 3)
        return tokens


def _stage(in_width: int, width: int) -> nn.Sequential:
    widths = [in_width] + [width] * (_BLOCKS_PER_STAGE - 1)
    return nn.Sequential(*(Bottleneck(before, width) for before in widths))


def pool_grid(hidden: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """`hidden` (B, T, H, W, D) averaged to (B, *grid, D), axis by axis with `pooling_matrix`."""
    for axis, bins in enumerate(grid, start=1):
        weights = pooling_matrix(hidden.shape[axis], bins, hidden)
        hidden = torch.tensordot(hidden, weights, dims=([axis], [1])).movedim(-1, axis)
    return hidden


def pooling_matrix(length: int, bins: int, like: Tensor) -> Tensor:
    """Weights (bins, length) whose rows average consecutive windows; dtype and device of `like`.

    Window i covers floor(i·length/bins) up to ceil((i+1)·length/bins), as in adaptive average pooling: windows
    may overlap, and with more bins than entries they repeat entries. bins == length is the identity.

    Raises:
        ValueError: `length` or `bins` is below 1.
    """
    if length < 1 or bins < 1:
        raise ValueError(f"cannot pool {length} entries to {bins}; both must be 1 or more")
    index = torch.arange(bins, device=like.device)
    start = (index * length) // bins
    end = -((-(index + 1) * length) // bins)
    place = torch.arange(length, device=like.device)
    inside = (place >= start[:, None]) & (place < end[:, None])
    return inside.to(like.dtype) / (end - start)[:, None].to(like.dtype)
