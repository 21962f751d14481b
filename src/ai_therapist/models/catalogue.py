"""Opens a model by its spec, the form in which settings name it: KIND, or KIND:WHERE.

embedded             the classifier that ships with the package
embedded:FILE        one that  ai-therapist finetune --annotator  trained
gemini, gemini:MODEL Gemini, on Vertex AI or with a key (see gemini.py)
openai:MODEL         a model on any OpenAI-compatible server (see openai.py)
causal:FOLDER        a text model on this machine that weighs labels (see causal.py)
videollama2:FOLDER   a VideoLLaMA2 model on this machine that sees, hears and weighs labels (see videollama2.py)
tuned:FOLDER         a model that fine-tuning made
scripted:FILE        answers from a JSON file (see scripted.py)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ai_therapist.errors import ConfigError, MissingExtra
from ai_therapist.models.address import base_url, is_loopback
from ai_therapist.models.options import DEFAULTS, ModelOptions
from ai_therapist.models.protocol import LabelScorer, TextGenerator

AnyModel = TextGenerator | LabelScorer


@dataclass(frozen=True)
class Kind:
    """A kind of model: what stands after the colon (None where nothing does), what it is, how it is opened."""

    where: str | None
    summary: str
    open: Callable[[str, ModelOptions], AnyModel]
    optional: bool = False
    """Whether the part after the colon may be left out."""
    sends_away: Callable[[], bool] = lambda: False
    """Whether what it is shown goes to another computer, which needs a permission of its own."""
    weighs_much: bool = False
    """Whether its weights are loaded here: such models run one at a time, and are unloaded when their work is done."""
    costs: bool = False
    """Whether an answer is worth keeping until the work is done, since it costs money or time."""
    extra: str = "core"
    """The extra of the package that brings what it needs."""
    packages: tuple[str, ...] = ()
    """Distributions that it needs."""
    lacks: Callable[[], str | None] = lambda: None
    """What must be set before it can be opened, or None where nothing is missing."""


def sends_away(spec: str) -> bool:
    """Whether the model that `spec` names runs on another computer; False for a kind that does not exist."""
    kind = KINDS.get(kind_name(spec))
    return kind is not None and kind.sends_away()


def kind_name(spec: str) -> str:
    """What a spec begins with."""
    return spec.partition(":")[0]


def open_model(spec: str, options: ModelOptions = DEFAULTS) -> AnyModel:
    """The model that `spec` names. Weights are loaded and servers are reached when it is first asked.

    Raises ConfigError for a kind that does not exist and for a spec that lacks or has too much after the colon, and
    whatever opening that kind of model raises: MissingInput, MissingExtra, StoreError.
    """
    name, colon, where = spec.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        close = get_close_matches(name, KINDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(KINDS)}"
        raise ConfigError(f"there is no model {name!r}; {hint}")
    if kind.where is None and colon:
        raise ConfigError(f"model {name!r} takes nothing after its name")
    if kind.where is not None and not where and (colon or not kind.optional):
        raise ConfigError(f"model {name!r} needs a {kind.where.lower()}: write {name}:{kind.where}")
    try:
        return kind.open(where, options)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ai_therapist"):
            raise
        raise MissingExtra(f"model {name!r}", str(error.name), kind.extra) from None


# Each kind is imported when it is opened, so that naming one loads neither numpy nor torch.


def _open_embedded(where: str, _: ModelOptions) -> AnyModel:
    from ai_therapist.models.embedded import EmbeddedClassifier, load_embedded

    return EmbeddedClassifier.from_file(Path(where)) if where else load_embedded()


def _open_gemini(where: str, options: ModelOptions) -> AnyModel:
    from ai_therapist.models.gemini import GeminiModel

    return GeminiModel(where or None, options)


def _open_openai(where: str, options: ModelOptions) -> AnyModel:
    from ai_therapist.models.openai import OpenAIModel, ScoringOpenAIModel

    return ScoringOpenAIModel(where, options) if options.logprobs else OpenAIModel(where, options)


def _open_causal(where: str, options: ModelOptions) -> AnyModel:
    from ai_therapist.models.causal import open_causal

    return open_causal(where, options)


def _open_videollama2(where: str, options: ModelOptions) -> AnyModel:
    from ai_therapist.models.videollama2 import open_videollama2

    return open_videollama2(Path(where), options)


def _open_tuned(where: str, _: ModelOptions) -> AnyModel:
    from ai_therapist.models.local import open_tuned

    return open_tuned(Path(where))


def _open_scripted(where: str, _: ModelOptions) -> AnyModel:
    from ai_therapist.models.scripted import open_script

    return open_script(Path(where))


def _lacks_google() -> str | None:
    if os.environ.get("PROJECT_ID") or os.environ.get("GEMINI_API_KEY"):
        return None
    return "PROJECT_ID and LOCATION (Vertex AI), or GEMINI_API_KEY"


def _lacks_openai() -> str | None:
    if os.environ.get("OPENAI_API_KEY") or is_loopback(base_url()):
        return None
    return "OPENAI_API_KEY, or OPENAI_BASE_URL of a server on this machine"


_TORCH = ("torch", "transformers", "accelerate")

KINDS: dict[str, Kind] = {
    "embedded": Kind(
        "FILE",
        "the classifier that ships with the package, or one that  finetune --annotator  trained",
        _open_embedded,
        optional=True,
        packages=("numpy", "safetensors"),
    ),
    "gemini": Kind(
        "MODEL",
        "Gemini, on Vertex AI or with a key",
        _open_gemini,
        optional=True,
        sends_away=lambda: True,
        costs=True,
        extra="cloud",
        packages=("google-genai", "httpx2"),
        lacks=_lacks_google,
    ),
    "openai": Kind(
        "MODEL",
        "a model on any OpenAI-compatible server",
        _open_openai,
        sends_away=lambda: not is_loopback(base_url()),
        costs=True,
        extra="cloud",
        packages=("openai", "httpx2"),
        lacks=_lacks_openai,
    ),
    "causal": Kind(
        "FOLDER",
        "a text model on this machine that weighs labels",
        _open_causal,
        weighs_much=True,
        costs=True,
        extra="train",
        packages=_TORCH,
    ),
    "videollama2": Kind(
        "FOLDER",
        "a VideoLLaMA2 model on this machine that sees, hears and weighs labels",
        _open_videollama2,
        weighs_much=True,
        costs=True,
        extra="train",
        packages=_TORCH,
    ),
    "tuned": Kind(
        "FOLDER",
        "a model that fine-tuning made",
        _open_tuned,
        weighs_much=True,
        costs=True,
        extra="train",
        packages=_TORCH,
    ),
    "scripted": Kind("FILE", "answers from a JSON file", _open_scripted),
}
"""Every kind of model by the name that a spec begins with."""
