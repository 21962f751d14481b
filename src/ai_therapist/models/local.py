"""Tuned models on this machine: loaded offline from a folder, shown clips, asked for text or for label weights."""

# mypy: allow-untyped-calls

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor
from transformers import AutoTokenizer

from ai_therapist.errors import InvalidRecord, MissingInput
from ai_therapist.models.base import open_base, put_adapter
from ai_therapist.models.chat_text import ChatText
from ai_therapist.models.protocol import GREEDY, Likelihood, Sampling, Tally
from ai_therapist.models.sampling import Chooser
from ai_therapist.models.towers import Seen, Towers, as_chat, file_stamp, media_of
from ai_therapist.models.trunks import Trunks
from ai_therapist.models.tuned_folder import ADAPTER, BASE, MERGED, PROCESSOR, TunedFolder
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import Message
from ai_therapist.videollama2 import VideoLLaMA2Processor

_SMALL_PARAMETERS = 50_000_000
_TRUNK_BYTES = 1 << 30
"""Keys and values of conversations that are kept in memory."""
_TAG = re.compile("<(?:image|video|audio)>")


class _Read(NamedTuple):
    """The model after a prompt: the logits of what comes next (vocabulary,) and the keys and values of all before."""

    logits: Tensor
    cache: Any

    def fork(self) -> _Read:
        """A copy that can be continued while this one stays as it is."""
        return _Read(self.logits, _fork(self.cache))


class TunedModel:
    """A model on this machine: a SamplingGenerator, LabelScorer and LikelihoodReader. Not safe for several threads."""

    def __init__(self, name: str, model: Any, processor: Any) -> None:
        """`model` is a VideoLLaMA2 with its processor, or any causal language model with its tokenizer.

        Raises ConfigError for a tokenizer whose chat template does not write every message by itself.
        """
        self._name = name
        self._model = model.eval()
        self._device = model.device
        self._processor = processor
        self._sees = isinstance(processor, VideoLLaMA2Processor)
        self._tokenizer: Any = processor.tokenizer if self._sees else processor
        self._chat = ChatText(self._tokenizer)
        self._end = self._chat.end
        self._control = [i for i in self._tokenizer.all_special_ids if i != self._end]
        self._last: tuple[object, _Read] | None = None
        self._trunks: Trunks[Any] = Trunks(_TRUNK_BYTES)
        self._towers = Towers(model, processor) if self._sees else None

    @property
    def name(self) -> str:
        """Name and revision, as provenance records it."""
        return self._name

    @property
    def accepts(self) -> frozenset[Modality]:
        """Text, video and audio; audio only where the model has an audio tower, text alone where it has none."""
        if not self._sees:
            return frozenset({Modality.TEXT})
        hears = {Modality.AUDIO} if self._model.config.audio is not None else set[Modality]()
        return frozenset({Modality.TEXT, Modality.VIDEO} | hears)

    @torch.inference_mode()
    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        """Pieces of the answer as they come, greedy, until its end token or `max_tokens` tokens.

        Spaces at the end of `prefix` belong to the next token, as in training, and are not repeated. Raises
        UnreadableMedia for a clip that cannot be decoded and ValueError for a message that shows too much.
        """
        yield from self.sample(messages, max_tokens=max_tokens, prefix=prefix, sampling=GREEDY, tally=Tally())

    @torch.inference_mode()
    def sample(
        self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "", sampling: Sampling, tally: Tally
    ) -> Iterator[str]:
        """What `generate` gives, with words chosen by `sampling`; `tally` is counted up. Raises as `generate`."""
        with self.few_threads():
            yield from self._written(messages, max_tokens, prefix, Chooser(sampling), tally)

    @torch.inference_mode()
    def read_ahead(self, messages: Sequence[Message]) -> None:
        """Read what a later prompt will begin with, words only; asked for it, the model need not read it again."""
        if any(media_of([message]) for message in messages) or self._has_control(messages):
            return
        ids = self._prompt_ids(messages, [], answer=False)
        with self.few_threads():
            shared = self._trunks.longest(ids)
            if shared is None or shared.tokens < len(ids):
                self._grown(ids, len(ids), [])

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
        wanted = self._row([*ids[shared:], self._end])
        logits = read.logits[None, None]
        if wanted.shape[1] > 1:
            later = self._model(input_ids=wanted[:, :-1], past_key_values=read.cache, use_cache=True).logits
            logits = torch.cat([logits, later], dim=1)
        nats = -logits.log_softmax(-1).gather(-1, wanted[..., None]).double().sum()
        return Likelihood(float(nats), wanted.shape[1])

    def tokens_of(self, messages: Sequence[Message], text: str) -> tuple[list[int], list[int]]:
        """Tokens of messages of words alone, and of the answer `text` with its end, as `likelihood` reads them."""
        return self._prompt_ids(messages, []), [*self._ids(text), self._end]

    @torch.inference_mode()
    def embed(self, messages: Sequence[Message], *, prefix: str = "") -> Tensor:
        """The prompt as the language model takes it in, clips and beginning of the answer included: (tokens, width).

        Raises ValueError for words that spell a control token, and as `generate` does.
        """
        if self._has_control(messages):
            raise ValueError("the words spell a control token of the tokenizer")
        self._refuse_more_than_accepted(messages)
        seen = self._look_at(messages)
        row = self._row([*self._prompt_ids(messages, seen), *self._ids(prefix.rstrip(" "))])
        if not self._sees:
            embedded: Tensor = self._model.get_input_embeddings()(row)
            return embedded[0]
        kinds = {name.removesuffix("_features") for one in seen for name in one.features}
        media = {
            kind: [each for one in seen for each in one.features.get(f"{kind}_features", ())] for kind in sorted(kinds)
        }
        spliced: Tensor = self._model.model.embed(row, media)
        return spliced[0]

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

    def _written(
        self, messages: Sequence[Message], max_tokens: int, prefix: str, choose: Chooser, tally: Tally
    ) -> Iterator[str]:
        fixed = prefix.rstrip(" ")
        withheld = prefix[len(fixed) :]
        read = self._continued(self._prompt(messages).fork(), self._ids(fixed))
        tally.read, tally.written = int(read.cache.get_seq_length()), 0
        written: list[int] = []
        sent = 0
        for place in range(max_tokens):
            # Only here, so that nothing is read after the last token that is wanted.
            read = self._continued(read, written[-1:]) if place else read
            logits = read.logits.clone()
            logits[self._control] = -torch.inf
            token = choose(logits)
            if token == self._end:
                return
            written.append(token)
            tally.written = len(written)
            text = self._tokenizer.decode(written)
            start = len(withheld) if text.startswith(withheld) else 0
            # A character of several bytes shows as U+FFFD until its last token is there.
            if not text.endswith("\ufffd") and len(text) > max(sent, start):
                yield text[max(sent, start) :]
                sent = len(text)
        tally.at_limit = True

    def _weights(self, read: _Read, rows: Sequence[Sequence[int]]) -> list[float]:
        """Softmax over the summed log-likelihoods of the rows as continuations of what was read."""
        longest = max(len(row) for row in rows)
        padded = torch.cat([self._row([*row, *[self._end] * (longest - len(row))]) for row in rows])
        real = torch.tensor([[place < len(row) for place in range(longest)] for row in rows], device=self._device)
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
        key = (tuple(messages), tuple(file_stamp(part.path) for part in media_of(messages)))
        if self._last is None or self._last[0] != key:
            self._last = (key, self._read_messages(messages))
        return self._last[1]

    def _read_messages(self, messages: Sequence[Message]) -> _Read:
        self._refuse_more_than_accepted(messages)
        if self._has_control(messages):
            return self._read_anew(messages)
        seen = self._look_at(messages)
        ids = self._prompt_ids(messages, seen)
        trunk = (
            [] if len(messages) < 2 or media_of(messages[:-1]) else self._prompt_ids(messages[:-1], [], answer=False)
        )
        if ids[: len(trunk)] != trunk:
            trunk = []
        return self._grown(ids, len(trunk), seen)

    def _refuse_more_than_accepted(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if not message.modalities <= self.accepts:
                raise ValueError(f"{self.name} accepts {sorted(self.accepts)}, a message shows more")

    def _has_control(self, messages: Sequence[Message]) -> bool:
        """Whether the words spell a control token, which the tokenizer would take for one."""
        return any(token in message.text for message in messages for token in self._tokenizer.all_special_tokens)

    def _read_anew(self, messages: Sequence[Message]) -> _Read:
        """The slow way, for words that look like control tokens and must not become them."""
        chat: list[dict[str, Any]] = [
            as_chat(message, self._model.config.num_frames)
            if self._sees
            else {"role": message.role, "content": message.text}
            for message in messages
        ]
        inputs = self._processor.apply_chat_template(
            chat,
            chat_template=self._chat.template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            sanitize_control_tokens=True,
        ).to(self._device)
        output = self._model(**inputs, use_cache=True, logits_to_keep=1)
        return _Read(output.logits[0, -1], output.past_key_values)

    def _grown(self, ids: Sequence[int], trunk: int, seen: Sequence[Seen]) -> _Read:
        """The model after `ids`, whose first `trunk` ones are kept: only what was not read before is read now."""
        cache, start = self._begun(ids[:trunk])
        read = self._run(ids[start:], cache, seen)
        if start < trunk and not _slides(read.cache):
            kept = _fork(read.cache)
            if trunk < len(ids):
                kept.crop(trunk - len(ids))
            size = sum(each.numel() * each.element_size() for one in kept.layers for each in (one.keys, one.values))
            self._trunks.keep(ids[:trunk], kept, size)
        return read

    def _begun(self, trunk: Sequence[int]) -> tuple[Any, int]:
        """Keys and values of the longest beginning of a trunk that was read before, and its length."""
        shared = self._trunks.longest(trunk)
        if shared is None:
            return None, 0
        cache = _fork(shared.state)
        if shared.tokens < shared.of:
            cache.crop(shared.tokens - shared.of)
        return cache, shared.tokens

    def _run(self, ids: Sequence[int], cache: Any, seen: Sequence[Seen]) -> _Read:
        """The model after `ids`, with the features of what is seen at their placeholders."""
        features: dict[str, list[Tensor]] = {}
        for one in seen:
            for name, values in one.features.items():
                features.setdefault(name, []).extend(values)
        output = self._model(
            input_ids=self._row(ids), past_key_values=cache, use_cache=True, logits_to_keep=1, **features
        )
        return _Read(output.logits[0, -1], output.past_key_values)

    def _prompt_ids(self, messages: Sequence[Message], seen: Sequence[Seen], *, answer: bool = True) -> list[int]:
        """Tokens of the messages, each clip as its placeholders: as the processor makes them, without decoding."""
        text = "".join(map(self._chat.piece, messages)) + (self._chat.answer_start if answer else "")
        if seen:
            left = iter(seen)
            text = _TAG.sub(lambda _: next(left).tags, text)
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _look_at(self, messages: Sequence[Message]) -> list[Seen]:
        """What the towers make of every clip of the messages; a model that reads text alone has been asked for none."""
        return [] if self._towers is None else [self._towers.look_at(part) for part in media_of(messages)]

    def _continued(self, read: _Read, ids: Sequence[int]) -> _Read:
        """The model after `ids` have followed; what was read before is used up."""
        if not ids:
            return read
        output = self._model(input_ids=self._row(ids), past_key_values=read.cache, use_cache=True, logits_to_keep=1)
        return _Read(output.logits[0, -1], output.past_key_values)

    def _ids(self, text: str) -> list[int]:
        """Tokens of a piece of the answer; control tokens in it are read as the words they look like."""
        return self._chat.answer_ids(text)

    def _row(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor([list(ids)], device=self._device)


def open_tuned(folder: Path, *, untuned: bool = False) -> TunedModel:
    """The tuned model in `folder`, as fine-tuning left it, or the base it began with.

    Where only an adapter was kept, the published models that its base names are opened too: from this machine, or
    fetched once. Raises MissingInput where the folder holds no tuned model or a published one cannot be had,
    InvalidRecord where its description is spoiled, ConfigError where base and adapter do not go together.
    """
    about = folder / TunedFolder.FILE
    parts = [folder / MERGED] if (folder / MERGED).is_dir() else [folder / ADAPTER, folder / PROCESSOR]
    if not about.is_file() or not all(part.is_dir() for part in parts):
        raise MissingInput(f"{folder} holds no tuned model: make one with  ai-therapist finetune")
    try:
        name = TunedFolder.model_validate_json(about.read_bytes()).name
    except ValidationError:
        raise InvalidRecord(f"{about}: not the description of a tuned model") from None
    silence_progress_bars()
    opened = open_base(folder / BASE if untuned or len(parts) > 1 else folder / MERGED, dtype=_dtype())
    model = opened.model
    if not untuned and len(parts) > 1:
        model = put_adapter(model, folder / ADAPTER).merge_and_unload()
    return TunedModel(f"base of {name}" if untuned else name, model, load_processor(parts[-1]))


def _dtype() -> torch.dtype:
    """16 bits where a GPU computes, 32 elsewhere."""
    return torch.bfloat16 if torch.cuda.is_available() else torch.float32


def load_processor(folder: Path) -> Any:
    """The processor in a folder, or the tokenizer where the model reads text alone."""
    if (folder / "processor_config.json").is_file():
        return VideoLLaMA2Processor.from_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def silence_progress_bars() -> None:
    """Keep transformers' bars for loading and saving weights off the terminal, in the whole process."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def _fork(cache: Any) -> Any:
    """A copy of keys and values without copying them: a cache that goes on makes new tensors and leaves these alone."""
    forked = copy.copy(cache)
    forked.layers = [copy.copy(layer) for layer in cache.layers]
    return forked


def _slides(cache: Any) -> bool:
    """Whether a layer has dropped what it read first, so that it cannot be cut."""
    return any(layer.is_sliding for layer in cache.layers)


def _common_length(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with; at least one token of each row is left."""
    length = min(len(row) for row in rows) - 1
    return next((place for place in range(length) if len({row[place] for row in rows}) > 1), length)
