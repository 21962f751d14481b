"""VideoLLaMA2 models: vision tower, connector, audio tower, projector and a language model, spliced in one sequence."""

# mypy: allow-untyped-calls, allow-untyped-decorators

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling
from transformers.modeling_utils import slice_logits_to_keep
from transformers.utils.generic import ModelOutput, can_return_tuple

from .configuration_videollama2 import VideoLLaMA2Config, VideoLLaMA2MistralConfig, VideoLLaMA2Qwen2Config
from .connector_videollama2 import STCConnector, pooling_matrix
from .generation_videollama2 import MediaGenerationMixin
from .modeling_beats import BeatsModel
from .pretrained_videollama2 import IGNORED_NAMES, VideoLLaMA2PreTrainedModel

Features = Tensor | Sequence[Tensor]
"""Per-clip features: one tensor (clips, n, width), or one tensor (n_i, width) per clip."""

_MEDIA = ("image", "video", "audio")


@dataclass
class VideoLLaMA2CausalLMOutput(ModelOutput):
    """Output of the conditional-generation models: shapes as in any causal language model of transformers."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class VideoLLaMA2Model(VideoLLaMA2PreTrainedModel):
    """The towers, connectors and language model without the output head.

    With `config.load_towers=False` neither tower exists: media then come as cached features.
    """

    _keys_to_ignore_on_load_unexpected = {*IGNORED_NAMES, r"^lm_head\."}  # noqa: RUF012

    def __init__(self, config: VideoLLaMA2Config) -> None:
        super().__init__(config)
        if config.load_towers:
            self.vision_tower = AutoModel.from_config(config.vision)
        else:
            self._keys_to_ignore_on_load_unexpected |= {r"(vision|audio)_tower\."}
        self.connector = STCConnector(config)
        if config.audio is not None:
            width = config.text.hidden_size
            if config.load_towers:
                self.audio_tower = BeatsModel(config.audio)
            self.audio_projector = nn.Sequential(
                nn.Linear(config.audio.hidden_size, width), nn.GELU(), nn.Linear(width, width)
            )
        self.language_model = AutoModel.from_config(config.text)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The language model's token embedding."""
        embedding: nn.Module = self.language_model.get_input_embeddings()
        return embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the language model's token embedding."""
        self.language_model.set_input_embeddings(value)

    @torch.no_grad()
    def encode_frames(self, pixel_values: Tensor) -> Tensor:
        """Patch features (n, patches, d) of pictures (n, 3, H, W), from the selected hidden state, without gradient.

        Layers after the selected one are not run; the class token is dropped.

        Raises:
            ValueError: the model was built with load_towers=False.
        """
        self._need_towers("pixel values")
        tower = self.vision_tower
        weight = tower.embeddings.patch_embedding.weight
        hidden = tower.embeddings(pixel_values.to(weight.device, weight.dtype))
        has_class_token = self.config.vision.model_type == "clip_vision_model"
        if has_class_token:
            hidden = tower.pre_layrnorm(hidden)
        layers = tower.encoder.layers
        selected = self.config.mm_vision_select_layer
        for layer in layers[: selected if selected >= 0 else len(layers) + 1 + selected]:
            hidden = layer(hidden, attention_mask=None)
        patches: Tensor = hidden[:, 1:] if has_class_token else hidden
        return patches

    @can_return_tuple
    def get_video_features(
        self, pixel_values_videos: Tensor | None = None, tower_features: Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Features of clips, given frames (clips, T, 3, H, W) or what `encode_frames` made of them (clips, T, N, d).

        Returns `last_hidden_state` (clips, T, N, d), the tower's features, to be cached where the connector is
        trained, and `pooler_output` (clips, n, D), the connector's, to be cached where it is frozen.

        Raises:
            ValueError: not exactly one input; frames without a tower.
        """
        if (pixel_values_videos is None) == (tower_features is None):
            raise ValueError("get_video_features needs exactly one of pixel_values_videos and tower_features")
        if pixel_values_videos is not None:
            clips, frames = pixel_values_videos.shape[:2]
            tower_features = self.encode_frames(pixel_values_videos.flatten(0, 1)).unflatten(0, (clips, frames))
        features: Any = tower_features
        weight = self.connector.sampler.weight
        tokens = self.connector(features.to(weight.device, weight.dtype))
        return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=tokens)

    @can_return_tuple
    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Features of pictures (n, 3, H, W), each repeated `num_frames` times: as `get_video_features`.

        Raises:
            ValueError: the model was built with load_towers=False.
        """
        repeated = self.encode_frames(pixel_values)[:, None].expand(-1, self.config.num_frames, -1, -1)
        output: BaseModelOutputWithPooling = self.get_video_features(tower_features=repeated)
        return output

    @can_return_tuple
    def get_audio_features(
        self,
        input_features: Tensor | None = None,
        input_features_mask: Tensor | None = None,
        tower_features: Sequence[Tensor] | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Features of sounds, given filter banks (n, F, 128) or the tower's output per sound [(L_i, C)].

        `input_features_mask` (n, F), 1 on real frames, trims every sound to its true length; None uses all F
        frames. Returns `last_hidden_state` (list of (L_i, C), the tower's) and `pooler_output` (list of
        (m_i, D), the projector's), where m_i = `audio_tokens_per_clip` or L_i = (frames // 16)·8.

        Raises:
            ValueError: no audio tower; not exactly one input; a sound shorter than one patch (16 frames).
        """
        if self.config.audio is None:
            raise ValueError("this model has no audio tower; use a VideoLLaMA2.1-AV checkpoint for sound")
        if (input_features is None) == (tower_features is None):
            raise ValueError("get_audio_features needs exactly one of input_features and tower_features")
        if input_features is not None:
            tower_features = self._encode_sounds(input_features, input_features_mask)
        features: Any = tower_features
        # Its last bias: never in 4 bits, and that of the trained copy where an adapter wraps the projector.
        *_, weight = (value for name, value in self.audio_projector.named_parameters() if name.endswith("bias"))
        projected: Any = [self._project_sound(one.to(weight.device, weight.dtype)) for one in features]
        return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=projected)

    def _encode_sounds(self, input_features: Tensor, mask: Tensor | None) -> list[Tensor]:
        self._need_towers("input_features")
        if mask is None:
            return list(self.audio_tower(input_features))
        audio = self.config.audio
        if audio is None:
            return []
        lengths = mask.sum(1) // audio.patch_size * audio.patches_per_step
        if int(lengths.min()) == 0:
            raise ValueError(
                f"input_features_mask leaves a sound with fewer than {audio.patch_size} frames; "
                "pad it to one whole patch, as VideoLLaMA2FeatureExtractor does"
            )
        place = torch.arange(input_features.shape[1] // audio.patch_size * audio.patches_per_step)
        token_mask = place.to(lengths.device)[None] < lengths[:, None]
        hidden = self.audio_tower(input_features, None if bool(token_mask.all()) else token_mask)
        return [one[:length] for one, length in zip(hidden, lengths.tolist(), strict=True)]

    def _project_sound(self, features: Tensor) -> Tensor:
        """(L, C) → (m, D); pools after the projector, as the connector is pooled."""
        projected: Tensor = self.audio_projector(features)
        if self.config.audio_tokens_per_clip is None:
            return projected
        return pooling_matrix(projected.shape[0], self.config.audio_tokens_per_clip, projected) @ projected

    def _need_towers(self, what: str) -> None:
        if not self.config.load_towers:
            raise ValueError(
                f"{what} given to a model built with load_towers=False; pass cached features "
                "(video_features, audio_features) or load the model with its towers"
            )

    def media_mask(self, input_ids: Tensor) -> Tensor:
        """True (B, L) where `input_ids` holds a placeholder of any kind."""
        return torch.isin(input_ids, input_ids.new_tensor([self._token_id(kind) for kind in _MEDIA]))

    def _token_id(self, kind: str) -> int:
        token_id: int = getattr(self.config, f"{kind}_token_id")
        return token_id

    def embed(self, input_ids: Tensor, media: dict[str, Features]) -> Tensor:
        """Token embeddings (B, L, D) with the features of `media` at their placeholders, in reading order.

        Raises:
            ValueError: the number of placeholders of a kind differs from the number of its features.
        """
        if not media and input_ids.shape[1] == 1:  # a decoding step: spare it the waits for the device below
            single: Tensor = self.get_input_embeddings()(input_ids)
            return single
        embeds: Tensor = self.get_input_embeddings()(input_ids.masked_fill(self.media_mask(input_ids), 0))
        for kind in _MEDIA:
            given = media.get(kind)
            mask = input_ids == self._token_id(kind)
            found = 0 if given is None else sum(clip.shape[0] for clip in given)
            if found != int(mask.sum()):
                raise ValueError(
                    f"input_ids hold {int(mask.sum())} {kind} placeholders but {found} {kind} features came; "
                    "prepare both with the same processor and token budget, and never cut within media"
                )
            if given is not None:
                flat = torch.cat(list(given)).to(embeds.device, embeds.dtype)
                embeds = embeds.masked_scatter(mask[..., None], flat)
        return embeds

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        input_features: Tensor | None = None,
        input_features_mask: Tensor | None = None,
        image_features: Features | None = None,
        video_features: Features | None = None,
        audio_features: Features | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Hidden states (B, L, D) of token ids (B, L) with media at their placeholders.

        Media come raw (`pixel_values` (n, 3, H, W), `pixel_values_videos` (n, T, 3, H, W), `input_features`
        (n, F, 128) with `input_features_mask`), as language-model features (`*_features`: `pooler_output` of
        the `get_*_features` methods), or in `mm_encoder_outputs`, by kind. All clips of a batch in reading order.

        Raises:
            ValueError: not exactly one of `input_ids` and `inputs_embeds`; media beside `inputs_embeds`; one kind
                of media given twice; counts of placeholders and features differ.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("forward needs exactly one of input_ids and inputs_embeds")
        kwargs.pop("mm_token_type_ids", None)  # processors may add it for vLLM; the language model knows it not
        raw = (pixel_values, pixel_values_videos, input_features)
        ready = (image_features, video_features, audio_features)
        media: dict[str, Any] = {k: v.pooler_output for k, v in (mm_encoder_outputs or {}).items()}
        for kind, pixels, features in zip(_MEDIA, raw, ready, strict=True):
            if sum(one is not None for one in (pixels, features, media.get(kind))) > 1:
                raise ValueError(f"{kind} input came both raw and as features; give one of them")
            if features is not None:
                media[kind] = features
            elif pixels is not None:
                extra = {"input_features_mask": input_features_mask} if kind == "audio" else {}
                media[kind] = getattr(self, f"get_{kind}_features")(pixels, **extra).pooler_output
        if input_ids is not None:
            inputs_embeds = self.embed(input_ids, media)
        elif media:
            raise ValueError("media beside inputs_embeds: pass input_ids, so that placeholders can be found")
        output: BaseModelOutputWithPast = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        return output


class VideoLLaMA2ForConditionalGeneration(VideoLLaMA2PreTrainedModel, MediaGenerationMixin):
    """VideoLLaMA2 with its output head; use the Qwen2 or the Mistral subclass."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: VideoLLaMA2Config) -> None:
        super().__init__(config)
        self.model = VideoLLaMA2Model(config)
        self.lm_head = nn.Linear(config.text.hidden_size, config.text.vocab_size, bias=False)
        self.post_init()

    def get_image_features(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
        """See `VideoLLaMA2Model.get_image_features`."""
        output: BaseModelOutputWithPooling = self.model.get_image_features(*args, **kwargs)
        return output

    def get_video_features(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
        """See `VideoLLaMA2Model.get_video_features`."""
        output: BaseModelOutputWithPooling = self.model.get_video_features(*args, **kwargs)
        return output

    def get_audio_features(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
        """See `VideoLLaMA2Model.get_audio_features`."""
        output: BaseModelOutputWithPooling = self.model.get_audio_features(*args, **kwargs)
        return output

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        input_features: Tensor | None = None,
        input_features_mask: Tensor | None = None,
        image_features: Features | None = None,
        video_features: Features | None = None,
        audio_features: Features | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> VideoLLaMA2CausalLMOutput:
        """Logits (B, L, vocab), and the mean next-token loss where `labels` (B, L) are given.

        Labels at placeholders count as -100. Inputs and raised errors as in `VideoLLaMA2Model.forward`.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            pixel_values=pixel_values,
            pixel_values_videos=pixel_values_videos,
            input_features=input_features,
            input_features_mask=input_features_mask,
            image_features=image_features,
            video_features=video_features,
            audio_features=audio_features,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )
        logits = self.lm_head(slice_logits_to_keep(outputs.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            if input_ids is not None:
                labels = labels.masked_fill(self.model.media_mask(input_ids), -100)
            vocab_size = self.config.text.vocab_size
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=vocab_size, **kwargs)
        return VideoLLaMA2CausalLMOutput(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class VideoLLaMA2Qwen2Model(VideoLLaMA2Model):
    """`VideoLLaMA2Model` of the 2.1 family."""

    config: VideoLLaMA2Qwen2Config


class VideoLLaMA2MistralModel(VideoLLaMA2Model):
    """`VideoLLaMA2Model` of the first family."""

    config: VideoLLaMA2MistralConfig


class VideoLLaMA2Qwen2ForConditionalGeneration(VideoLLaMA2ForConditionalGeneration):
    """VideoLLaMA2.1-7B-16F and VideoLLaMA2.1-7B-AV."""

    config: VideoLLaMA2Qwen2Config


class VideoLLaMA2MistralForConditionalGeneration(VideoLLaMA2ForConditionalGeneration):
    """VideoLLaMA2-7B and VideoLLaMA2-7B-16F."""

    config: VideoLLaMA2MistralConfig
