"""A small sentence encoder on one core: layers in floats or bytes, and a linear layer over the mean of their states."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

    Weights = dict[str, torch.Tensor]

READ_TOKENS = 128
"""Tokens of a message read at once: in more of them one sentence is lost."""
STEP_TOKENS = 96
_MOST_WINDOWS = 12
"""Windows of a long message that are read, half of them from its beginning and half from its end."""
_HEADS = 12
_MOST = 127
"""Largest magnitude of a whole number in a byte that has a mirror image."""
_TINY = 1e-12


class Names(NamedTuple):
    """How an architecture names the parts of a layer, and where it differs."""

    heads: tuple[str, str, str]
    joined: str
    attention_norm: str
    first: str
    last: str
    """Tokens that mark start and end."""
    epsilon: float
    """Of the normalisations."""
    first_position: int
    """Row of the first token's position."""


BERT = Names(
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense",
    "attention.output.LayerNorm",
    "[CLS]",
    "[SEP]",
    1e-12,
    0,
)
"""Devlin et al. 2019."""
MPNET = Names(
    ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
    "attention.attn.o",
    "attention.LayerNorm",
    "<s>",
    "</s>",
    1e-5,
    2,
)
"""Song et al. 2020: attention has a term for the distance of two tokens beside."""


class SentenceEncoder:
    """An encoder in memory. Reading is thread-safe."""

    def __init__(self, tokenizer: Tokenizer, weights: Weights, names: Names, *, in_bytes: bool | None = None) -> None:
        """`weights` are named as `transformers` names them, `head.weight` and `head.bias` among them.

        `in_bytes` says whether the layers multiply whole numbers of 8 bits; None leaves it to the processor.
        """
        from threadpoolctl import ThreadpoolController

        in_bytes = multiplies_bytes() if in_bytes is None else in_bytes
        self._tokenizer = tokenizer
        self._pools = ThreadpoolController()
        self._marks = tuple(tokenizer.token_to_id(mark) for mark in (names.first, names.last))
        self._names = names
        self._rest = {name: tensor for name, tensor in weights.items() if not name.startswith("encoder.layer.")}
        count = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
        self._layers = [_Layer(weights, number, names, in_bytes=in_bytes) for number in range(count)]
        distances = self._rest.pop("encoder.relative_attention_bias.weight", None)
        self._bias = None if distances is None else _distance_bias(distances)

    def scores(self, text: str) -> list[float]:
        """One log-odds per label for the gravest part of a message; the first is that of any danger."""
        import torch

        token_ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        first, last = self._marks
        found: list[list[float]] = []
        # A message is so small that to wake a second thread for each product takes longer than the product.
        with torch.inference_mode(), self._pools.limit(limits=1, user_api="openmp"):
            for start in window_starts(len(token_ids)):
                ids = torch.tensor([first, *token_ids[start : start + READ_TOKENS], last])
                mean = self.states(ids).mean(0)
                found.append((self._rest["head.weight"] @ mean + self._rest["head.bias"]).tolist())
        return max(found, key=lambda scores: scores[0])

    def states(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Last states [tokens, width] of one text, with the tokens of start and end."""
        rest, tokens, start = self._rest, len(token_ids), self._names.first_position
        states = rest["embeddings.word_embeddings.weight"][token_ids].float()
        states = states + rest["embeddings.position_embeddings.weight"][start : start + tokens]
        types = rest.get("embeddings.token_type_embeddings.weight")
        states = states if types is None else states + types[0]
        norm = rest["embeddings.LayerNorm.weight"], rest["embeddings.LayerNorm.bias"]
        states = _normed(states, *norm, self._names.epsilon)
        bias = None if self._bias is None else self._bias[:, :, :tokens, :tokens]
        for layer in self._layers:
            states = layer(states, bias)
        return states


def changed(weights: Weights, change: bytes, scale: float) -> Weights:
    """The weights with a low-rank change added, and the linear layer over them."""
    from safetensors.torch import load

    tensors = {name: tensor.float() for name, tensor in load(change).items()}
    sums = {**weights, "head.weight": tensors["head.weight"], "head.bias": tensors["head.bias"]}
    for name in (name.removesuffix(".down") for name in tensors if name.endswith(".down")):
        product = tensors[f"{name}.up"] @ tensors[f"{name}.down"]
        sums[f"{name}.weight"] = weights[f"{name}.weight"] + scale * product
    return sums


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
        reach = states.abs().amax(1, keepdim=True).clamp_min_(_TINY).div_(_MOST)
        product = torch._int_mm((states / reach).round_().to(torch.int8), self._weight)
        return torch.addcmul(self._bias, product * reach, self._scales)


class _Layer:
    """Attention, then two linear layers, each with its normalisation after it."""

    def __init__(self, weights: Weights, number: int, names: Names, *, in_bytes: bool) -> None:
        import torch

        def part(name: str) -> tuple[torch.Tensor, torch.Tensor]:
            whole = f"encoder.layer.{number}.{name}"
            return weights[f"{whole}.weight"], weights[f"{whole}.bias"]

        heads: Iterable[Any] = zip(*(part(name) for name in names.heads), strict=True)
        self._heads = _Matrix(*(torch.cat(each) for each in heads), in_bytes=in_bytes)
        self._joined = _Matrix(*part(names.joined), in_bytes=in_bytes)
        self._wide = _Matrix(*part("intermediate.dense"), in_bytes=in_bytes)
        self._narrow = _Matrix(*part("output.dense"), in_bytes=in_bytes)
        self._attention_norm = part(names.attention_norm)
        self._norm = part("output.LayerNorm")
        self._epsilon = names.epsilon

    def __call__(self, states: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """[tokens, width] to the same shape; `bias` [1, heads, tokens, tokens] is added to what attention compares."""
        import torch

        tokens, width = states.shape
        query, key, value = self._heads(states).view(tokens, 3, _HEADS, width // _HEADS).permute(1, 2, 0, 3)
        seen = torch.nn.functional.scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=bias)[0]
        joined = self._joined(seen.transpose(0, 1).reshape(tokens, width))
        states = _normed(states + joined, *self._attention_norm, self._epsilon)
        wide = torch.nn.functional.gelu(self._wide(states))
        return _normed(states + self._narrow(wide), *self._norm, self._epsilon)


def _normed(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, epsilon: float) -> torch.Tensor:
    import torch

    return torch.nn.functional.layer_norm(states, states.shape[-1:], weight, bias, epsilon)


def _distance_bias(table: torch.Tensor) -> torch.Tensor:
    """[1, heads, tokens, tokens] from one number per head and bucket of distances (T5, Raffel et al. 2020, §2.1)."""
    import torch

    places = torch.arange(READ_TOKENS + 2)
    ahead = places[None, :] - places[:, None]
    half = len(table) // 2
    exact = half // 2
    far = ahead.abs().clamp_min(1)
    # Half of the buckets hold one distance each, the others grow with its logarithm up to 128.
    wide = exact + (torch.log(far / exact) / torch.log(torch.tensor(128 / exact)) * (half - exact)).long()
    bucket = torch.where(far < exact, ahead.abs(), wide.clamp_max(half - 1)) + half * (ahead > 0)
    return table[bucket].permute(2, 0, 1)[None].contiguous()


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


def window_starts(tokens: int) -> list[int]:
    """First tokens of the windows in which a message is read."""
    starts = list(range(0, max(1, tokens - READ_TOKENS + STEP_TOKENS), STEP_TOKENS))
    if len(starts) <= _MOST_WINDOWS:
        return starts
    half = _MOST_WINDOWS // 2
    return [*starts[:half], *starts[-half:]]
