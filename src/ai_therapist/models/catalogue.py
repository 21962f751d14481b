"""Opens a model by its spec, the form in which settings name it: KIND, or KIND:WHERE.

embedded             the classifier that ships with the package
scripted:FILE        answers from a JSON file (see scripted.py)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ai_therapist.errors import ConfigError, MissingExtra
from ai_therapist.models.protocol import LabelScorer, TextGenerator

AnyModel = TextGenerator | LabelScorer


@dataclass(frozen=True)
class Kind:
    """A kind of model: what stands after the colon (None where nothing does), what it is, how it is opened."""

    where: str | None
    summary: str
    open: Callable[[str], AnyModel]
    sends_away: bool = False
    """Whether what it is shown goes to another computer, which needs a permission of its own."""


def sends_away(spec: str) -> bool:
    """Whether the model that `spec` names runs on another computer; False for a kind that does not exist."""
    kind = KINDS.get(spec.partition(":")[0])
    return kind is not None and kind.sends_away


def open_model(spec: str) -> AnyModel:
    """The model that `spec` names.

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
    if kind.where is not None and not where:
        raise ConfigError(f"model {name!r} needs a {kind.where.lower()}: write {name}:{kind.where}")
    return kind.open(where)


# Each kind is imported when it is opened, so that naming one loads neither numpy nor torch.


def _open_embedded(_: str) -> AnyModel:
    from ai_therapist.models.embedded import load_embedded

    return load_embedded()


def _open_scripted(where: str) -> AnyModel:
    from ai_therapist.models.scripted import open_script

    return open_script(Path(where))


def _open_tuned(where: str) -> AnyModel:
    try:
        from ai_therapist.models.local import open_tuned
    except ModuleNotFoundError as error:
        raise MissingExtra("a tuned model", str(error.name), "train") from None
    return open_tuned(Path(where))


KINDS: dict[str, Kind] = {
    "embedded": Kind(None, "the classifier that ships with the package", _open_embedded),
    "scripted": Kind("FILE", "answers from a JSON file", _open_scripted),
    "tuned": Kind("FOLDER", "a model that fine-tuning made", _open_tuned),
}
"""Every kind of model by the name that a spec begins with."""
