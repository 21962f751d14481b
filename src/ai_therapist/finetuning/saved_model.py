"""The folder that holds a tuned model: what is needed to load it, and where it comes from.

finetuning.json   name, resolved settings and their sha256
base/             the base before tuning: configuration and weights, or the names and revisions of published ones
adapter/          what was learned, in PEFT's layout: the adapter, and what was trained whole beside it
merged/           the tuned model as transformers loads it: weights, tokenizer and processor; only where it is wanted
processor/        tokenizer or processor, where there is no merged model
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.models.base import open_base, put_adapter
from ai_therapist.models.tuned_folder import ADAPTER, BASE, MERGED, PROCESSOR, TunedFolder
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.codec import canonical_json, encode
from ai_therapist.videollama2 import VideoLLaMA2ForConditionalGeneration, VideoLLaMA2Processor


def config_sha256(config: FinetuningConfig) -> str:
    """Sha256 of the resolved settings in their canonical form."""
    return hashlib.sha256(canonical_json(config.model_dump(mode="json"))).hexdigest()


def save_tuned(
    folder: Path,
    base: Path,
    model: PeftModel,
    processor: Any,
    config: FinetuningConfig,
    lineage: tuple[str, ...] = (),
    context_turns: int | None = None,
) -> None:
    """Write the tuned model below `folder`.

    `lineage` names the models that it goes on from, `context_turns` is the most context that it was trained with.
    """
    shutil.copytree(base, folder / BASE)
    for settings in model.peft_config.values():
        settings.base_model_name_or_path = BASE
    model.save_pretrained(str(folder / ADAPTER), save_embedding_layers=False)
    # PEFT's own card is an empty form.
    (folder / ADAPTER / "README.md").unlink(missing_ok=True)
    if config.merge:
        save_merged(folder, folder / MERGED, processor)
    else:
        save_processor(processor, model.get_base_model(), folder / PROCESSOR)
    digest = config_sha256(config)
    kind = "toy-videollama2" if config.base.sees_clips else "toy-qwen2"
    about = TunedFolder(
        name=f"{config.preset}-{kind if config.base.is_random else 'adapter'}@{digest[:12]}",
        config=config.model_dump(mode="json"),
        config_sha256=digest,
        lineage=lineage,
        context_turns=context_turns,
    )
    write_atomically(folder / TunedFolder.FILE, encode(about))


def save_merged(folder: Path, target: Path, processor: Any, dtype: torch.dtype = torch.float32) -> None:
    """Write base and adapter of a tuned model's `folder` as one model of `dtype`, towers included, to `target`.

    The base is opened anew in full precision: merging into rounded 4-bit layers would give another model.
    """
    opened = open_base(folder / BASE, dtype=dtype)
    merged = put_adapter(opened.model, folder / ADAPTER).merge_and_unload()
    merged.save_pretrained(target)
    save_processor(processor, merged, target)


def save_processor(processor: Any, model: Any, target: Path) -> None:
    """Write the tokenizer, inside a processor where the model sees clips."""
    if isinstance(model, VideoLLaMA2ForConditionalGeneration) and not isinstance(processor, VideoLLaMA2Processor):
        processor = VideoLLaMA2Processor.from_config(model.config, processor)
    processor.save_pretrained(target)
