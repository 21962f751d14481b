"""Any causal language model of transformers as an annotator of words, such as Llama 3.1 8B Instruct.

Its weights come from a folder or, once, from the Hugging Face Hub (HF_TOKEN for a gated one); safetensors only, and no
code of the model is run.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from ai_therapist.errors import ConfigError, MissingInput
from ai_therapist.models.local import silence_progress_bars
from ai_therapist.models.options import DEFAULTS, ModelOptions
from ai_therapist.models.weighing import WeighingModel
from ai_therapist.models.weights_folder import folder_revision
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import Message

_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
# Some templates write today's date into the prompt, and a label must not depend on the day.
_DATE = "26 Jul 2024"


def open_causal(where: str, options: ModelOptions = DEFAULTS) -> WeighingModel:
    """The model in a folder, or of that id on the Hub, from where it is fetched once; loaded when it is first asked.

    Raises MissingInput where there is no such model, and ConfigError where it has no safetensors.
    """
    folder = Path(where)
    folder = folder if folder.is_dir() else _fetched(where)
    revision = folder_revision(folder)
    manner = " in 4 bits" if options.four_bit else ""
    name = f"causal:{Path(where).name}@{revision}{manner}"
    return WeighingModel(name, frozenset({Modality.TEXT}), partial(CausalNetwork, folder, options))


class CausalNetwork:
    """A loaded causal language model with its tokenizer."""

    def __init__(self, folder: Path, options: ModelOptions) -> None:
        """Raises ConfigError where transformers knows no such model, or no GPU is there that was asked for."""
        silence_progress_bars()
        device = device_of(options)
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            self.model: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype="auto",
                device_map={"": device},
                use_safetensors=True,
                quantization_config=_four_bit() if options.four_bit else None,
            ).eval()
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{folder.name}: transformers cannot load it ({type(error).__name__})") from None
        end = self.tokenizer.eos_token_id
        self.end: int = 0 if end is None else end

    def inputs(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Tokens of the messages by the model's own chat template, or one after the other where it has none."""
        turns = [{"role": message.role, "content": self._harmless(message.text)} for message in messages]
        if self.tokenizer.chat_template is None:
            text = "\n\n".join(turn["content"] for turn in turns) + "\n\n"
            ids = self.tokenizer(text, return_tensors="pt")["input_ids"]
        else:
            ids = self.tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_tensors="pt", return_dict=True, date_string=_DATE
            )["input_ids"]
        return {"input_ids": ids.to(self.model.device)}

    def _harmless(self, text: str) -> str:
        """The text with every control token of the model broken up: nobody's words may end a turn."""
        for token in self.tokenizer.all_special_tokens:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text


def device_of(options: ModelOptions) -> str:
    """The device that the settings name. Raises ConfigError for a GPU that is not there."""
    there = torch.cuda.is_available()
    if options.device == "cuda" and not there:
        raise ConfigError("device 'cuda' was asked for, but PyTorch sees no GPU")
    return "cuda" if there and options.device != "cpu" else "cpu"


def _four_bit() -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _fetched(hub_id: str) -> Path:
    try:
        return Path(snapshot_download(hub_id, allow_patterns=_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise MissingInput(
            f"{hub_id!r} is no folder and cannot be had from the Hugging Face Hub ({type(error).__name__}): "
            "check the name, the connection, and HF_TOKEN for a gated model"
        ) from None
