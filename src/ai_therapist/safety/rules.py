"""The notation of the rule files, compiled.

In a pattern `{name}` stands for any alternative of that fragment and `…` for up to three words; the rest is a
regular expression over the words of a clause. A pattern matches whole words only. Words that it skips (`…` and
`\\w+`) are never a denial: "I want to sleep" lies within reach of "I … sleep", "I do not want to sleep" does not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from importlib import resources

_FRAGMENT = re.compile(r"\{([a-z_]+)\}")
_GAP = re.compile(r" ?… ?")
_SKIPPED_WORD = r"(?!(?:never|not|dont|doesnt|didnt|wouldnt|wont|couldnt)\b)\w+"

Fragments = Mapping[str, Sequence[str]]
"""Named lists of alternatives that patterns refer to; a fragment may refer to others, never to itself."""


def compiled(patterns: Sequence[str], fragments: Fragments) -> re.Pattern[str]:
    """One expression that matches where any of `patterns` does.

    Raises ValueError for an unknown fragment and re.error for a pattern that is no expression.
    """
    whole = "|".join(_expanded(pattern, fragments) for pattern in patterns).replace(r"\w+", _SKIPPED_WORD)
    return re.compile(rf"\b(?:{whole})\b")


def compiled_before(patterns: Sequence[str], fragments: Fragments) -> re.Pattern[str]:
    """One expression that matches where any of `patterns` ends right at the end of a text. Raises as `compiled`."""
    return re.compile(rf"{compiled([rf'(?:{pattern}) ?' for pattern in patterns], fragments).pattern[:-2]}$")


def is_quoted(found: str, quotable: re.Pattern[str] | None, said: Collection[str]) -> bool:
    """Whether `found` holds quotable words, and none that the clauses `said` lack."""
    words = [match.group() for match in quotable.finditer(found)] if quotable is not None else []
    return bool(words) and all(any(re.search(rf"\b{re.escape(word)}", clause) for clause in said) for word in words)


def read_data(name: str) -> str:
    """Text of a data file of this package."""
    return resources.files("ai_therapist.safety").joinpath(name).read_text("utf-8")


def _expanded(pattern: str, fragments: Fragments) -> str:
    def alternatives(match: re.Match[str]) -> str:
        name = match[1]
        if name not in fragments:
            raise ValueError(f"a pattern refers to the unknown fragment {name!r}")
        return "(?:" + "|".join(_expanded(part, fragments) for part in fragments[name]) + ")"

    return _FRAGMENT.sub(alternatives, _GAP.sub(r"(?: \\w+){0,3} ", pattern))
