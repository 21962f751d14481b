"""Examples to token ids with the loss on the answer alone, and several of them to one padded batch."""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ai_therapist.dataset.render import render_prompt, target_text
from ai_therapist.finetuning.features import ClipFeatures
from ai_therapist.finetuning.tokenizer import TURN_END
from ai_therapist.records import Example, Turn
from ai_therapist.records.message import Message, TextPart
from ai_therapist.videollama2.chat_templates import CHATML

IGNORED = -100
"""Label of a token that is read but not learned."""


class Encoded(NamedTuple):
    """One example as the model reads it."""

    example: str
    """Id of the example."""
    input_ids: list[int]
    labels: list[int]
    """As `input_ids` on the answer and its end token, IGNORED everywhere else."""
    clip: str | None
    """Sha256 of the clip that the placeholders stand for."""

    @property
    def targets(self) -> int:
        """How many tokens are learned."""
        return sum(label != IGNORED for label in self.labels)


def encode_example(
    example: Example, tokenizer: PreTrainedTokenizerFast, features: Mapping[str, ClipFeatures], max_tokens: int
) -> Encoded | None:
    """The example in at most `max_tokens` tokens; None where it does not fit even without its context.

    The oldest turns are left out first; the clip, the client's words and the answer are never cut. Raises KeyError
    for a clip without features.
    """
    clip = None if example.clip_sha256 is None else features[example.clip_sha256]
    answer = [*_ids(tokenizer, target_text(example.labels, example.reply.text)), _end(tokenizer)]
    for oldest in range(len(example.context) + 1):
        prompt = _ids(tokenizer, prompt_text(example.context[oldest:], example.client, tokenizer, clip))
        if len(prompt) + len(answer) <= max_tokens:
            labels = [IGNORED] * len(prompt) + answer
            return Encoded(example.id, prompt + answer, labels, example.clip_sha256)
    return None


def prompt_text(
    context: Sequence[Turn], client: Turn, tokenizer: PreTrainedTokenizerFast, clip: ClipFeatures | None
) -> str:
    """The chat up to where the answer begins, as text with one placeholder per embedding of the clip.

    The words cannot add placeholders or turns: the renderer leaves no character that could spell one.
    """
    messages = render_prompt(context, client, None if clip is None else "clip")
    text = tokenizer.apply_chat_template(
        [_as_chat(message) for message in messages],
        chat_template=CHATML,
        add_generation_prompt=True,
        tokenize=False,
    )
    if clip is not None:
        text = str(text).replace("<video>", clip.placeholders, 1)
    return str(text)


def collate(batch: Sequence[Encoded], features: Mapping[str, ClipFeatures], pad_id: int) -> dict[str, Any]:
    """Model inputs of a batch, padded on the right; clips are listed in reading order.

    `input_ids`, `attention_mask` and `labels` are (batch, longest); `video_features` and `audio_features` are lists
    of (n, width), absent where no example of the batch shows a clip or none has sound.
    """
    longest = max(len(one.input_ids) for one in batch)
    inputs: dict[str, Any] = {
        "input_ids": _padded([one.input_ids for one in batch], longest, pad_id),
        "attention_mask": _padded([[1] * len(one.input_ids) for one in batch], longest, 0),
        "labels": _padded([one.labels for one in batch], longest, IGNORED),
    }
    clips = [features[one.clip] for one in batch if one.clip is not None]
    if clips:
        inputs["video_features"] = [clip.video for clip in clips]
    sounds = [clip.audio for clip in clips if clip.audio is not None]
    if sounds:
        inputs["audio_features"] = sounds
    return inputs


def _as_chat(message: Message) -> dict[str, Any]:
    parts = [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": part.kind}
        for part in message.parts
    ]
    return {"role": message.role, "content": parts}


def _ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _end(tokenizer: PreTrainedTokenizerFast) -> int:
    end = tokenizer.convert_tokens_to_ids(TURN_END)
    if not isinstance(end, int):
        raise ValueError(f"the tokenizer has no {TURN_END!r}")
    return end


def _padded(rows: Sequence[Sequence[int]], length: int, fill: int) -> Tensor:
    return torch.tensor([[*row, *[fill] * (length - len(row))] for row in rows])
