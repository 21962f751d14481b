"""A tiny VideoLLaMA2.1-AV, for demonstrations and tests: the real classes with small numbers."""

from typing import Any

from .configuration_videollama2 import VideoLLaMA2Qwen2Config


def tiny_config(vocab_size: int, **overrides: Any) -> VideoLLaMA2Qwen2Config:
    """Configuration of a model of about 1.1 million weights, all widths multiples of 64 as 4-bit layers need.

    SigLIP of 56 pixels (4x4 patches), 8 frames per clip (16 tokens before pooling), BEATs of two layers, Qwen2 of
    two layers. `overrides` replace fields of the configuration.

    Raises:
        ValueError: fields that contradict each other.
    """
    fields: dict[str, Any] = {
        "text_config": {
            "model_type": "qwen2",
            "vocab_size": vocab_size,
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "bos_token_id": None,
            "eos_token_id": None,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 56,
            "patch_size": 14,
            "vision_use_head": False,
        },
        "audio_config": {
            "hidden_size": 64,
            "patch_embed_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "conv_pos": 16,
        },
        "num_frames": 8,
    }
    return VideoLLaMA2Qwen2Config(**{**fields, **overrides})
