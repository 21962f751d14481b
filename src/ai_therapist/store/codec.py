"""Records to bytes and back: the one place where a validation error becomes text, without its content."""

import json
from collections.abc import Sequence
from datetime import date
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ai_therapist.errors import InvalidRecord

RecordT = TypeVar("RecordT", bound=BaseModel)


def canonical_json(value: object) -> bytes:
    """The one JSON form of a value: sorted keys and sets, no white space, UTF-8, newline at the end.

    Raises TypeError for values that JSON cannot hold and ValueError for NaN and infinities.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain)
    return text.encode() + b"\n"


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True)
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a record")


def encode(record: BaseModel) -> bytes:
    """A record as canonical JSON."""
    return canonical_json(record)


def encode_all(records: Sequence[BaseModel]) -> bytes:
    """Records as one canonical JSON array, in the given order."""
    return canonical_json(list(records))


def decode(kind: type[RecordT], data: bytes, where: str) -> RecordT:
    """The record that `data` holds. Raises InvalidRecord that names `where`, the fields and the kinds of error."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise InvalidRecord(f"{where}: {describe(error)}") from None


def decode_all(kind: type[RecordT], data: bytes, where: str) -> tuple[RecordT, ...]:
    """The records of a JSON array. Raises InvalidRecord as `decode` does, with the place in the array."""
    try:
        return tuple(TypeAdapter(list[kind]).validate_json(data))  # type: ignore[valid-type]
    except ValidationError as error:
        raise InvalidRecord(f"{where}: {describe(error)}") from None


def describe(error: ValidationError) -> str:
    """Field paths and kinds of error, never the value: pydantic's own text would print what people said."""
    kinds = [
        f"{'.'.join(str(step) for step in detail['loc']) or 'record'}: {_kind(detail)}"
        for detail in error.errors(include_url=False, include_input=False)
    ]
    shown = "; ".join(kinds[:5])
    return shown if len(kinds) <= 5 else f"{shown}; and {len(kinds) - 5} more"


_ALLOWED = {
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters or fewer",
    "too_short": "must have {min_length} entries or more",
    "too_long": "must have {max_length} entries or fewer",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "frozen_set_type": "must be a list",
    "dict_type": "must be a table of named values",
    "model_type": "must be a table of named values",
    "json_invalid": "not valid JSON",
}
"""What is allowed, by the kind of error. Filled from the declaration of the field alone, never from the input."""


def _kind(detail: ErrorDetails) -> str:
    kind = detail["type"]
    # Only our own rules and these kinds have messages that cannot quote the input.
    if kind in {"value_error", "missing", "extra_forbidden"}:
        return detail["msg"].removeprefix("Value error, ")
    return _ALLOWED.get(kind, kind.replace("_", " ")).format_map(detail.get("ctx", {}))
