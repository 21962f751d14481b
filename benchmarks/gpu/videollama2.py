"""VideoLLaMA2.1-7B-AV in 4 bits on a GPU, random weights: python benchmarks/gpu/videollama2.py [--tiny].

Builds the published shape with random weights in bfloat16 (17 GB on disk for the time of the run), loads it with the
language model in 4 bits, reads one clip with 30 s of sound and writes 128 tokens; then compares SDPA with flash
attention in bfloat16 where `flash_attn` is installed. Without a CUDA device nothing is measured and the result says
so. `--tiny` runs the same functions on a model of a million weights, on the CPU if need be: that proves the script,
not the speed.
"""

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ai_therapist import videollama2

sys.path.insert(0, str(Path(__file__).parents[1]))
from random_clip import clip_inputs
from reporting import finish

NEW_TOKENS = 128
FBANK_FRAMES = 2992
"""30 s of sound in whole patches of 16 frames of 10 ms."""
LIMIT_GIB = 16.0
FLASH_LIMIT = 0.05
"""Largest mean difference of logits between two attentions in bfloat16, whose own step is 2^-8."""


def published_shape() -> Any:
    """Configuration of VideoLLaMA2.1-7B-AV: 8.5 billion weights, 16 frames a clip, 2,848 media tokens."""
    text = {"vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28}
    return videollama2.VideoLLaMA2Qwen2Config(
        text_config={**text, "num_attention_heads": 28, "num_key_value_heads": 4, "bos_token_id": None},
        mm_vision_tower="google/siglip-so400m-patch14-384",
        mm_audio_tower="audio_tower.bin",
        num_frames=16,
    )


def save_random(config: Any, folder: str, device: str) -> None:
    """Write a model of `config` with random weights in bfloat16, made on `device`."""
    before = torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = videollama2.VideoLLaMA2Qwen2ForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)


def load(folder: str, device: str, **settings: Any) -> Any:
    """The saved model in bfloat16 on `device`, ready to generate."""
    model: Any = videollama2.VideoLLaMA2Qwen2ForConditionalGeneration.from_pretrained(
        folder, dtype=torch.bfloat16, device_map={"": device}, **settings
    )
    return model.eval()


def seconds(work: Callable[[], object]) -> float:
    """Wall time of `work`, until the device has finished it."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def generation(model: Any, tokens: int) -> dict[str, float]:
    """Seconds until the first token after one clip, and tokens per second from the second to the last; greedy."""
    inputs = clip_inputs(model, FBANK_FRAMES)

    def write(count: int) -> object:
        settings: dict[str, Any] = {"do_sample": False, "repetition_penalty": 1.0, "pad_token_id": 0}
        return model.generate(**inputs, **settings, max_new_tokens=count, min_new_tokens=count)

    write(2)
    first_s, all_s = seconds(lambda: write(1)), seconds(lambda: write(tokens))
    prompt = inputs["input_ids"].shape[1]
    return {
        "prompt_tokens": prompt,
        "prefill_s": round(first_s, 3),
        "tokens_per_s": round((tokens - 1) / (all_s - first_s), 1),
    }


def four_bit(folder: str, device: str) -> dict[str, object]:
    """Speed and memory with the language model in 4 bits, towers and connectors in bfloat16."""
    if device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model = load(folder, device, quantization_config=videollama2.four_bit_config())
    kinds = {type(layer).__name__ for layer in model.model.language_model.layers.modules()}
    figures: dict[str, object] = {"four_bit": "Linear4bit" in kinds, **generation(model, NEW_TOKENS)}
    if device != "cpu":
        figures["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return figures


def attention_difference(folder: str, device: str, other: str) -> float:
    """Mean absolute difference of the logits after one clip between SDPA and `other`, in bfloat16."""
    logits: list[torch.Tensor] = []
    for attention in ("sdpa", other):
        model = load(folder, device, attn_implementation=attention)
        with torch.no_grad():
            logits.append(model(**clip_inputs(model, FBANK_FRAMES)).logits.float().cpu())
        del model
    return round(float((logits[0] - logits[1]).abs().mean()), 5)


def measure(config: Any, device: str) -> dict[str, object]:
    """All figures of a model of `config` on `device`."""
    has_flash = device != "cpu" and importlib.util.find_spec("flash_attn") is not None
    with tempfile.TemporaryDirectory() as folder:
        save_random(config, folder, device)
        figures = four_bit(folder, device)
        other = "flash_attention_2" if has_flash else "eager"
        figures[f"sdpa_{other}_difference"] = attention_difference(folder, device, other)
    return {"device": device if device == "cpu" else torch.cuda.get_device_name(), "flash": has_flash, **figures}


def main() -> None:
    """Measure where there is a CUDA device, or the tiny model anywhere, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a model of a million weights, also without a GPU")
    parser.add_argument("--quick", action="store_true", help="accepted as by all benchmarks; changes nothing")
    tiny = parser.parse_args().tiny
    bar = f"7B shape in 4 bits within {LIMIT_GIB:g} GiB; attentions within {FLASH_LIMIT:g} of each other"
    if not torch.cuda.is_available() and not tiny:
        print("not run: no CUDA device")
        finish("gpu/videollama2", {"not_run": "no CUDA device"}, bar, holds=None)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    figures = measure(videollama2.tiny_config(512) if tiny else published_shape(), device)
    differences = [value for name, value in figures.items() if name.endswith("_difference")]
    within = all(isinstance(value, float) and value <= FLASH_LIMIT for value in differences)
    fits = float(str(figures.get("peak_gib", 0.0))) <= LIMIT_GIB
    holds = None if tiny else within and fits and bool(figures["four_bit"])
    finish("gpu/videollama2", {"tiny": tiny, **figures}, bar, holds=holds)


if __name__ == "__main__":
    main()
