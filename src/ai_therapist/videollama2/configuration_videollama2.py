"""Configurations of the VideoLLaMA2 family, read from the published flat config.json or from our nested one."""

# mypy: allow-untyped-calls
# (transformers annotates few of its own methods)

from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .token_grid import Grid, connector_grid, pooled_grid

TOWER_CONFIGS: dict[str, dict[str, Any]] = {
    "openai/clip-vit-large-patch14-336": {
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 336,
        "patch_size": 14,
        "projection_dim": 768,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
    "google/siglip-so400m-patch14-384": {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
    },
}
"""Vision tower id → its configuration: the published config.json names the tower but does not describe it."""

CONNECTOR_PADDING = {"stc_connector": 1, "stc_connector_v35": 0}
"""Connector type → padding of its Conv3d sampler on every axis."""

_PUBLISHED_VOCABULARIES = {152064: 151646, 32000: 32000}
"""Vocabulary size of a published checkpoint → length of its tokenizer, where added tokens begin."""

_TEXT_FIELDS = (
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "max_window_layers",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_theta",
    "sliding_window",
    "use_sliding_window",
    "tie_word_embeddings",
    "use_cache",
    "vocab_size",
)
_SUB_CONFIGS = ("text_config", "vision_config", "audio_config")


class BeatsConfig(PreTrainedConfig):
    """Sizes of the BEATs audio encoder; the defaults are those of BEATs iter3+ as VideoLLaMA2.1-AV uses it.

    Source of the architecture: Chen et al., "BEATs: Audio Pre-Training with Acoustic Tokenizers" (2022).
    """

    model_type = "videollama2_beats"
    base_config_key = "audio_config"

    hidden_size: int = 768
    """Width of the encoder layers."""
    patch_embed_size: int = 512
    """Width of a patch embedding before its projection to `hidden_size`."""
    patch_size: int = 16
    """Side of one square patch of the filter bank, in frames and in mel bins."""
    num_mel_bins: int = 128
    """Mel bins of one input frame; a multiple of `patch_size`."""
    num_hidden_layers: int = 12
    """Number of encoder layers."""
    num_attention_heads: int = 12
    """Attention heads per layer; divides `hidden_size`."""
    intermediate_size: int = 3072
    """Inner width of the feed-forward blocks."""
    conv_pos: int = 128
    """Kernel size of the positional convolution, in tokens."""
    conv_pos_groups: int = 16
    """Groups of the positional convolution; divides `hidden_size`."""
    num_buckets: int = 320
    """Buckets of the relative position bias, both directions together."""
    max_distance: int = 800
    """Distance in tokens from which all positions share the last bucket."""
    layer_norm_eps: float = 1e-5
    """Epsilon of every layer norm."""
    fbank_mean: float = 15.41663
    """Mean subtracted from the log-mel filter bank."""
    fbank_std: float = 6.55582
    """The filter bank is divided by twice this value."""
    layerdrop: float = 0.05
    """Probability of leaving out a layer while training with gradients, in [0, 1)."""
    gradient_decay: float = 0.6
    """Factor on the gradient that enters the input of every layer; 1 switches it off."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Check that heads, groups and patches divide their widths.

        Raises:
            ValueError: a width is not a multiple of what divides it.
        """
        super().__post_init__(**kwargs)
        for width, part in (
            ("hidden_size", "num_attention_heads"),
            ("hidden_size", "conv_pos_groups"),
            ("num_mel_bins", "patch_size"),
        ):
            if getattr(self, width) % getattr(self, part):
                raise ValueError(
                    f"BeatsConfig: {width}={getattr(self, width)} is not a multiple of "
                    f"{part}={getattr(self, part)}; choose sizes that divide"
                )

    @property
    def patches_per_step(self) -> int:
        """Tokens that one time step of `patch_size` frames gives (8 for 128 mel bins)."""
        return self.num_mel_bins // self.patch_size


class VideoLLaMA2Config(PreTrainedConfig):
    """What the Qwen2 and Mistral configurations of VideoLLaMA2 share; use one of the two subclasses.

    Accepts the published flat LLaVA-style fields (folded into `text_config`, the towers found by name) as well as
    nested `text_config`, `vision_config` and `audio_config` (dictionaries or configurations).

    Raises:
        ValueError: unknown connector type, selected feature or vision tower; sizes that contradict each other;
            a token budget that the connector grid cannot give.
    """

    model_type = "videollama2"
    text_model_type: ClassVar[str] = "qwen2"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="qwen2"),
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="siglip_vision_model"),
        "audio_config": SubConfigSpec(config_class=BeatsConfig, optional=True),
    }

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    """The language model (Qwen2 or Mistral)."""
    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    """The CLIP or SigLIP vision tower."""
    audio_config: dict[str, Any] | PreTrainedConfig | None = None
    """The BEATs audio tower; None for a model that hears nothing."""
    mm_vision_tower: str | None = None
    """Hub id of the vision tower; the processor is built from it."""
    mm_vision_select_layer: int = -2
    """Which hidden state of the tower is used, counted as in `hidden_states`."""
    mm_vision_select_feature: str = "patch"
    """Only "patch": the class token, where there is one, is dropped."""
    mm_projector_type: str = "stc_connector_v35"
    """"stc_connector" (v2) or "stc_connector_v35" (v2.1)."""
    mm_hidden_size: int | None = None
    """Width of the vision tower, if stated."""
    num_frames: int = 8
    """Frames per clip; an image is repeated so often."""
    image_aspect_ratio: str = "pad"
    """"pad" pastes frames on a square first; "none" leaves them as they are."""
    mm_audio_tower: str | None = None
    """Any value says that the model has the BEATs audio tower."""
    mm_hidden_size_a: int | None = None
    """Width of the audio tower, if stated."""
    mm_projector_a_type: str | None = None
    """Only "mlp2x_gelu"."""
    tokens_per_clip: int | None = None
    """Video (or image) tokens a clip costs after pooling; None keeps what the connector gives."""
    audio_tokens_per_clip: int | None = None
    """Audio tokens a clip costs after pooling; None keeps one token per patch."""
    load_towers: bool = True
    """False builds the model without vision and audio tower, for training from cached features."""
    image_token_id: int | None = None
    """Placeholder id of one image token; may lie at or beyond `vocab_size`."""
    video_token_id: int | None = None
    """Placeholder id of one video token."""
    audio_token_id: int | None = None
    """Placeholder id of one audio token."""
    tie_word_embeddings: bool = False
    """Whether the output head shares the input embedding."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Fold flat fields, find the towers, then check everything (raises as the class says)."""
        self.text_config = self._fold_text(kwargs)
        if self.vision_config is None and self.mm_vision_tower is not None:
            self.vision_config = find_tower_config(self.mm_vision_tower, str(kwargs.get("name_or_path", "")))
        if self.audio_config is None and self.mm_audio_tower is not None:
            self.audio_config = {}
        kwargs.pop("_name_or_path", None)
        super().__post_init__(**kwargs)
        self.tie_word_embeddings = bool(self.text.tie_word_embeddings)
        self._check()
        first = _PUBLISHED_VOCABULARIES.get(self.text.vocab_size, self.text.vocab_size)
        for offset, kind in enumerate(("image", "video", "audio")):
            if getattr(self, f"{kind}_token_id") is None:
                setattr(self, f"{kind}_token_id", first + offset)

    def _fold_text(self, kwargs: dict[str, Any]) -> dict[str, Any] | PreTrainedConfig | None:
        """The text configuration, with the flat fields of a published config.json taken out of `kwargs`."""
        if isinstance(self.text_config, PreTrainedConfig):
            return self.text_config
        folded = {name: kwargs.pop(name) for name in _TEXT_FIELDS if name in kwargs}
        if self.text_config is None and "hidden_size" in folded:
            return {
                "model_type": self.text_model_type,
                "tie_word_embeddings": self.tie_word_embeddings,
                **folded,
            }
        return {"model_type": self.text_model_type, **(self.text_config or {})}

    def _check(self) -> None:
        if self.mm_projector_type not in CONNECTOR_PADDING:
            raise ValueError(
                f"mm_projector_type={self.mm_projector_type!r} is not supported; no published 7B checkpoint has it. "
                f"Use one of {sorted(CONNECTOR_PADDING)}"
            )
        if self.mm_vision_select_feature != "patch":
            raise ValueError(
                f"mm_vision_select_feature={self.mm_vision_select_feature!r} is not supported; use 'patch'"
            )
        if self.image_aspect_ratio not in ("pad", "none"):
            raise ValueError(f"image_aspect_ratio={self.image_aspect_ratio!r}: use 'pad' or 'none'")
        if self.mm_projector_a_type not in (None, "mlp2x_gelu"):
            raise ValueError(f"mm_projector_a_type={self.mm_projector_a_type!r} is not supported; use 'mlp2x_gelu'")
        if self.mm_hidden_size not in (None, self.vision.hidden_size):
            raise ValueError(
                f"mm_hidden_size={self.mm_hidden_size} but the vision tower has {self.vision.hidden_size}; "
                "pass the tower's own vision_config"
            )
        if self.audio is not None and self.mm_hidden_size_a not in (None, self.audio.hidden_size):
            raise ValueError(
                f"mm_hidden_size_a={self.mm_hidden_size_a} but the audio tower has {self.audio.hidden_size}; "
                "pass the tower's own audio_config"
            )
        layers = self.vision.num_hidden_layers
        if not -layers - 1 <= self.mm_vision_select_layer <= layers:
            raise ValueError(
                f"mm_vision_select_layer={self.mm_vision_select_layer} but the tower has {layers} layers; "
                f"use {-layers - 1}..{layers}"
            )
        self.video_grid(self.num_frames)
        if self.audio_tokens_per_clip is not None and self.audio_tokens_per_clip < 1:
            raise ValueError(f"audio_tokens_per_clip={self.audio_tokens_per_clip}: use 1 or more, or None")

    @property
    def text(self) -> Any:
        """The language model's configuration object."""
        return self.text_config

    @property
    def vision(self) -> Any:
        """The vision tower's configuration object."""
        return self.vision_config

    @property
    def audio(self) -> BeatsConfig | None:
        """The audio tower's configuration object, or None."""
        return self.audio_config if isinstance(self.audio_config, BeatsConfig) else None

    @property
    def connector_padding(self) -> int:
        """Padding of the connector's sampler on every axis."""
        return CONNECTOR_PADDING[self.mm_projector_type]

    def video_grid(self, num_frames: int) -> Grid:
        """(time, height, width) of a clip's tokens, after pooling to `tokens_per_clip` where that is set.

        Raises:
            ValueError: the connector grid is empty or cannot be pooled to that many tokens.
        """
        side = self.vision.image_size // self.vision.patch_size
        return pooled_grid(connector_grid(num_frames, side, self.connector_padding), self.tokens_per_clip)

    def num_video_tokens(self, num_frames: int | None = None) -> int:
        """Placeholder tokens of one clip of `num_frames` frames (default: the model's own `num_frames`)."""
        time, height, width = self.video_grid(self.num_frames if num_frames is None else num_frames)
        return time * height * width

    def num_audio_tokens(self, num_frames: int) -> int:
        """Placeholder tokens of one sound of `num_frames` filter-bank frames (10 ms each).

        Raises:
            ValueError: the model has no audio tower.
        """
        if self.audio is None:
            raise ValueError("this model has no audio tower; use a VideoLLaMA2.1-AV checkpoint for sound")
        if self.audio_tokens_per_clip is not None:
            return self.audio_tokens_per_clip
        return num_frames // self.audio.patch_size * self.audio.patches_per_step

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As the base class; sub-configurations in `kwargs` are put in before anything is checked."""
        merged = dict(config_dict)
        for name in _SUB_CONFIGS:
            given = kwargs.pop(name, None)
            if given is not None:
                merged[name] = given
        return super().from_dict(merged, **kwargs)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """As the base class; remembers where the file was, so that a tower beside the model folder is found."""
        fields, unused = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        return {"name_or_path": str(pretrained_model_name_or_path), **fields}, unused


class VideoLLaMA2Qwen2Config(VideoLLaMA2Config):
    """VideoLLaMA2.1 (-7B-16F, -7B-AV): SigLIP, stc_connector_v35, Qwen2, optionally BEATs."""

    model_type = "videollama2_qwen2"
    text_model_type: ClassVar[str] = "qwen2"


class VideoLLaMA2MistralConfig(VideoLLaMA2Config):
    """VideoLLaMA2 (-7B, -7B-16F): CLIP, stc_connector, Mistral."""

    model_type = "videollama2_mistral"
    text_model_type: ClassVar[str] = "mistral"

    mm_projector_type: str = "stc_connector"


def find_tower_config(tower: str, model_path: str) -> dict[str, Any]:
    """Configuration of the vision tower `tower`: built in by id, beside the model's folder, or loaded by id.

    Raises:
        ValueError: the name holds neither "clip" nor "siglip".
        OSError: neither the folder nor the hub has it.
    """
    if tower in TOWER_CONFIGS:
        return dict(TOWER_CONFIGS[tower])
    if "clip" not in tower.lower() and "siglip" not in tower.lower():
        raise ValueError(f"mm_vision_tower={tower!r}: only CLIP and SigLIP towers are supported")
    beside = Path(model_path) / tower
    source = str(beside) if model_path and beside.is_dir() else tower
    fields, _ = PreTrainedConfig.get_config_dict(source)
    kind = "siglip_vision_model" if "siglip" in tower.lower() else "clip_vision_model"
    vision: dict[str, Any] = fields.get("vision_config", fields)
    return {**vision, "model_type": kind}
