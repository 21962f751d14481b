"""One processor for conversations with text, pictures, clips, sounds and clips with sound."""

# mypy: allow-untyped-calls

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from transformers import AutoConfig, PreTrainedTokenizerBase
from transformers.processing_utils import (
    AudioKwargs,
    ImagesKwargs,
    MultiModalData,
    OmniModalProcessingKwargs,
    OmniModalProcessorMixin,
    TextKwargs,
    VideosKwargs,
)

from .chat_templates import chat_template_for
from .configuration_videollama2 import VideoLLaMA2Config
from .feature_extraction_videollama2 import AudioMode, AudioPadding, VideoLLaMA2FeatureExtractor
from .media_videollama2 import Window, read_sound
from .token_grid import connector_grid, pooled_grid
from .transformers_internals import without_marked_tokens
from .video_processing_videollama2 import AspectRatio, VideoLLaMA2ImageProcessor, VideoLLaMA2VideoProcessor

MEDIA_TOKENS = {"image": "<image>", "video": "<video>", "audio": "<audio>"}
"""Kind of media → its placeholder token."""

_SUB_PROCESSORS = {
    "image_processor": VideoLLaMA2ImageProcessor,
    "video_processor": VideoLLaMA2VideoProcessor,
    "feature_extractor": VideoLLaMA2FeatureExtractor,
}


class _ImagesKwargs(ImagesKwargs, total=False):
    aspect_ratio: AspectRatio | None


class _VideosKwargs(VideosKwargs, total=False):
    aspect_ratio: AspectRatio | None


class _AudioKwargs(AudioKwargs, total=False):
    audio_mode: AudioMode | None
    audio_padding: AudioPadding | None


class VideoLLaMA2ProcessorKwargs(OmniModalProcessingKwargs, total=False):
    """Options a call may override, beside those of transformers: `aspect_ratio`, `audio_mode`, `audio_padding`."""

    images_kwargs: _ImagesKwargs  # type: ignore[misc]
    videos_kwargs: _VideosKwargs  # type: ignore[misc]
    audio_kwargs: _AudioKwargs  # type: ignore[misc]


class VideoLLaMA2Processor(OmniModalProcessorMixin):
    """Builds model inputs from text or conversations; construct it with `from_config` or `from_pretrained`.

    The tokenizer gains the special tokens <image>, <video> and <audio>, and a padding token if it has none.

    Args:
        image_processor: for pictures.
        video_processor: for clips.
        feature_extractor: for sounds.
        tokenizer: any fast tokenizer.
        chat_template: Jinja template; None takes ours (ChatML, or Mistral's form for tokenizers without ChatML).
        grid_side: patches per side of a frame, as the vision tower sees it.
        connector_padding: padding of the connector's sampler.
        image_frames: how often the model repeats a picture.
        tokens_per_clip: the model's token budget for a clip, or None.
        audio_tokens_per_clip: the model's token budget for a sound, or None.
        hears: whether the model has an audio tower.

    Raises:
        TypeError: a part is of another class than named.
        ValueError: `tokens_per_clip` cannot be pooled from the connector's grid.
    """

    valid_processor_kwargs: Any = VideoLLaMA2ProcessorKwargs
    text_kwargs = TextKwargs(padding_side="left")

    def __init__(
        self,
        image_processor: VideoLLaMA2ImageProcessor,
        video_processor: VideoLLaMA2VideoProcessor,
        feature_extractor: VideoLLaMA2FeatureExtractor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        grid_side: int = 27,
        connector_padding: int = 0,
        image_frames: int = 16,
        tokens_per_clip: int | None = None,
        audio_tokens_per_clip: int | None = None,
        hears: bool = False,
    ) -> None:
        known = tokenizer.get_added_vocab()
        missing = [token for token in MEDIA_TOKENS.values() if token not in known]
        tokenizer.add_tokens([AddedToken(token, normalized=False) for token in missing], special_tokens=True)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
        for kind, token in MEDIA_TOKENS.items():
            setattr(self, f"{kind}_token", token)
            setattr(self, f"{kind}_token_id", tokenizer.convert_tokens_to_ids(token))
        self.grid_side = grid_side
        self.connector_padding = connector_padding
        self.image_frames = image_frames
        self.tokens_per_clip = tokens_per_clip
        self.audio_tokens_per_clip = audio_tokens_per_clip
        self.hears = hears
        super().__init__(
            image_processor,
            video_processor,
            feature_extractor,
            tokenizer,
            chat_template=chat_template or chat_template_for(tokenizer),
        )
        self.num_video_tokens(image_frames)

    @classmethod
    def from_config(
        cls, config: VideoLLaMA2Config, tokenizer: PreTrainedTokenizerBase, **overrides: Any
    ) -> "VideoLLaMA2Processor":
        """The processor of a model, from its configuration and a tokenizer alone.

        With an audio token budget, sounds keep their true length; without, they are filled to 30 s as in the
        original. `overrides` go to the constructor.

        Raises:
            ValueError: as the constructor.
        """
        tower = "clip" if config.vision.model_type == "clip_vision_model" else "siglip"
        frames: dict[str, Any] = {
            "tower": tower,
            "image_size": config.vision.image_size,
            "aspect_ratio": config.image_aspect_ratio,
        }
        sounds: dict[str, Any] = {} if config.audio is None else {"patch_size": config.audio.patch_size}
        sounds["audio_padding"] = "max_length" if config.audio_tokens_per_clip is None else "longest"
        parts: dict[str, Any] = {
            "image_processor": VideoLLaMA2ImageProcessor(**frames),
            "video_processor": VideoLLaMA2VideoProcessor(num_frames=config.num_frames, **frames),
            "feature_extractor": VideoLLaMA2FeatureExtractor(**sounds),
            "grid_side": config.vision.image_size // config.vision.patch_size,
            "connector_padding": config.connector_padding,
            "image_frames": config.num_frames,
            "tokens_per_clip": config.tokens_per_clip,
            "audio_tokens_per_clip": config.audio_tokens_per_clip,
            "hears": config.audio is not None,
        }
        return cls(tokenizer=tokenizer, **{**parts, **overrides})

    def align(self, config: VideoLLaMA2Config) -> None:
        """Write the tokenizer's placeholder ids into a model's `config`, as a saved model carries them."""
        for kind in MEDIA_TOKENS:
            setattr(config, f"{kind}_token_id", getattr(self, f"{kind}_token_id"))

    def num_video_tokens(self, num_frames: int) -> int:
        """Placeholder tokens of a clip of `num_frames` frames; the same as the model's configuration says.

        Raises:
            ValueError: too few frames for the connector, or for the token budget.
        """
        grid = connector_grid(num_frames, self.grid_side, self.connector_padding)
        time, height, width = pooled_grid(grid, self.tokens_per_clip)
        return time * height * width

    def num_audio_tokens(self, num_frames: int) -> int:
        """Placeholder tokens of a sound of `num_frames` filter-bank frames.

        Raises:
            ValueError: the model has no audio tower.
        """
        if not self.hears:
            raise ValueError("this model has no audio tower; use a VideoLLaMA2.1-AV checkpoint for sound")
        if self.audio_tokens_per_clip is not None:
            return self.audio_tokens_per_clip
        patch: int = self.feature_extractor.patch_size
        per_step: int = self.feature_extractor.num_mel_bins // patch
        return num_frames // patch * per_step

    def replace_image_token(self, image_inputs: Mapping[str, Any], image_idx: int, **kwargs: Any) -> str:
        """The placeholders of one picture."""
        return MEDIA_TOKENS["image"] * self.num_video_tokens(self.image_frames)

    def replace_video_token(
        self,
        video_inputs: Mapping[str, Any],
        video_idx: int,
        audio: Any = None,
        processed_audio: Mapping[str, Any] | None = None,
        video_to_audio_indices: Sequence[int | None] | None = None,
        **kwargs: Any,
    ) -> str:
        """The placeholders of one clip, followed by those of its sound where it has one."""
        text = MEDIA_TOKENS["video"] * self.num_video_tokens(len(video_inputs["pixel_values_videos"][video_idx]))
        sound = None if video_to_audio_indices is None else video_to_audio_indices[video_idx]
        if sound is None or not processed_audio:
            return text
        return text + self.replace_audio_token(processed_audio, sound)

    def replace_audio_token(self, audio_inputs: Mapping[str, Any], audio_idx: int, **kwargs: Any) -> str:
        """The placeholders of one sound."""
        frames = int(audio_inputs["input_features_mask"][audio_idx].sum())
        return MEDIA_TOKENS["audio"] * self.num_audio_tokens(frames)

    def validate_inputs(
        self, images: Any = None, text: Any = None, videos: Any = None, audio: Any = None, **kwargs: Any
    ) -> None:
        """As transformers, not counting control tokens that user text merely mentions.

        Raises:
            ValueError: placeholders and media differ in number.
        """
        if isinstance(text, list):
            text = [without_marked_tokens(sample) for sample in text]
        super().validate_inputs(images=images, text=text, videos=videos, audio=audio, **kwargs)

    def apply_chat_template(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        """Model inputs (`tokenize=True, return_dict=True`) or the text of one conversation or a list of them.

        Content parts: {"type": "text", "text"}, {"type": "image", "image"}, {"type": "video", "video"} and
        {"type": "audio", "audio"}, each a path or decoded array; clips and their sound may be cut with
        "start_s" and "end_s". `load_audio_from_video=True` adds the track of every clip that has one; a clip
        may bring its own samples as "sound". Control tokens in the text of messages are always read as text.
        `return_assistant_tokens_mask=True` adds `assistant_masks`, 1 on answers and their end tokens.

        Raises:
            ValueError: media cannot be read; with masks, a message text that holds a control token.
        """
        if kwargs.get("return_assistant_tokens_mask"):
            self._refuse_control_tokens(conversation)
        elif kwargs.get("tokenize"):
            kwargs.setdefault("sanitize_control_tokens", True)
        return super().apply_chat_template(conversation, *args, **kwargs)

    def _refuse_control_tokens(self, conversation: Any) -> None:
        """Masks need character offsets, which transformers' own sanitising cannot give: refuse instead."""
        control = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        batched = bool(conversation) and isinstance(conversation[0], (list, tuple))
        for messages in conversation if batched else [conversation]:
            for index, message in enumerate(messages):
                found = [token for token in control if any(token in text for text in _texts(message))]
                if found:
                    raise ValueError(
                        f"message {index} holds the control token {found[0]!r} in its text; remove it, "
                        "or tokenize without return_assistant_tokens_mask"
                    )

    def _multimodal_inputs_from_conversations(
        self, conversations: Any, audio_loading_params: Mapping[str, Any], load_audio_from_video: bool = False
    ) -> tuple[list[list[Any]], list[list[Any]], list[Any], dict[str, Any]]:
        """Media of `conversations`, decoded with PyAV: pictures and clips per conversation, sounds in one list."""
        images: list[list[Any]] = []
        videos: list[list[Any]] = []
        sounds: list[Any] = []
        source: list[int | None] = []
        for messages in conversations:
            images.append([])
            videos.append([])
            for part in _parts(messages):
                kind = part["type"]
                if kind == "image":
                    images[-1].append(_payload(part))
                elif kind == "audio":
                    sounds.append(self._cut(self._samples(_payload(part)), _window(part)))
                    source.append(None)
                elif kind == "video":
                    track = self._track(part, from_file=load_audio_from_video)
                    if track is not None:
                        sounds.append(track)
                        source.append(sum(map(len, videos)))
                    videos[-1].append(self.video_processor.load(_payload(part), _window(part)))
        with_track = any(index is not None for index in source)
        extra = {"load_audio_from_video": True, "audio_from_video_indices": source} if with_track else {}
        return images, videos, sounds, extra

    def _track(self, part: Mapping[str, Any], *, from_file: bool) -> Any:
        """Samples of a clip's sound inside its window: its own, or its file's; None where the file is silent there."""
        given = part.get("sound")
        if given is not None:
            return self._cut(self._samples(given), _window(part))
        if not from_file or not isinstance(_payload(part), str) or Path(_payload(part)).is_dir():
            return None
        track = read_sound(_payload(part), self.feature_extractor.sampling_rate, mix=True)
        heard = None if track is None else self._cut(track, _window(part))
        return heard if heard is not None and len(heard) else None

    def _samples(self, sound: Any) -> Any:
        return self.feature_extractor.load(sound) if isinstance(sound, str) else sound

    def _cut(self, samples: Any, window: Window) -> Any:
        """The samples inside `window`."""
        if window == Window():
            return samples
        ordered, rate = window.ordered(), self.feature_extractor.sampling_rate
        end = None if ordered.end_s is None else int(ordered.end_s * rate)
        return samples[int((ordered.start_s or 0.0) * rate) : end]

    def _get_num_multimodal_tokens(
        self,
        image_sizes: Sequence[Sequence[int]] | None = None,
        video_sizes: Sequence[Sequence[int]] | None = None,
        audio_lengths: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> MultiModalData:
        """Token counts from sizes alone, as vLLM asks: clips as (frames, height, width), sounds in samples."""
        per_image = self.num_video_tokens(self.image_frames)
        sounds = [self.feature_extractor.num_frames(length) for length in audio_lengths or ()]
        return MultiModalData(
            num_image_tokens=[per_image] * len(image_sizes or ()),
            num_image_patches=[1] * len(image_sizes or ()),
            num_video_tokens=[self.num_video_tokens(size[0]) for size in video_sizes or ()],
            num_audio_tokens=[self.num_audio_tokens(frames) for frames in sounds],
        )

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> type:
        """The class a part must have; ours need no torchvision, unlike transformers' own.

        Raises:
            TypeError: `argument` is of another class.
        """
        proper: type = _SUB_PROCESSORS.get(argument_name, PreTrainedTokenizerBase)
        if not isinstance(argument, proper):
            raise TypeError(f"{argument_name} is a {type(argument).__name__}; give a {proper.__name__}")
        return proper

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: Any, processor_dict: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        """The four parts: from a saved processor_config.json, else from the model's config.json."""
        saved = processor_dict if processor_dict is not None else {}
        tokenizer = cls._load_tokenizer_from_pretrained("tokenizer", pretrained_model_name_or_path, **kwargs)
        if all(isinstance(saved.get(name), dict) for name in _SUB_PROCESSORS):
            return [*(part(**saved[name]) for name, part in _SUB_PROCESSORS.items()), tokenizer]
        config = AutoConfig.from_pretrained(pretrained_model_name_or_path, **kwargs)
        built = cls.from_config(config, tokenizer)
        saved.update({key: value for key, value in built.to_dict().items() if key not in _SUB_PROCESSORS})
        saved.setdefault("chat_template", built.chat_template)
        return [getattr(built, name) for name in _SUB_PROCESSORS] + [tokenizer]


def _parts(messages: Any) -> list[Mapping[str, Any]]:
    """Content parts of all messages, in order; plain-string content has none."""
    return [
        part
        for message in messages
        for part in message.get("content") or []
        if not isinstance(message.get("content"), str)
    ]


def _texts(message: Mapping[str, Any]) -> list[str]:
    content = message.get("content") or []
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content if part["type"] == "text"]


def _payload(part: Mapping[str, Any]) -> Any:
    """What a media part holds: a path, or something decoded.

    Raises:
        ValueError: the part names its kind but holds nothing.
    """
    for key in (part["type"], "path", "url"):
        if part.get(key) is not None:
            return part[key]
    raise ValueError(f"a content part of type {part['type']!r} holds no {part['type']!r} (path or array)")


def _window(part: Mapping[str, Any]) -> Window:
    return Window(part.get("start_s"), part.get("end_s"))
