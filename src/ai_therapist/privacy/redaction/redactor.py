"""Replaces what identifies people by stand-ins that stay the same within a session."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ai_therapist.privacy.redaction.finding import NAMED, Finder, Finding, Kind, without_overlaps
from ai_therapist.privacy.redaction.names import NameFinder, is_common
from ai_therapist.privacy.redaction.patterns import PatternFinder
from ai_therapist.privacy.redaction.spoken import SpokenNumberFinder

RULES: tuple[Finder, ...] = (PatternFinder(), SpokenNumberFinder(), NameFinder())
"""The finders that need no model, the most telling first."""


@dataclass(frozen=True)
class Redacted:
    """A text with its stand-ins, and what they stand for by kind."""

    text: str
    counts: Mapping[Kind, int]


class SessionRedactor:
    """Redacts the texts of one session: a name that any of them gives away is hidden in all of them.

    The same person has the same stand-in throughout, [PERSON_1] or, where the talk calls them family, [RELATIVE_1];
    first and last name alone lead to the same one. Stand-ins are numbered in order of appearance and mean nothing
    outside the session.
    """

    def __init__(self, texts: Iterable[str], finders: Sequence[Finder] = ()) -> None:
        self._finders = (*finders, *RULES)
        self._stand_ins: dict[str, str] = {}
        self._kinds: dict[str, Kind] = {}
        found: list[tuple[str, Kind]] = []
        for text in texts:
            found += [
                (text[finding.start : finding.end], finding.kind)
                for finding in self._find(text)
                if finding.kind in NAMED
            ]
        # Family first, so that a name which is once called a sister's is hers wherever it stands.
        for name, kind in sorted(found, key=lambda each: each[1] is not Kind.RELATIVE):
            self._enter(name, kind)

    def redact(self, text: str) -> Redacted:
        """The text with every identifier that was found replaced by its stand-in."""
        pieces: list[str] = []
        counts: Counter[Kind] = Counter()
        end = 0
        for finding in self.findings(text):
            name = text[finding.start : finding.end]
            kind = self._kinds.get(_key(name), finding.kind) if finding.kind in NAMED else finding.kind
            pieces += [text[end : finding.start], self._stand_in(name, kind)]
            counts[kind] += 1
            end = finding.end
        return Redacted("".join([*pieces, text[end:]]), counts)

    def findings(self, text: str) -> list[Finding]:
        """What would be replaced, in order and without overlaps."""
        return without_overlaps([*self._find(text), *self._known_names(text)])

    def _find(self, text: str) -> list[Finding]:
        return without_overlaps(finding for finder in self._finders for finding in finder.find(text))

    def _known_names(self, text: str) -> list[Finding]:
        """Names of the session that no rule finds here, as where the recogniser lost the capital."""
        return [
            Finding(match.start(), match.end(), self._kinds[_key(match.group())], "name of this session")
            for match in re.finditer(r"[^\W\d_]+", text)
            if _key(match.group()) in self._kinds and not is_common(match.group())
        ]

    def _enter(self, name: str, kind: Kind) -> None:
        whole = _key(name)
        parts = whole.split() if kind is not Kind.PLACE else []
        known = next((self._stand_ins[key] for key in (whole, *parts) if key in self._stand_ins), None)
        if known is None:
            number = len({each for each in self._stand_ins.values() if each.startswith(f"[{kind.value}_")}) + 1
            known = f"[{kind.value}_{number}]"
        for key in (whole, *parts):
            self._stand_ins.setdefault(key, known)
            self._kinds.setdefault(key, kind)

    def _stand_in(self, name: str, kind: Kind) -> str:
        if kind not in NAMED:
            return f"[{kind.value}]"
        if _key(name) not in self._stand_ins:
            self._enter(name, kind)
        return self._stand_ins[_key(name)]


def _key(name: str) -> str:
    """A name as it is compared: lower case, without possessive, one space between words."""
    return " ".join(re.sub(r"['’]s?(?=\s|$)", "", name.casefold()).replace(".", " ").split())
