"""The published checkpoint layout: how its weight names map to ours, and the registration with transformers.

model.vision_tower.vision_tower.vision_model.*   <->  model.vision_tower.*
model.{embed_tokens,layers,norm}.*               <->  model.language_model.*
model.mm_projector.*                             <->  model.connector.*
model.audio_tower.encoder.*                      <->  model.audio_tower.*
model.mm_projector_a.*                           <->  model.audio_projector.*
"""

# mypy: allow-untyped-calls

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
)
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming

from .configuration_videollama2 import BeatsConfig, VideoLLaMA2MistralConfig, VideoLLaMA2Qwen2Config
from .modeling_videollama2 import (
    VideoLLaMA2MistralForConditionalGeneration,
    VideoLLaMA2MistralModel,
    VideoLLaMA2Qwen2ForConditionalGeneration,
    VideoLLaMA2Qwen2Model,
)
from .processing_videollama2 import VideoLLaMA2Processor

_CONNECTOR = r"^model\.mm_projector\."
_AUDIO = r"^model\.audio_tower\.encoder\."

RENAMINGS: tuple[tuple[str, str], ...] = (
    (r"^model\.vision_tower\.vision_tower\.vision_model\.", r"model.vision_tower."),
    (r"^model\.(layers|embed_tokens|norm)\.", r"model.language_model.\1."),
    *((_CONNECTOR + rf"(s[12])\.b{i + 1}\.", rf"model.connector.\1.{i}.") for i in range(4)),
    (_CONNECTOR + r"sampler\.0\.", r"model.connector.sampler."),
    (_CONNECTOR + r"readout\.", r"model.connector.readout."),
    (r"(conv[123])\.bn\.", r"\1.norm."),
    (r"\.downsample\.conv\.", r".shortcut.conv."),
    (r"\.downsample\.bn\.", r".shortcut.norm."),
    (r"^model\.mm_projector_a\.", r"model.audio_projector."),
    (_AUDIO + r"pos_conv\.0\.weight_g", r"model.audio_tower.pos_conv.gain"),
    (_AUDIO + r"pos_conv\.0\.weight_v", r"model.audio_tower.pos_conv.direction"),
    (_AUDIO + r"pos_conv\.0\.bias", r"model.audio_tower.pos_conv.bias"),
    (
        _AUDIO + r"layers\.0\.self_attn\.relative_attention_bias\.",
        r"model.audio_tower.relative_attention_bias.",
    ),
    (_AUDIO + r"layer_norm\.", r"model.audio_tower.encoder_layer_norm."),
    (_AUDIO + r"layers\.", r"model.audio_tower.layers."),
)
"""(published pattern, our name), applied in order; no pattern ends in `$`, which saving would write into names."""


def register() -> None:
    """Make transformers' Auto classes and its checkpoint loader know VideoLLaMA2; harmless when repeated."""
    AutoConfig.register(BeatsConfig.model_type, BeatsConfig, exist_ok=True)
    for config, model, base in (
        (VideoLLaMA2Qwen2Config, VideoLLaMA2Qwen2ForConditionalGeneration, VideoLLaMA2Qwen2Model),
        (VideoLLaMA2MistralConfig, VideoLLaMA2MistralForConditionalGeneration, VideoLLaMA2MistralModel),
    ):
        rules: list[WeightConverter | WeightRenaming] = [
            WeightRenaming(source_patterns=source, target_patterns=target) for source, target in RENAMINGS
        ]
        register_checkpoint_conversion_mapping(config.model_type, rules, overwrite=True)
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, base, exist_ok=True)
        AutoModelForImageTextToText.register(config, model, exist_ok=True)
        AutoModelForMultimodalLM.register(config, model, exist_ok=True)
        AutoProcessor.register(config, VideoLLaMA2Processor, exist_ok=True)


register()
