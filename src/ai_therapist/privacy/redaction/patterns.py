"""Identifiers that their form gives away: addresses of machines and people, numbers with checksums, dates."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence

from ai_therapist.privacy.redaction.finding import Finding, Kind

_TOP_LEVEL = (
    "com|org|net|edu|gov|mil|int|info|biz|name|io|ai|app|dev|online|site|shop|blog|me|tv|cc|ws|"
    "ac|ad|ae|am|ar|at|au|az|ba|be|bg|br|by|ca|ch|cl|cn|co|cr|cz|de|dk|do|dz|ec|ee|eg|es|eu|fi|fm|fr|ge|gl|gr|gt|"
    "hk|hr|hu|id|ie|il|in|ir|is|it|jp|ke|kr|kz|la|li|lk|lt|lu|lv|ly|ma|md|mk|mn|mt|mx|my|ng|ni|nl|no|nu|nz|pa|pe|ph|"
    "pk|pl|pr|pt|py|ro|rs|ru|sa|se|sg|si|sk|st|sv|th|tk|tn|to|tr|tw|ua|ug|uk|us|uy|uz|ve|vn|za|zw"
)
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = r"(?:1[89]|20)\d\d"
_ROAD = (
    r"(?:street|st|avenue|ave|road|rd|lane|ln|drive|dr|court|ct|boulevard|blvd|way|place|pl|square|sq|terrace|"
    r"crescent|close|parkway|pkwy|highway|hwy|trail|circle|cir|row|walk|grove|mews|strasse|straße|plaza|alley|loop)"
)


def luhn_holds(digits: str) -> bool:
    """Whether the check digit of a card number fits (ISO/IEC 7812-1)."""
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def iban_holds(text: str) -> bool:
    """Whether the check digits of an IBAN fit (ISO 13616: the rearranged number is 1 modulo 97)."""
    packed = re.sub(r"[ -]", "", text).upper()
    if not 15 <= len(packed) <= 34 or not packed.isalnum():
        return False
    return int("".join(str(int(char, 36)) for char in packed[4:] + packed[:4])) % 97 == 1


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return 12 <= len(digits) <= 19 and luhn_holds(digits)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_phone(text: str) -> bool:
    return 7 <= len(re.sub(r"(?i)(?:x|ext).*|\D", "", text)) <= 15


def _always(text: str) -> bool:
    return True


_RULES: tuple[tuple[Kind, str, str, Callable[[str], bool]], ...] = (
    (Kind.EMAIL, "email", r"[\w.+%'-]+@(?:[\w-]+\.)+[\w-]+", _always),
    (
        Kind.EMAIL,
        "spoken email",
        r"\b\w+(?: (?:dot|underscore|dash) \w+)* at \w+(?: dot \w+)* dot [a-z]{2,6}\b",
        _always,
    ),
    (Kind.URL, "url", r"\b(?:https?|ftp)://[^\s<>\"]+|\bwww\.[^\s<>\"]+", _always),
    (
        Kind.IP,
        "ip",
        r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)|(?<![\w:])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}",
        _is_ip,
    ),
    (Kind.URL, "domain", rf"(?<![@\w.])(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+(?:{_TOP_LEVEL})\b(?:/[^\s]*)?", _always),
    (Kind.URL, "spoken domain", r"\b\w+ dot (?:com|org|net|edu|co dot uk)\b", _always),
    (Kind.IBAN, "iban", r"(?-i:\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}\b)", _always),
    (Kind.IBAN, "iban, lower case", r"\b[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{2,4}){3,8}[a-z0-9]{0,3}\b", iban_holds),
    (Kind.SSN, "ssn", r"(?<!\d)\d{3}[- ]\d{2}[- ]\d{4}(?!\d)", _always),
    (Kind.CARD, "card", r"(?<!\d)\d(?:[ -]?\d){11,18}(?!\d)", _is_card),
    (Kind.DATE, "date", rf"(?<!\d)(?:{_YEAR}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](?:{_YEAR}|\d\d))(?!\d)", _always),
    (Kind.DATE, "month and day", rf"\b{_MONTH},? (?:the )?{_DAY}\b(?:,? {_YEAR}\b)?|\b{_MONTH},? {_YEAR}\b", _always),
    (Kind.DATE, "day and month", rf"\b{_DAY} (?:of )?{_MONTH}(?:,? {_YEAR})?(?![a-z])", _always),
    (Kind.DATE, "year of birth", rf"(?<=born in ){_YEAR}\b|(?<=born ){_YEAR}\b", _always),
    (
        Kind.STREET,
        "street",
        rf"\b\d+[a-z]?,? (?:[\w.'-]+ ){{1,4}}?{_ROAD}\b\.?(?:,? (?:apt|apartment|suite|unit|flat)\.? ?#?\w+)?",
        _always,
    ),
    (
        Kind.STREET,
        "street, number behind",
        r"\b[A-ZÄÖÜ][\wäöüßåøæ]+(?:straße|strasse|gata|gatan|katu|vej|gade|laan|straat|weg)\s\d+\w?\b",
        _always,
    ),
    (Kind.STREET, "post box", r"\bp\.? ?o\.? box \d+\b", _always),
    (Kind.ZIP, "zip and four", r"(?<![\d-])\d{5}-\d{4}(?![\d-])", _always),
    (
        Kind.PHONE,
        "phone",
        r"(?<![\w/.])(?:\+|00)?\(?\d[\d() ./-]{5,20}\d(?:\s?(?:x|ext\.?)\s?\d{1,6})?(?![\w/])",
        _is_phone,
    ),
    (Kind.ZIP, "postcode, United Kingdom", r"\b[a-z]{1,2}\d[a-z\d]? \d[a-z]{2}\b", _always),
    (Kind.ZIP, "zip", r"(?<![\d.,$€£])\d{5}(?![\d,.]*\d)", _always),
    (Kind.NUMBER, "long number", r"(?<![\w.])[a-z]{0,3}\d(?:[ -]?\d){5,}\b", _always),
    (Kind.AGE, "age", r"\b(?:9\d|1[0-2]\d)(?=[ -]years?[ -]old)", _always),
)
"""Most telling first: where two overlap, the first one names the kind."""

_COMPILED = tuple((kind, rule, re.compile(pattern, re.IGNORECASE), holds) for kind, rule, pattern, holds in _RULES)


class PatternFinder:
    """Finds identifiers by form. Checksums decide where there are any."""

    def find(self, text: str) -> Sequence[Finding]:
        """The findings, the most telling rule first."""
        return list(self._findings(text))

    def _findings(self, text: str) -> Iterator[Finding]:
        for kind, rule, pattern, holds in _COMPILED:
            for match in pattern.finditer(text):
                if holds(match.group()):
                    yield Finding(match.start(), match.end(), kind, rule)
