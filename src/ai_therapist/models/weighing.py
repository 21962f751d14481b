"""Language models on this machine that weigh labels instead of writing them: always valid, with probabilities.

One prompt is read once, and all labels continue it side by side in one more pass:

    sum      log-likelihood of the label's tokens and of the quote that closes it
    divided  by the number of these tokens, or long labels could never win
    over     the same for questions without content ("N/A", a mask, nothing), so that a label that the model likes
             whatever is said has no advantage (contextual calibration, Zhao et al. 2021)

What the last prompts have in common with a new one, as the instruction, is not read again.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import copy
import gc
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ai_therapist.models.protocol import GREEDY, Sampling, Tally
from ai_therapist.models.sampling import Chooser
from ai_therapist.models.shown import check_shown, shows_media
from ai_therapist.models.turn_lines import read_turns, render_turn
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import Message
from ai_therapist.records.session import Role

_NO_CONTENT = ("N/A", "[MASK]", "...")
_MARK = re.compile(r"\b[0-9a-f]{8}\b")
_NO_MARK = "00000000"
_SMALLEST_OVERLAP = 16
_PROMPTS_KEPT = 4


class Network(Protocol):
    """A loaded model: how messages become its inputs, and its tokenizer."""

    model: Any
    tokenizer: Any
    end: int
    """Token that ends an answer; it also fills up shorter rows."""

    def inputs(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Tensors of the messages and the beginning of an answer, on the model's device."""


class LabelLikelihood(NamedTuple):
    """Log-likelihood of a label in nats, and the number of tokens that it rests on."""

    nats: float
    tokens: int

    @property
    def mean(self) -> float:
        """Nats a token."""
        return self.nats / self.tokens


class _Read(NamedTuple):
    """The model after a prompt: its tokens, the logits of what comes next, the keys and values of all before."""

    ids: tuple[int, ...]
    logits: Tensor
    cache: Any


class WeighingModel:
    """A LabelScorer and SamplingGenerator, loaded when it is first asked. Not safe for several threads."""

    def __init__(
        self, name: str, accepts: frozenset[Modality], load: Callable[[], Network], *, calibrated: bool = True
    ) -> None:
        self.name = name
        self.accepts = accepts
        self._load = load
        self._calibrated = calibrated
        self._network: Network | None = None
        self._prompts: deque[_Read] = deque(maxlen=_PROMPTS_KEPT)
        self._without_content: dict[object, Tensor] = {}

    def unload(self) -> None:
        """Give the memory of the weights back; they are loaded again when it is asked again."""
        self._network = None
        self._prompts.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def score(self, messages: Sequence[Message], labels: Sequence[str], *, prefix: str = "") -> dict[str, float]:
        """Probability of each label, by its likelihood a token beside that in questions without content.

        Raises ValueError where there are no labels or messages show too much, UnreadableMedia for a broken clip.
        """
        weights = self._weights(messages, labels, prefix).softmax(0)
        if self._calibrated:
            weights = weights / self._prior(messages, labels, prefix)
            weights = weights / weights.sum()
        return dict(zip(labels, weights.tolist(), strict=True))

    @torch.inference_mode()
    def likelihoods(self, messages: Sequence[Message], labels: Sequence[str], *, prefix: str) -> list[LabelLikelihood]:
        """Of each label, and the quote that closes it, as what follows `prefix`."""
        check_shown(messages, self.accepts, self.name)
        if not labels:
            raise ValueError("there are no labels to weigh")
        rows = [self._ids(f'{prefix}{label}"') for label in labels]
        shared = _common_length(rows)
        read = self._prompt(messages)
        if _is_plain(read.cache):
            return self._branches(read, rows[0][:shared], [row[shared:] for row in rows])
        read = self._continued(_copied(read), rows[0][:shared])
        return self._continuations(read, [row[shared:] for row in rows])

    @torch.inference_mode()
    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        """The answer in one piece, greedy; `prefix` is its fixed beginning and is not repeated."""
        yield from self.sample(messages, max_tokens=max_tokens, prefix=prefix, sampling=GREEDY, tally=Tally())

    @torch.inference_mode()
    def sample(
        self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "", sampling: Sampling, tally: Tally
    ) -> Iterator[str]:
        """The answer in one piece, its words chosen by `sampling`; `tally` is set before it is given."""
        check_shown(messages, self.accepts, self.name)
        read = self._continued(_copied(self._prompt(messages)), self._ids(prefix))
        tally.read = len(read.ids)
        written: list[int] = []
        choose = Chooser(sampling)
        while len(written) < max_tokens and (token := choose(read.logits)) != self.network.end:
            written.append(token)
            read = self._continued(read, [token])
        tally.written, tally.at_limit = len(written), len(written) == max_tokens
        yield self.network.tokenizer.decode(written, skip_special_tokens=True)

    @property
    def network(self) -> Network:
        """The loaded model."""
        if self._network is None:
            # Weights that are made in inference mode cannot be used outside it.
            with torch.inference_mode(False):
                self._network = self._load()
        return self._network

    def _weights(self, messages: Sequence[Message], labels: Sequence[str], prefix: str) -> Tensor:
        found = self.likelihoods(messages, labels, prefix=prefix)
        return torch.tensor([likelihood.mean for likelihood in found], dtype=torch.float64)

    def _prior(self, messages: Sequence[Message], labels: Sequence[str], prefix: str) -> Tensor:
        """Mean probability of the labels where nothing is said: of the same instruction, kept for all its turns."""
        system = [message for message in messages if message.role == "system"]
        instruction = _MARK.sub(_NO_MARK, "\n".join(message.text for message in system))
        role = read_turns(messages)[-1].role
        key = (instruction, role, tuple(labels), prefix)
        if key not in self._without_content:
            asked = [_without_content(instruction, role, text) for text in _NO_CONTENT]
            means = [self._weights(each, labels, prefix).softmax(0) for each in asked]
            self._without_content[key] = torch.stack(means).mean(0)
        return self._without_content[key]

    def _prompt(self, messages: Sequence[Message]) -> _Read:
        """The model after the messages and the beginning of an answer."""
        network = self.network
        inputs = network.inputs(messages)
        if shows_media(messages):
            output = network.model(**inputs, use_cache=True, logits_to_keep=1)
            return _Read((), output.logits[0, -1], output.past_key_values)
        ids = tuple(inputs["input_ids"][0].tolist())
        read = self._read_on(ids)
        self._prompts.append(read)
        return read

    def _read_on(self, ids: tuple[int, ...]) -> _Read:
        """The model after these tokens; read from where the last prompts part from them."""
        known = [(_overlap(ids, before.ids), before) for before in self._prompts]
        overlap, nearest = max(known, default=(0, None), key=lambda pair: pair[0])
        # At least one token is read: the logits after it are what is wanted.
        overlap = min(overlap, len(ids) - 1)
        cache: Any = None
        if nearest is not None and overlap >= _SMALLEST_OVERLAP and _is_plain(nearest.cache):
            # Taken over, not copied: the next prompt is nearer to this one than to that.
            self._prompts = deque((read for read in self._prompts if read is not nearest), maxlen=_PROMPTS_KEPT)
            cache = nearest.cache
            if overlap < len(nearest.ids):
                cache.crop(overlap - len(nearest.ids))
        else:
            overlap = 0
        network = self.network
        rest = torch.tensor([ids[overlap:]], device=network.model.device)
        output = network.model(input_ids=rest, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return _Read(ids, output.logits[0, -1], output.past_key_values)

    def _continued(self, read: _Read, ids: Sequence[int]) -> _Read:
        """The model after `ids` have followed; what was read before is used up."""
        if not ids:
            return read
        model = self.network.model
        tokens = torch.tensor([ids], device=model.device)
        output = model(input_ids=tokens, past_key_values=read.cache, use_cache=True, logits_to_keep=1)
        return _Read((*read.ids, *ids), output.logits[0, -1], output.past_key_values)

    def _branches(self, read: _Read, trunk: Sequence[int], rows: Sequence[Sequence[int]]) -> list[LabelLikelihood]:
        """Likelihood of each row after the prompt and the trunk, in one pass over all rows side by side.

        prompt ─ trunk ─┬─ row 1     A row sees what was read, the trunk and itself, and no other row; its
                        ├─ row 2     positions go on from the trunk. The keys and values of the prompt are
                        └─ row 3     neither copied nor changed: what is added is taken off again.
        """
        network = self.network
        device, start = network.model.device, read.cache.get_seq_length()
        ids, places, owners = list(trunk), list(range(len(trunk))), [0] * len(trunk)
        for number, row in enumerate(rows, start=1):
            ids += row
            places += range(len(trunk), len(trunk) + len(row))
            owners += [number] * len(row)
        owner = torch.tensor(owners, device=device)
        order = torch.arange(len(ids), device=device)
        sees = ((owner[None] == owner[:, None]) | (owner[None] == 0)) & (order[None] <= order[:, None])
        sees = torch.cat([torch.ones(len(ids), start, dtype=torch.bool, device=device), sees], dim=1)
        mask = torch.zeros(sees.shape, dtype=network.model.dtype, device=device)
        mask.masked_fill_(~sees, torch.finfo(network.model.dtype).min)
        try:
            output = network.model(
                input_ids=torch.tensor([ids], device=device),
                attention_mask=mask[None, None],
                position_ids=torch.tensor([places], device=device) + start,
                past_key_values=read.cache,
                use_cache=True,
            )
        finally:
            added = read.cache.get_seq_length() - start
            if added:
                read.cache.crop(-added)
        logits = output.logits[0].float().log_softmax(-1)
        before = logits[len(trunk) - 1] if trunk else read.logits.float().log_softmax(-1)
        found, at = [], len(trunk)
        for row in rows:
            followed = torch.cat([before[None], logits[at : at + len(row) - 1]])
            wanted = torch.tensor(row, device=device)
            nats = followed.gather(-1, wanted[:, None]).double().sum()
            found.append(LabelLikelihood(float(nats), len(row)))
            at += len(row)
        return found

    def _continuations(self, read: _Read, rows: Sequence[Sequence[int]]) -> list[LabelLikelihood]:
        """Likelihood of each row of tokens after what was read, which is used up."""
        network = self.network
        longest = max(len(row) for row in rows)
        device = network.model.device
        padded = torch.tensor([[*row, *[network.end] * (longest - len(row))] for row in rows], device=device)
        real = torch.tensor([[place < len(row) for place in range(longest)] for row in rows], device=device)
        logits = read.logits.expand(len(rows), 1, -1)
        if longest > 1:
            read.cache.batch_repeat_interleave(len(rows))
            later = network.model(input_ids=padded[:, :-1], past_key_values=read.cache, use_cache=True).logits
            logits = torch.cat([logits, later], dim=1)
        found = logits.float().log_softmax(-1).gather(-1, padded[..., None])[..., 0]
        sums = torch.where(real, found, torch.zeros_like(found)).double().sum(1).tolist()
        return [LabelLikelihood(total, len(row)) for total, row in zip(sums, rows, strict=True)]

    def _ids(self, text: str) -> list[int]:
        """Tokens of a piece of the answer; control tokens in it are read as the words they look like."""
        ids: list[int] = self.network.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids


def _without_content(instruction: str, role: Role | None, text: str) -> list[Message]:
    line = render_turn(_NO_MARK, role or Role.UNKNOWN, text)
    system = [Message.of_text("system", instruction)] if instruction else []
    return [*system, Message.of_text("user", f"The turn in question:\n{line}")]


def _is_plain(cache: Any) -> bool:
    """Whether every layer keeps all keys and values, so that the last ones can be taken off again."""
    return type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)


def _copied(read: _Read) -> _Read:
    """A copy that can be used up while the other stays as it is."""
    return _Read(read.ids, read.logits, copy.deepcopy(read.cache))


def _common_length(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with; at least one token of each row is left."""
    length = min(len(row) for row in rows) - 1
    return next((place for place in range(length) if len({row[place] for row in rows}) > 1), length)


def _overlap(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two rows begin with."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))
