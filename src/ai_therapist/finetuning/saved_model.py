"""The folder that holds a tuned model: all that is needed to load it offline, and where it comes from.

finetuning.json   name, resolved settings and their sha256
base/             the base before tuning: configuration and weights
adapter/          the adapter in PEFT's layout, with the embedding and the head that were trained whole
merged/           the tuned model as transformers loads it: weights, tokenizer and processor
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedTokenizerFast

from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.models.local import load_videollama2
from ai_therapist.models.tuned_folder import BASE, MERGED, TunedFolder
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.codec import canonical_json, encode
from ai_therapist.videollama2 import VideoLLaMA2Processor

ADAPTER = "adapter"


def config_sha256(config: FinetuningConfig) -> str:
    """Sha256 of the resolved settings in their canonical form."""
    return hashlib.sha256(canonical_json(config.model_dump(mode="json"))).hexdigest()


def save_tuned(
    folder: Path, base: Path, model: PeftModel, tokenizer: PreTrainedTokenizerFast, config: FinetuningConfig
) -> None:
    """Write the tuned model below `folder`. The adapter is merged into `model` by this, which is of no use after."""
    shutil.copytree(base, folder / BASE)
    for settings in model.peft_config.values():
        settings.base_model_name_or_path = BASE
    model.save_pretrained(str(folder / ADAPTER), save_embedding_layers=False)
    # PEFT's own card is an empty form.
    (folder / ADAPTER / "README.md").unlink(missing_ok=True)
    whole = load_videollama2(base)
    tuned = model.merge_and_unload().state_dict()
    strange = whole.load_state_dict(tuned, strict=False).unexpected_keys
    if strange:
        raise ValueError(f"the tuned model holds {strange[0]!r}, which its base does not")
    whole.save_pretrained(folder / MERGED)
    VideoLLaMA2Processor.from_config(whole.config, tokenizer).save_pretrained(folder / MERGED)
    digest = config_sha256(config)
    about = TunedFolder(
        name=f"{config.preset}-toy-videollama2@{digest[:12]}",
        config=config.model_dump(mode="json"),
        config_sha256=digest,
    )
    write_atomically(folder / TunedFolder.FILE, encode(about))
