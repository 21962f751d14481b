"""What this package needs of transformers behind its public names: each with its reason, checked on first use.

Two things are used (`without_marked_tokens`, `cached_file_or_none`); the others are methods we override, which
transformers must go on calling.
"""

# mypy: allow-untyped-calls

import inspect
from typing import Any, NamedTuple

from transformers import GenerationMixin, __version__, processing_utils
from transformers.utils import hub

TESTED_VERSION = "5.23"


class Internal(NamedTuple):
    """A private name of transformers, whose it is, and why we need it."""

    owner: Any
    name: str
    reason: str


INTERNALS = (
    Internal(processing_utils, "_MARKED_RE", "so that <video> in a user's words is not counted as a clip"),
    Internal(
        processing_utils.OmniModalProcessorMixin,
        "_multimodal_inputs_from_conversations",
        "to decode clips and sounds with PyAV instead of torchcodec",
    ),
    Internal(
        processing_utils.ProcessorMixin,
        "_get_arguments_from_pretrained",
        "to build the processor of a checkpoint that has no processor files",
    ),
    Internal(
        processing_utils.ProcessorMixin, "_load_tokenizer_from_pretrained", "to load the tokenizer of such a checkpoint"
    ),
    Internal(GenerationMixin, "_expand_inputs_for_generation", "so that repeated rows keep their own clips"),
)
_MISSING_IS_NO_ERROR = "_raise_exceptions_for_missing_entries"


def require(internals: tuple[Internal, ...] = INTERNALS) -> None:
    """Check that transformers still has what we need.

    Raises:
        ImportError: it has not; the message names it, its reason and the version we are tested with.
    """
    for owner, name, reason in internals:
        if not hasattr(owner, name):
            _refuse(f"{owner.__name__}.{name}", reason)
    if _MISSING_IS_NO_ERROR not in inspect.signature(hub.cached_files).parameters:
        _refuse(f"cached_files({_MISSING_IS_NO_ERROR}=)", "to tell a missing file from a broken connection")


def without_marked_tokens(text: str) -> str:
    """`text` without the control tokens that transformers marked as a user's own words."""
    plain: str = processing_utils._MARKED_RE.sub("", text)
    return plain


def cached_file_or_none(source: str, name: str) -> str | None:
    """Path of a file of a folder or hub repository; None where that has no such file.

    Raises:
        OSError: there is no such folder or repository, or it cannot be reached.
    """
    path: str | None = hub.cached_file(source, name, **{_MISSING_IS_NO_ERROR: False})
    return path


def _refuse(name: str, reason: str) -> None:
    raise ImportError(
        f"transformers {__version__} has no {name}, which VideoLLaMA2 needs {reason}; "
        f"install transformers {TESTED_VERSION}, with which it is tested"
    )


require()
