"""Tuned models on this machine: loaded offline from a folder, shown clips, asked for text or for label weights."""

# mypy: allow-untyped-calls

from __future__ import annotations

import copy
import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from ai_therapist.errors import InvalidRecord, MissingInput, UnreadableMedia
from ai_therapist.media.frames import load_sound
from ai_therapist.models.clip_input import read_clip
from ai_therapist.models.protocol import Likelihood
from ai_therapist.models.trunks import Trunks
from ai_therapist.models.tuned_folder import BASE, MERGED, TunedFolder
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import AudioPart, ImagePart, Message, TextPart, VideoPart
from ai_therapist.videollama2 import VideoLLaMA2Processor, VideoLLaMA2Qwen2ForConditionalGeneration

_TURN_END = "<|im_end|>"
_SMALL_PARAMETERS = 50_000_000
_TRUNK_BYTES = 1 << 30
"""Keys and values of conversations that are kept in memory."""
_CLIPS = 64
"""Clips whose features are kept in memory."""
_TAG = re.compile("<(?:image|video|audio)>")

_PICTURES = ("PNG", "JPEG", "WEBP")
"""Formats of pictures that are opened; others only widen what a hostile file can reach."""


class _Read(NamedTuple):
    """The model after a prompt: the logits of what comes next (vocabulary,) and the keys and values of all before."""

    logits: Tensor
    cache: Any

    def fork(self) -> _Read:
        """A copy that can be continued while this one stays as it is."""
        return _Read(self.logits, _fork(self.cache))


class _Seen(NamedTuple):
    """A clip, sound or picture as the language model takes it in."""

    tags: str
    """Its placeholders, one per feature."""
    features: dict[str, Any]
    """Features by the name of the model's argument."""


class TunedModel:
    """A VideoLLaMA2 model of ours: a TextGenerator and a LabelScorer. Not safe for several threads at once."""

    def __init__(
        self, name: str, model: VideoLLaMA2Qwen2ForConditionalGeneration, processor: VideoLLaMA2Processor
    ) -> None:
        self._name = name
        self._model = model.eval()
        self._processor = processor
        self._tokenizer: Any = processor.tokenizer
        self._end: int = self._tokenizer.convert_tokens_to_ids(_TURN_END)
        self._control = [i for i in self._tokenizer.all_special_ids if i != self._end]
        self._placeholders = {
            self._tokenizer.convert_tokens_to_ids(f"<{kind}>"): f"<{kind}>" for kind in ("image", "video", "audio")
        }
        self._last: tuple[object, _Read] | None = None
        self._trunks: Trunks[Any] = Trunks(_TRUNK_BYTES)
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    @property
    def name(self) -> str:
        """Name and revision, as provenance records it."""
        return self._name

    @property
    def accepts(self) -> frozenset[Modality]:
        """Text, video and audio; audio only where the model has an audio tower."""
        hears = {Modality.AUDIO} if self._model.config.audio is not None else set[Modality]()
        return frozenset({Modality.TEXT, Modality.VIDEO} | hears)

    @torch.inference_mode()
    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        """Pieces of the answer as they come, greedy, until its end token or `max_tokens` tokens.

        Spaces at the end of `prefix` belong to the next token, as in training, and are not repeated. Raises
        UnreadableMedia for a clip that cannot be decoded and ValueError for a message that shows too much.
        """
        with self.few_threads():
            yield from self._written(messages, max_tokens, prefix)

    @torch.inference_mode()
    def score(self, messages: Sequence[Message], labels: Sequence[str], *, prefix: str = "") -> dict[str, float]:
        """Probability of each label as what comes after `prefix`, normalised over the labels.

        A label's weight is the product of its tokens' probabilities, not divided by its length: that is how likely
        the model is to write it. All labels continue one prompt that is read once. Raises ValueError where there are
        no labels or one begins another, since the longer one could never win.
        """
        if not labels:
            raise ValueError("there are no labels to weigh")
        for label in labels:
            if any(other.startswith(label) for other in labels if other != label):
                raise ValueError(f"label {label!r} begins another label")
        rows = [self._ids(prefix + label) for label in labels]
        shared = _common_length(rows)
        with self.few_threads():
            read = self._continued(self._prompt(messages).fork(), rows[0][:shared])
            return dict(zip(labels, self._weights(read, [row[shared:] for row in rows]), strict=True))

    @torch.inference_mode()
    def likelihood(self, messages: Sequence[Message], text: str, *, prefix: str = "") -> Likelihood:
        """Likelihood of the answer that goes on after `prefix` with `text` and then ends, token by token."""
        ids = self._ids(prefix + text)
        fixed = self._ids(prefix.rstrip(" "))
        shared = next((at for at, pair in enumerate(zip(ids, fixed, strict=False)) if pair[0] != pair[1]), len(fixed))
        shared = min(shared, len(ids))
        read = self._continued(self._prompt(messages).fork(), ids[:shared])
        wanted = torch.tensor([[*ids[shared:], self._end]])
        logits = read.logits[None, None]
        if wanted.shape[1] > 1:
            later = self._model(input_ids=wanted[:, :-1], past_key_values=read.cache, use_cache=True).logits
            logits = torch.cat([logits, later], dim=1)
        nats = -logits.log_softmax(-1).gather(-1, wanted[..., None]).double().sum()
        return Likelihood(float(nats), wanted.shape[1])

    @contextmanager
    def few_threads(self) -> Iterator[None]:
        """One thread as long as a small model is asked: threads that wait for each other cost it several times more."""
        before = torch.get_num_threads()
        if sum(each.numel() for each in self._model.parameters()) < _SMALL_PARAMETERS:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _written(self, messages: Sequence[Message], max_tokens: int, prefix: str) -> Iterator[str]:
        fixed = prefix.rstrip(" ")
        withheld = prefix[len(fixed) :]
        read = self._continued(self._prompt(messages).fork(), self._ids(fixed))
        written: list[int] = []
        sent = 0
        for _ in range(max_tokens):
            logits = read.logits.clone()
            logits[self._control] = -torch.inf
            token = int(logits.argmax())
            if token == self._end:
                break
            written.append(token)
            text = self._tokenizer.decode(written)
            start = len(withheld) if text.startswith(withheld) else 0
            # A character of several bytes shows as U+FFFD until its last token is there.
            if not text.endswith("\ufffd") and len(text) > max(sent, start):
                yield text[max(sent, start) :]
                sent = len(text)
            read = self._continued(read, [token])

    def _weights(self, read: _Read, rows: Sequence[Sequence[int]]) -> list[float]:
        """Softmax over the summed log-likelihoods of the rows as continuations of what was read."""
        longest = max(len(row) for row in rows)
        padded = torch.tensor([[*row, *[self._end] * (longest - len(row))] for row in rows])
        real = torch.tensor([[place < len(row) for place in range(longest)] for row in rows])
        first = read.logits.expand(len(rows), 1, -1)
        if longest > 1:
            read.cache.batch_repeat_interleave(len(rows))
            later = self._model(input_ids=padded[:, :-1], past_key_values=read.cache, use_cache=True).logits
            logits = torch.cat([first, later], dim=1)
        else:
            logits = first
        likelihoods = logits.log_softmax(-1).gather(-1, padded[..., None])[..., 0]
        weights: list[float] = (likelihoods * real).sum(1).double().softmax(0).tolist()
        return weights

    def _prompt(self, messages: Sequence[Message]) -> _Read:
        """The model after the messages; kept until other messages come, as labels and reply ask for the same ones."""
        key = (tuple(messages), tuple(_file_stamp(part.path) for part in _media(messages)))
        if self._last is None or self._last[0] != key:
            self._last = (key, self._read_messages(messages))
        return self._last[1]

    def _read_messages(self, messages: Sequence[Message]) -> _Read:
        for message in messages:
            if not message.modalities <= self.accepts:
                raise ValueError(f"{self.name} accepts {sorted(self.accepts)}, a message shows more")
        if any(token in message.text for message in messages for token in self._tokenizer.all_special_tokens):
            return self._read_anew(messages)
        seen = [self._look_at(part) for part in _media(messages)]
        ids = self._prompt_ids(messages, seen)
        trunk = [] if len(messages) < 2 or _media(messages[:-1]) else self._prompt_ids(messages[:-1], [], answer=False)
        if not trunk or ids[: len(trunk)] != trunk:
            return self._run(ids, None, seen)
        return self._run(ids[len(trunk) :], self._trunk(trunk), seen)

    def _read_anew(self, messages: Sequence[Message]) -> _Read:
        """The slow way, for words that look like control tokens and must not become them."""
        inputs = self._processor.apply_chat_template(
            [_as_chat(message, self._model.config.num_frames) for message in messages],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        output = self._model(**inputs, use_cache=True, logits_to_keep=1)
        return _Read(output.logits[0, -1], output.past_key_values)

    def _trunk(self, ids: list[int]) -> Any:
        """Keys and values of a trunk: those of its longest beginning that was read before, and of the rest of it."""
        shared = self._trunks.longest(ids)
        cache, start = None, 0
        if shared is not None and (shared.tokens == shared.of or not _slides(shared.state)):
            cache, start = _fork(shared.state), shared.tokens
            if start < shared.of:
                cache.crop(start - shared.of)
        if start < len(ids):
            cache = self._run(ids[start:], cache, []).cache
            size = sum(each.numel() * each.element_size() for one in cache.layers for each in (one.keys, one.values))
            self._trunks.keep(ids, _fork(cache), size)
        return cache

    def _run(self, ids: Sequence[int], cache: Any, seen: Sequence[_Seen]) -> _Read:
        """The model after `ids`, with the features of what is seen at their placeholders."""
        features: dict[str, list[Tensor]] = {}
        for one in seen:
            for name, values in one.features.items():
                features.setdefault(name, []).extend(values)
        output = self._model(
            input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=True, logits_to_keep=1, **features
        )
        return _Read(output.logits[0, -1], output.past_key_values)

    def _prompt_ids(self, messages: Sequence[Message], seen: Sequence[_Seen], *, answer: bool = True) -> list[int]:
        """Tokens of the messages, each clip as its placeholders: as the processor makes them, without decoding."""
        chat = [_as_tagged_chat(message) for message in messages]
        text: str = self._processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=answer)
        left = iter(seen)
        text = _TAG.sub(lambda _: next(left).tags, text)
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _look_at(self, part: ImagePart | VideoPart | AudioPart) -> _Seen:
        """What the towers make of a clip; kept by its content, so that it is decoded once."""
        key = f"{part.kind} {_sha256(Path(part.path))} {isinstance(part, VideoPart) and part.sound}"
        known = self._seen.get(key)
        if known is not None:
            self._seen.move_to_end(key)
            return known
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": [_chat_part(part, self._model.config.num_frames)]}],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        made = _Seen(
            "".join(
                self._placeholders[token] for token in inputs["input_ids"][0].tolist() if token in self._placeholders
            ),
            self._features(inputs),
        )
        self._seen[key] = made
        while len(self._seen) > _CLIPS:
            self._seen.popitem(last=False)
        return made

    def _features(self, inputs: Any) -> dict[str, Any]:
        model, found = self._model.model, {}
        if "pixel_values" in inputs:
            found["image_features"] = list(model.get_image_features(inputs["pixel_values"]).pooler_output)
        if "pixel_values_videos" in inputs:
            found["video_features"] = list(model.get_video_features(inputs["pixel_values_videos"]).pooler_output)
        if "input_features" in inputs:
            heard = model.get_audio_features(inputs["input_features"], inputs.get("input_features_mask"))
            found["audio_features"] = list(heard.pooler_output)
        return found

    def _continued(self, read: _Read, ids: Sequence[int]) -> _Read:
        """The model after `ids` have followed; what was read before is used up."""
        if not ids:
            return read
        output = self._model(
            input_ids=torch.tensor([ids]), past_key_values=read.cache, use_cache=True, logits_to_keep=1
        )
        return _Read(output.logits[0, -1], output.past_key_values)

    def _ids(self, text: str) -> list[int]:
        """Tokens of a piece of the answer; control tokens in it are read as the words they look like."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids


def open_tuned(folder: Path, *, untuned: bool = False) -> TunedModel:
    """The tuned model in `folder`, as fine-tuning left it, or the base it began with; nothing is downloaded.

    Raises MissingInput where the folder holds none, InvalidRecord where its description is spoiled.
    """
    about = folder / TunedFolder.FILE
    if not about.is_file() or not (folder / MERGED).is_dir():
        raise MissingInput(f"{folder} holds no tuned model: make one with  ai-therapist finetune")
    try:
        name = TunedFolder.model_validate_json(about.read_bytes()).name
    except ValidationError:
        raise InvalidRecord(f"{about}: not the description of a tuned model") from None
    model = load_videollama2(folder / (BASE if untuned else MERGED))
    return TunedModel(
        f"base of {name}" if untuned else name, model, VideoLLaMA2Processor.from_pretrained(folder / MERGED)
    )


def load_videollama2(folder: Path, *, towers: bool = True) -> VideoLLaMA2Qwen2ForConditionalGeneration:
    """The model in a folder that `save_pretrained` wrote, in fp32, without its towers if they are not needed."""
    silence_progress_bars()
    model: VideoLLaMA2Qwen2ForConditionalGeneration = VideoLLaMA2Qwen2ForConditionalGeneration.from_pretrained(
        folder, load_towers=towers, dtype=torch.float32
    )
    model.eval()
    return model


def silence_progress_bars() -> None:
    """Keep transformers' bars for loading and saving weights off the terminal, in the whole process."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def _as_tagged_chat(message: Message) -> dict[str, Any]:
    """As `_as_chat`, with a tag in place of each file, which is not opened."""
    parts = [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": part.kind}
        for part in message.parts
    ]
    return {"role": message.role, "content": parts}


def _fork(cache: Any) -> Any:
    """A copy of keys and values without copying them: a cache that goes on makes new tensors and leaves these alone."""
    forked = copy.copy(cache)
    forked.layers = [copy.copy(layer) for layer in cache.layers]
    return forked


def _slides(cache: Any) -> bool:
    """Whether a layer has dropped what it read first, so that it cannot be cut."""
    return any(layer.is_sliding for layer in cache.layers)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}") from None


def _as_chat(message: Message, num_frames: int) -> dict[str, Any]:
    return {"role": message.role, "content": [_chat_part(part, num_frames) for part in message.parts]}


def _chat_part(part: TextPart | ImagePart | VideoPart | AudioPart, num_frames: int) -> dict[str, Any]:
    """A part with its file decoded. Raises UnreadableMedia where it cannot be."""
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ImagePart():
            return {"type": "image", "image": _read_picture(Path(part.path))}
        case AudioPart():
            return {"type": "audio", "audio": load_sound(Path(part.path))}
        case VideoPart():
            clip = read_clip(Path(part.path), num_frames)
            return {"type": "video", "video": clip.frames, "sound": clip.sound if part.sound else None}


def _read_picture(path: Path) -> Image.Image:
    try:
        with Image.open(path, formats=_PICTURES) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableMedia(f"{path}: not a readable picture ({type(error).__name__})") from None


def _media(messages: Sequence[Message]) -> list[ImagePart | VideoPart | AudioPart]:
    return [part for message in messages for part in message.parts if not isinstance(part, TextPart)]


def _file_stamp(path: str) -> tuple[int, int]:
    """What tells a file from another that later takes its name."""
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}") from None
    return stat.st_size, stat.st_mtime_ns


def _common_length(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with; at least one token of each row is left."""
    length = min(len(row) for row in rows) - 1
    return next((place for place in range(length) if len({row[place] for row in rows}) > 1), length)
