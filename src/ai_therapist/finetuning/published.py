"""What a plan needs to know of published language models, so that it opens and fetches none of their weights.

Sizes are those of the models' own config.json on the Hub.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any, NamedTuple

from transformers import AutoTokenizer

from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.plan import Shape

_NF4_BYTES = 0.5 + (1 + 4 / 256) / 64
"""Bytes of a weight in 4 bits: its half byte, and of 64 of them a scale of 8 bits, of 256 of those one of 32."""


class Decoder(NamedTuple):
    """Sizes of a decoder whose layers are those of Qwen2: biases on query, key and value, three products of gating."""

    layers: int
    width: int
    heads: int
    key_heads: int
    inner: int
    """Width of the feed-forward part."""
    vocabulary: int
    """Rows of the embedding, and of a head of its own."""


PUBLISHED = {
    "Qwen/Qwen2.5-7B-Instruct": Decoder(28, 3584, 28, 4, 18944, 152064),
    "Qwen/Qwen2-7B-Instruct": Decoder(28, 3584, 28, 4, 18944, 152064),
}
"""By id on the Hub."""


def shape_from(decoder: Decoder, config: FinetuningConfig) -> Shape:
    """The sizes of the decoder with its adapter, as `shape_of` finds them in an opened model without towers.

    Connectors are left out: they are small beside the decoder, and what they cost follows from no setting of it.
    """
    width, side = decoder.width, decoder.width // decoder.heads * decoder.key_heads
    sides = {
        "q_proj": (width, width),
        "k_proj": (width, side),
        "v_proj": (width, side),
        "o_proj": (width, width),
        "gate_proj": (width, decoder.inner),
        "up_proj": (width, decoder.inner),
        "down_proj": (decoder.inner, width),
    }
    adapted = {name: config.lora_rank * sum(sides[name]) for name in config.lora_targets}
    products = sum(one * other for one, other in sides.values())
    rest = width + 2 * side + 2 * width
    """Biases of query, key and value, and both norms."""
    feed_forward = 3 * width * decoder.inner
    embeddings = 2 * decoder.vocabulary * width
    trained_in_layers = decoder.layers * sum(adapted.values())
    number = 2 if config.precision == "bf16" else 4
    kept = _NF4_BYTES if config.quantisation == "nf4" else number
    return Shape(
        layers=decoder.layers,
        width=width,
        vocabulary=decoder.vocabulary,
        layer_weights=decoder.layers * (products + rest),
        trained=trained_in_layers + (embeddings if config.train_embeddings else 0),
        trained_in_layers=trained_in_layers,
        last_feed_forward=feed_forward,
        last_trained=sum(size for name, size in adapted.items() if name in {"gate_proj", "up_proj", "down_proj"}),
        trained_head=config.train_embeddings,
        bytes_of_base=round(decoder.layers * (products * kept + rest * number))
        + (embeddings + width) * number
        + 4 * trained_in_layers,
    )


def published_tokenizer(language: str, revision: str | None) -> Any:
    """The model's own tokenizer with tokens that stand for clips; None where it cannot be had."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(language, revision=revision)
    except (OSError, ValueError):
        return None
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<video>", "<audio>"]})
    return tokenizer
