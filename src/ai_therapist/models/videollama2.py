"""VideoLLaMA2(.1-AV) as an annotator of clips: it sees, hears, weighs labels and describes what shows."""

# mypy: allow-untyped-calls

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ai_therapist.errors import ConfigError, InvalidRecord, MissingInput
from ai_therapist.media.frames import load_sound
from ai_therapist.models.causal import device_of
from ai_therapist.models.clip_input import read_clip
from ai_therapist.models.local import silence_progress_bars
from ai_therapist.models.options import DEFAULTS, ModelOptions
from ai_therapist.models.weighing import WeighingModel
from ai_therapist.models.weights_folder import folder_revision
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import AudioPart, ImagePart, Message, TextPart, VideoPart
from ai_therapist.videollama2 import VideoLLaMA2Processor, four_bit_config, load

_AUDIO_FIELDS = ("audio_config", "mm_audio_tower")


def open_videollama2(folder: Path, options: ModelOptions = DEFAULTS) -> WeighingModel:
    """The model in a folder, in the published layout or as `save_pretrained` wrote it; loaded when it is first asked.

    Raises MissingInput where there is none, InvalidRecord where its config.json is spoiled, ConfigError where it has
    no safetensors.
    """
    if not folder.is_dir():
        raise MissingInput(f"{folder} is no folder: download the model there first")
    revision = folder_revision(folder)
    try:
        fields = json.loads((folder / "config.json").read_bytes())
        hears = any(fields.get(field) for field in _AUDIO_FIELDS)
    except (ValueError, RecursionError, AttributeError):
        raise InvalidRecord(f"{folder / 'config.json'}: not the description of a model") from None
    accepts = frozenset({Modality.TEXT, Modality.VIDEO} | ({Modality.AUDIO} if hears else set()))
    manner = " in 4 bits" if options.four_bit else ""
    name = f"videollama2:{folder.name}@{revision}{manner}"
    return WeighingModel(name, accepts, partial(VideoLLaMA2Network, folder, options))


class VideoLLaMA2Network:
    """A loaded VideoLLaMA2 with its processor."""

    def __init__(self, folder: Path, options: ModelOptions) -> None:
        """Raises ConfigError where the folder holds no VideoLLaMA2, or no GPU is there that was asked for."""
        silence_progress_bars()
        device = device_of(options)
        settings: dict[str, Any] = {"dtype": torch.bfloat16 if device == "cuda" or options.four_bit else torch.float32}
        if options.four_bit:
            settings["quantization_config"] = four_bit_config()
        try:
            model, self.processor = load(str(folder), device_map={"": device}, **settings)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{folder.name}: no VideoLLaMA2 that can be loaded ({type(error).__name__})") from None
        if not isinstance(self.processor, VideoLLaMA2Processor):
            raise ConfigError(f"{folder.name} is another kind of model than VideoLLaMA2")
        self.model: Any = model.eval()
        self.tokenizer: Any = self.processor.tokenizer
        self.end: int = self.tokenizer.eos_token_id
        self._frames: int = self.model.config.num_frames

    def inputs(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Tokens, frames and sound of the messages. Raises UnreadableMedia for a clip that cannot be decoded."""
        chat = [{"role": message.role, "content": [self._part(part) for part in message.parts]} for message in messages]
        inputs: Any = self.processor.apply_chat_template(
            chat,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            # Nobody's words may end a turn or stand for a clip.
            sanitize_control_tokens=True,
        )
        return dict(inputs.to(self.model.device))

    def _part(self, part: TextPart | ImagePart | VideoPart | AudioPart) -> dict[str, Any]:
        match part:
            case TextPart():
                return {"type": "text", "text": part.text}
            case ImagePart():
                raise ValueError("a picture is no clip")
            case AudioPart():
                return {"type": "audio", "audio": load_sound(Path(part.path))}
            case VideoPart():
                clip = read_clip(Path(part.path), self._frames)
                return {"type": "video", "video": clip.frames, "sound": clip.sound if part.sound else None}
