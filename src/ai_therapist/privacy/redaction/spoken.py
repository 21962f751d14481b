"""Numbers and dates in words, as speech recognition writes them: "five five five one two three four"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ai_therapist.privacy.redaction.finding import Finding, Kind

_ONES = "zero|oh|one|two|three|four|five|six|seven|eight|nine"
_TEENS = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_WORD = rf"(?:{_ONES}|{_TEENS}|{_TENS}|hundred|double|triple)"
_RUN = re.compile(rf"\b{_WORD}(?:[ ,.-]+{_WORD})+\b", re.IGNORECASE)
_CUE = re.compile(
    r"\b(?:number|phone|cell|mobile|call (?:me|him|her|them)|text me|social security|ssn|zip|post ?code|account|card|"
    r"licence|license|passport|pin|code|extension|insurance|policy|reach (?:me|him|her) at)\b[^.?!]{0,30}$",
    re.IGNORECASE,
)
_MONTH = "january|february|march|april|may|june|july|august|september|october|november|december"
_ORDINAL = (
    r"(?:(?:twenty|thirty)[ -])?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|tenth|eleventh|twelfth|"
    r"thirteenth|fourteenth|fifteenth|sixteenth|seventeenth|eighteenth|nineteenth|twentieth|thirtieth"
)
_REST = rf"(?: (?:{_TEENS}|{_TENS}|{_ONES})(?:[ -](?:{_ONES}))?)?"
_YEAR = rf"(?:(?:nineteen|twenty)(?: hundred)?(?: oh)?{_REST}|two thousand(?: and)?{_REST})"
_DAY_OF_MONTH = rf"(?:{_MONTH}) (?:the )?(?:{_ORDINAL})|(?:the )?(?:{_ORDINAL}) (?:of )?(?:{_MONTH})"
_DATE = re.compile(rf"\b(?:{_DAY_OF_MONTH})\b(?:,? (?:of )?{_YEAR}\b)?", re.IGNORECASE)
_BIRTH = re.compile(rf"(?<=born in ){_YEAR}\b|(?<=back in ){_YEAR}\b", re.IGNORECASE)

MIN_WORDS = 5
"""Number words in a row that are taken for an identifier whatever stands before; fewer could be a quantity."""

MIN_WORDS_AFTER_CUE = 3
"""The same after "my number is" and the like."""


class SpokenNumberFinder:
    """Finds spelled-out dates and numbers that are too long for a quantity."""

    def find(self, text: str) -> Sequence[Finding]:
        """The findings, dates first."""
        return list(self._findings(text))

    def _findings(self, text: str) -> Iterator[Finding]:
        for rule, pattern in (("spoken date", _DATE), ("spoken year", _BIRTH)):
            for match in pattern.finditer(text):
                yield Finding(match.start(), match.end(), Kind.DATE, rule)
        for match in _RUN.finditer(text):
            words = len(re.findall(r"\w+", match.group()))
            told = _CUE.search(text[: match.start()]) is not None
            if words >= (MIN_WORDS_AFTER_CUE if told else MIN_WORDS):
                yield Finding(match.start(), match.end(), Kind.NUMBER, "spoken number")
