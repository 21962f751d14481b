"""One random clip with sound as a VideoLLaMA2 model takes it; not a benchmark, what two of them share."""

from typing import Any

import torch


def clip_inputs(model: Any, fbank_frames: int) -> dict[str, torch.Tensor]:
    """One clip with `fbank_frames` (10 ms each) of sound between 32 text tokens, on the model's device."""
    config, generator = model.config, torch.Generator().manual_seed(0)
    side = config.vision.image_size
    text = torch.randint(0, 256, (32,), generator=generator).tolist()
    media = [config.video_token_id] * config.num_video_tokens()
    media += [config.audio_token_id] * config.num_audio_tokens(fbank_frames)
    ids = torch.tensor([text[:16] + media + text[16:]])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values_videos": torch.randn(1, config.num_frames, 3, side, side, generator=generator),
        "input_features": torch.randn(1, fbank_frames, config.audio.num_mel_bins, generator=generator) * 5 + 15,
        "input_features_mask": torch.ones(1, fbank_frames, dtype=torch.long),
    }
    return {name: value.to(model.device) for name, value in inputs.items()}
