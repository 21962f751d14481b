"""The model that this process asks now: kept from one piece of work to the next, unloaded before another is opened."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ai_therapist.models.catalogue import AnyModel, open_model
from ai_therapist.models.options import ModelOptions

_held: dict[tuple[str, ModelOptions], AnyModel] = {}


@runtime_checkable
class Unloadable(Protocol):
    """A model that can give the memory of its weights back."""

    def unload(self) -> None:
        """Give the memory back."""


def borrow(spec: str, options: ModelOptions) -> AnyModel:
    """The model that `spec` names; the one that was held, where it is another, is unloaded. Raises as open_model."""
    key = (spec, options)
    if key not in _held:
        release()
        _held[key] = open_model(spec, options)
    return _held[key]


def release() -> None:
    """Hold no model any more: weights are unloaded."""
    for model in _held.values():
        if isinstance(model, Unloadable):
            model.unload()
    _held.clear()
