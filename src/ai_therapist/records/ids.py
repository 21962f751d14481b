"""Ids that derive from content, so that a rerun gives the same ones."""

import hashlib
import re
from typing import Annotated

from pydantic import StringConstraints

ID_PATTERN = r"^(ses|utt|clp|ann|exm)_[0-9a-f]{12}$"
"""Prefix of the record's kind, underscore, 12 hexadecimal digits of a sha256."""

DIGEST_PATTERN = r"^[0-9a-f]{64}$"

RecordId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]


def content_id(prefix: str, *parts: str | int) -> str:
    """Id of a record made of `prefix` and the first 48 bits of the sha256 of `parts`, each preceded by its length.

    The length prefix keeps ("ab", "c") and ("a", "bc") apart.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = str(part).encode()
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return f"{prefix}_{digest.hexdigest()[:12]}"


def is_record_id(text: str) -> bool:
    """Whether `text` has the form of a record id."""
    return re.fullmatch(ID_PATTERN, text) is not None
