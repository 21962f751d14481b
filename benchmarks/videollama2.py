"""VideoLLaMA2: its import time, and training steps from cached features: python benchmarks/videollama2.py [--quick].

The steps are a toy run of a tiny random model on the CPU, which shows ratios, not speed; gpu/videollama2.py has the
7B shape and generation.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple

import torch
from random_clip import clip_inputs
from reporting import finish

from ai_therapist import videollama2

IMPORT_MARGIN_S = 0.5
NATIVE = "from transformers import LlavaOnevisionForConditionalGeneration as M, LlavaOnevisionProcessor as P"
OURS = "from ai_therapist.videollama2 import VideoLLaMA2Qwen2ForConditionalGeneration as M, VideoLLaMA2Processor as P"
ON_TOP = f"""
import time
{NATIVE}
cpu_s, wall_s = time.process_time(), time.perf_counter()
{OURS}
print(time.process_time() - cpu_s, time.perf_counter() - wall_s)
"""


class Cost(NamedTuple):
    """What a process took: processor seconds, which hold on a busy machine, and wall seconds, which a user waits."""

    cpu_s: float
    wall_s: float


def cost(script: str) -> Cost:
    """Cost of a Python process that runs `script`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s)


def import_times(rounds: int) -> dict[str, float]:
    """What importing ours costs above transformers' own classes: in one process on top of them, and in pairs.

    The first holds on a busy machine. The second are the least of `rounds` processes that import one of the two, in
    turn: whatever else the machine does can only add to a time.
    """
    done = subprocess.run([sys.executable, "-c", ON_TOP], check=True, stdout=subprocess.PIPE, text=True)
    cpu_s, wall_s = map(float, done.stdout.split())
    figures = {"import_on_top_cpu_s": round(cpu_s, 2), "import_on_top_wall_s": round(wall_s, 2)}
    figures["import_package_cpu_s"] = round(cost("import ai_therapist.videollama2").cpu_s, 2)
    figures["import_transformers_cpu_s"] = round(cost("import transformers").cpu_s, 2)
    pairs = [(cost(NATIVE), cost(OURS)) for _ in range(rounds)]
    for unit in Cost._fields if rounds else ():
        native, ours = ([getattr(one, unit) for one in column] for column in zip(*pairs, strict=True))
        figures[f"import_native_{unit}"] = round(min(native), 2)
        figures[f"import_ours_{unit}"] = round(min(ours), 2)
        figures[f"import_extra_{unit}"] = round(min(ours) - min(native), 2)
    return figures


def training_steps(rounds: int) -> dict[str, object]:
    """Median seconds of a step through towers and from cached features, and whether the losses are equal."""
    torch.manual_seed(0)
    config = videollama2.tiny_config(512, tokens_per_clip=4, audio_tokens_per_clip=8)
    model: Any = videollama2.VideoLLaMA2Qwen2ForConditionalGeneration(config)
    model.eval()
    live = clip_inputs(model, fbank_frames=512)
    with torch.no_grad():
        video = model.get_video_features(live["pixel_values_videos"]).pooler_output
        audio = model.get_audio_features(live["input_features"], live["input_features_mask"]).pooler_output
    cached = {"input_ids": live["input_ids"], "video_features": video, "audio_features": audio}

    def step(inputs: dict[str, Any]) -> tuple[float, float]:
        model.zero_grad()
        start = time.perf_counter()
        loss = model(**inputs, labels=inputs["input_ids"]).loss
        loss.backward()
        return time.perf_counter() - start, loss.item()

    step(live), step(cached)
    pairs = [(step(live), step(cached)) for _ in range(rounds)]
    live_s, cached_s = statistics.median(a[0] for a, _ in pairs), statistics.median(b[0] for _, b in pairs)
    equal = all(a[1] == b[1] for a, b in pairs)
    return {"live_step_s": round(live_s, 4), "cached_step_ratio": round(live_s / cached_s, 2), "losses_equal": equal}


def main() -> None:
    """Run all parts and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1 round of steps instead of 5, and no pairs of imports")
    quick = parser.parse_args().quick
    rounds = 1 if quick else 5
    imports, steps = import_times(0 if quick else rounds), training_steps(rounds)
    package_s = imports["import_package_cpu_s"] - imports["import_transformers_cpu_s"]
    extra_s = max(package_s, imports["import_on_top_cpu_s"], imports.get("import_extra_cpu_s", 0.0))
    figures = {**imports, **steps, "rounds": rounds}
    print(f"imports {imports}; training steps of the tiny model {steps}")
    finish(
        "videollama2",
        figures,
        f"import at most {IMPORT_MARGIN_S} s of processor time above transformers' own: the package beside "
        "transformers, its classes on top of a native model's and in a process of their own; cached loss equals live",
        holds=bool(steps["losses_equal"]) and extra_s <= IMPORT_MARGIN_S,
    )


if __name__ == "__main__":
    main()
