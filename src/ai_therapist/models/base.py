"""Opens a base: a folder with a model, or with a reference to published ones, whole, without towers or in 4 bits."""

# mypy: allow-untyped-calls

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from ai_therapist.errors import ConfigError, InvalidRecord, MissingInput
from ai_therapist.models.tuned_folder import BaseReference
from ai_therapist.models.weights_folder import check_weights, folder_revision
from ai_therapist.videollama2 import VideoLLaMA2Qwen2ForConditionalGeneration, graft
from ai_therapist.videollama2.loading import four_bit_config

_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""What is fetched of a repository; pickled weights and code never are."""
_OF_FILES = "files:"


class Base(NamedTuple):
    """An opened base."""

    model: Any
    """A causal model of transformers in evaluation mode."""
    processor: Any
    """Its processor, a tokenizer where the model reads text alone; None where the folder holds the weights only."""


def open_base(folder: Path, *, towers: bool = True, four_bit: bool = False, dtype: torch.dtype = torch.float32) -> Base:
    """The base in `folder` on the device that training uses.

    Raises MissingInput where a published model cannot be had, ConfigError where two do not go together or weights are
    no safetensors, and InvalidRecord for a spoiled reference.
    """
    check_weights(folder)
    kwargs: dict[str, Any] = {"dtype": dtype}
    if torch.cuda.is_available():
        kwargs["device_map"] = {"": torch.cuda.current_device()}
    if four_bit:
        kwargs["quantization_config"] = four_bit_config()
    if (folder / BaseReference.FILE).is_file():
        opened = _open_reference(read_reference(folder), towers, kwargs)
    elif _is_videollama2(folder):
        opened = Base(
            VideoLLaMA2Qwen2ForConditionalGeneration.from_pretrained(folder, load_towers=towers, **kwargs), None
        )
    else:
        opened = Base(AutoModelForCausalLM.from_pretrained(folder, **kwargs), None)
    opened.model.eval()
    return opened


def put_adapter(model: Any, folder: Path, *, trainable: bool = False) -> Any:
    """The model with the adapter in `folder` on it. Raises InvalidRecord where the two do not fit."""
    try:
        with quiet_peft():
            return PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    except (ValueError, RuntimeError, OSError, KeyError, SafetensorError) as error:
        raise InvalidRecord(f"{folder}: no adapter of this base ({type(error).__name__})") from None


@contextmanager
def quiet_peft() -> Iterator[None]:
    """PEFT asks for a property by the name it had before transformers 5; nobody needs to hear of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield


def read_reference(folder: Path) -> BaseReference:
    """The reference in a base's folder. Raises InvalidRecord for a spoiled one."""
    path = folder / BaseReference.FILE
    try:
        return BaseReference.model_validate_json(path.read_bytes())
    except ValueError:
        raise InvalidRecord(f"{path}: not the description of a base") from None


def located(source: str, revision: str | None) -> Path:
    """The folder of a model: `source` itself, or its files from the Hub at `revision`, fetched once.

    Raises MissingInput where there is no such folder and the Hub does not give it.
    """
    if Path(source).is_dir():
        return Path(source)
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise MissingInput(
            f"{source}: no folder, and the Hub did not give it ({type(error).__name__}): check its name and HF_TOKEN"
        ) from None


def revision_of(source: str, folder: Path) -> str:
    """What tells a model from every other of its name: the Hub's commit, or what its files are.

    Raises MissingInput and ConfigError where the folder holds no model in safetensors.
    """
    return f"{_OF_FILES}{folder_revision(folder)}" if Path(source).is_dir() else folder.name


def _open_reference(about: BaseReference, towers: bool, kwargs: dict[str, Any]) -> Base:
    language = located(about.language, _commit(about.language_revision))
    try:
        if about.media is None:
            if "quantization_config" in kwargs:
                kwargs["quantization_config"] = _text_four_bit()
            model = AutoModelForCausalLM.from_pretrained(language, **kwargs)
            return Base(model, AutoTokenizer.from_pretrained(language))
        media = located(about.media, _commit(about.media_revision))
        overrides = {
            "num_frames": about.num_frames,
            "tokens_per_clip": about.tokens_per_clip,
            "audio_tokens_per_clip": about.audio_tokens_per_clip,
            "load_towers": towers,
        }
        return Base(*graft(str(media), str(language), config_overrides=overrides, **kwargs))
    except (ValueError, OSError) as error:
        raise ConfigError(f"finetuning.base: {error}") from None


def _commit(revision: str | None) -> str | None:
    return None if revision is None or revision.startswith(_OF_FILES) else revision


def _text_four_bit() -> BitsAndBytesConfig:
    settings = four_bit_config()
    settings.llm_int8_skip_modules = ["lm_head"]
    return settings


def _is_videollama2(folder: Path) -> bool:
    return '"videollama2' in (folder / "config.json").read_text("utf-8")
