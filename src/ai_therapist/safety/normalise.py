"""Text as the rules see it: lower case, no accents or apostrophes, disguised spellings undone, cut into clauses."""

import re
import unicodedata

_APOSTROPHES = re.compile(r"['’‘ʼ`´＇]")
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_LEET = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i", "|": "l"}
)
# Here and below nothing can be matched in two ways: a hostile word of 20,000 letters must not take seconds.
_LEET_WORD = re.compile(
    r"(?<![\w@$!|])(?=[\w@$!|]*[a-z])(?=[a-z]*[0134570@$!|])"
    r"!*+[a-z0134570@$|]++(?:!++[a-z0134570@$|]++)*!*(?![\w@$|])"
)
_LEET_CORE = re.compile(r"[a-z][0134570@$!|]++[a-z]|^[13450@$][a-z]{2}|(?<=[a-z]{2})[3@$]$")
_MASKED_WORD = re.compile(r"\b[a-z]+[*#][a-z*#]*[a-z]\b")
_SPELLED_OUT = re.compile(r"(?<!\w)(?:[a-z](?P<gap>[ .\-_])(?:[a-z](?P=gap)){2,}[a-z])(?!\w)")
_LONG_RUN = re.compile(r"([a-z])\1{2,}")
_ELLIPSIS = re.compile(r"\.{2,}|…")
_CLAUSE_END = re.compile(r"[.!?;:\n\r]+|,? \bbut\b |,? \balthough\b ")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|[\n\r]+")
_SHORTEST_SENTENCE, _LONGEST_SENTENCE = 3, 60
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")
_SENSITIVE = (
    "kill",
    "killing",
    "die",
    "dying",
    "death",
    "suicide",
    "suicidal",
    "harm",
    "rape",
    "raped",
    "cut",
    "cutting",
)
_LONGEST_SENSITIVE = max(map(len, _SENSITIVE))


def clauses(text: str) -> tuple[str, ...]:
    """The clauses of a message as plain words with single spaces, in order; blank ones are left out.

    A clause ends at a full stop, question mark, exclamation mark, semicolon, colon, line break or "but";
    a comma ends none. `clauses("I don't know… K!ll it. OK?")` is `("i dont know kill it", "ok")`.
    """
    plain = _undisguised(_folded(text))
    words = (_NOT_A_WORD.sub(" ", clause).strip() for clause in _CLAUSE_END.split(plain))
    return tuple(clause for clause in words if clause)


def sentences(text: str) -> list[str]:
    """The sentences of a message as they stand there, in order; at least one.

    What has fewer than three words goes with the next one, what has more than sixty is cut.
    """
    found: list[list[str]] = []
    pending: list[str] = []
    for sentence in _SENTENCE_END.split(text):
        pending += sentence.split()
        if len(pending) < _SHORTEST_SENTENCE:
            continue
        found += [pending[i : i + _LONGEST_SENTENCE] for i in range(0, len(pending), _LONGEST_SENTENCE)]
        pending = []
    if pending and found:
        found[-1] += pending
    return [" ".join(words) for words in found] or [text]


def _folded(text: str) -> str:
    if text.isascii():
        # Nothing to decompose: most messages, in a tenth of the time.
        return _APOSTROPHES.sub("", text).lower()
    decomposed = unicodedata.normalize("NFKD", text.replace("…", "...").translate(_LOOKALIKES))
    letters = "".join(char for char in decomposed if not unicodedata.combining(char))
    return _APOSTROPHES.sub("", _INVISIBLE.sub("", letters)).casefold()


def _undisguised(text: str) -> str:
    text = _ELLIPSIS.sub(" ", text)
    text = _LEET_WORD.sub(_unleeted, text)
    text = _MASKED_WORD.sub(_unmasked, text)
    text = _SPELLED_OUT.sub(lambda match: match.group().replace(match["gap"], ""), text)
    return _LONG_RUN.sub(r"\1\1", text)


def _unleeted(match: re.Match[str]) -> str:
    word = match.group()
    core = word.rstrip("!|")
    if not _LEET_CORE.search(core):
        return word
    return core.translate(_LEET) + word[len(core) :]


def _unmasked(match: re.Match[str]) -> str:
    masked = match.group()
    if len(masked) > _LONGEST_SENSITIVE:
        return masked
    shape = re.compile(re.sub(r"[*#]", "[a-z]", masked))
    return next((word for word in _SENSITIVE if shape.fullmatch(word)), masked)


# Cyrillic and Greek letters that look like Latin ones; NFKD leaves them as they are.
_LOOKALIKES = str.maketrans("аеоріскухӏΑΕΟΙο", "aeopickyxlAEOIo")
