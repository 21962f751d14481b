"""The loss of learned tokens alone, with the output head run over a few of them at a time."""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy

from ai_therapist.errors import ConfigError
from ai_therapist.finetuning.attention import SEGMENTS, Forest, dense_mask, flex_mask
from ai_therapist.finetuning.features import ClipFeatures
from ai_therapist.finetuning.fused import fuse_layers
from ai_therapist.finetuning.last_layer import LastLayer

Attention = Literal["segments", "dense", "flex"]
"""How attention over trees is computed; all give the same numbers."""

_IMPLEMENTATIONS: dict[Attention, str] = {"segments": SEGMENTS, "dense": "sdpa", "flex": "flex_attention"}


def chunked_loss(head: nn.Module, hidden: Tensor, learned: Tensor, chunk: int) -> Tensor:
    """Sum of the cross-entropies, in nats, of the tokens `learned` (T,) predicted from `hidden` (T, D).

    Logits exist for `chunk` tokens at a time, and once: each chunk's gradient is taken while they are there.
    """
    trained = [weight for weight in head.parameters() if weight.requires_grad]
    total: Tensor = _ChunkedLoss.apply(head, hidden, learned, chunk, *trained)
    return total


class _ChunkedLoss(torch.autograd.Function):
    """The sum over chunks; the gradients of hidden states and head are made in the forward pass and kept."""

    @staticmethod
    def forward(ctx: Any, head: nn.Module, hidden: Tensor, learned: Tensor, chunk: int, *trained: Tensor) -> Tensor:
        needed = ctx.needs_input_grad[1] or bool(trained and any(ctx.needs_input_grad[4:]))
        total = hidden.new_zeros((), dtype=torch.float32)
        of_hidden = torch.zeros_like(hidden) if needed else None
        of_trained = [torch.zeros_like(weight) for weight in trained] if needed else []
        for start in range(0, len(learned), chunk):
            states = hidden[start : start + chunk].detach().requires_grad_(needed)
            with torch.set_grad_enabled(needed):
                # No name keeps the logits, so that they are gone before their gradient is made. The head takes a view
                # of the states, since torch's counter of operations takes no leaf as the input of a module.
                nats = cross_entropy(
                    head(states.view_as(states)).float(), learned[start : start + chunk], reduction="sum"
                )
            if of_hidden is not None:
                of_states, *of_weights = torch.autograd.grad(nats, [states, *trained])
                of_hidden[start : start + chunk] = of_states
                for whole, part in zip(of_trained, of_weights, strict=True):
                    whole += part
            total += nats.detach()
        if of_hidden is not None:
            ctx.save_for_backward(of_hidden, *of_trained)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, *of_trained = ctx.saved_tensors
        return None, of_hidden * gradient, None, None, *(each * gradient for each in of_trained)


class ForestLoss(nn.Module):
    """A causal model of transformers that gives the summed loss of a forest; what training optimises."""

    def __init__(self, causal: Any, attention: Attention, chunk: int, *, tower_features: bool = False) -> None:
        """`causal` has a decoder `.model` and an output head, an adapter inside or not.

        `tower_features` says that features of clips come from the towers and still go through the connector.
        Raises ConfigError for a decoder whose layers see a sliding window, which trees do not follow.
        """
        super().__init__()
        self.causal = causal
        self._attention = attention
        self._chunk = chunk
        self._tower_features = tower_features
        text = causal.config.get_text_config()
        if "sliding_attention" in (getattr(text, "layer_types", None) or ()):
            raise ConfigError("finetuning.base: its layers attend in a sliding window, which trees do not follow")
        language = getattr(causal.model, "language_model", causal.model)
        # Set on the decoder alone: the towers keep their own.
        language.config._attn_implementation = _IMPLEMENTATIONS[attention]
        fuse_layers(causal)
        self._last = LastLayer(language.layers[-1])

    def hidden(self, forest: Forest, features: Mapping[str, ClipFeatures]) -> Tensor:
        """Last hidden states of the row, (L, D)."""
        extra: dict[str, Any] = {}
        device, dtype = forest.input_ids.device, self.causal.get_input_embeddings().weight.dtype
        if self._attention == "segments":
            extra["segments"] = forest.segments
        elif self._attention == "dense":
            extra["attention_mask"] = dense_mask(forest.segments, dtype, device)
        else:
            extra["attention_mask"] = flex_mask(forest.segments, device)
        clips = [features[clip] for clip in forest.clips]
        if clips:
            extra |= self._media(clips)
        # With a cache transformers forgets that a row is packed; nothing here may depend on that.
        output = self.causal.model(
            input_ids=forest.input_ids, position_ids=forest.position_ids, use_cache=False, **extra
        )
        states: Tensor = output.last_hidden_state[0]
        return states

    def forward(self, forest: Forest, features: Mapping[str, ClipFeatures]) -> Tensor:
        """Summed loss of all learned tokens of the row, in nats."""
        states = self._predicting(forest, features)
        return chunked_loss(self.causal.get_output_embeddings(), states, forest.learned, self._chunk)

    def logits(self, forest: Forest, features: Mapping[str, ClipFeatures]) -> Tensor:
        """(T, vocabulary): what the learned tokens are predicted with."""
        found: Tensor = self.causal.get_output_embeddings()(self._predicting(forest, features))
        return found

    def _predicting(self, forest: Forest, features: Mapping[str, ClipFeatures]) -> Tensor:
        """(T, D): last hidden states of the places from which a learned token is predicted."""
        with self._last.only_at(forest.sources.unique()):
            return self.hidden(forest, features)[forest.sources]

    def _media(self, clips: list[ClipFeatures]) -> dict[str, Any]:
        model = self.causal.model
        sounds = [clip.audio for clip in clips if clip.audio is not None]
        if not self._tower_features:
            return {"video_features": [clip.video for clip in clips]} | ({"audio_features": sounds} if sounds else {})
        # The connector is trained: what is kept are the towers' own features, and it runs in every step.
        video = model.get_video_features(tower_features=torch.stack([clip.video for clip in clips])).pooler_output
        media: dict[str, Any] = {"video_features": video}
        if sounds:
            media["audio_features"] = model.get_audio_features(tower_features=sounds).pooler_output
        return media


class LossOf(NamedTuple):
    """A summed loss in nats and the tokens that it is the sum of."""

    nats: float
    tokens: int

    @property
    def mean(self) -> float:
        """Nats per token. Raises ValueError over none."""
        if not self.tokens:
            raise ValueError("the mean loss of nothing is not defined")
        return self.nats / self.tokens
