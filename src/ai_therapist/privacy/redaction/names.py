"""Names of people and places by word lists and by what stands around them, in cased and in lower-case text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ai_therapist.privacy.redaction.finding import Finding, Kind

_MONTHS = frozenset(("april", "august", "june", "may"))
_TOKEN = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*")
_INTRODUCED = re.compile(
    r"\b(?:my (?:full |real |first |last |middle )?name(?: is|'s)|i am called|i'm called|people call me|they call me|"
    r"(?:he|she|they)(?:'s| is| are) called|(?:his|her|their|whose) name(?: is| was|'s)|named|named after|"
    r"name is|signed,?|regards,?|sincerely,?)\s+$",
    re.IGNORECASE,
)
_PLACED = re.compile(
    r"\b(?:live[sd]?|living|moved?|moving|born|grew up|grown up|raised|based|stay(?:s|ed|ing)?|study(?:ing)?|studied|"
    r"work(?:s|ed|ing)?|flew|fl(?:y|ying)|travel(?:s|led|ed|ling|ing)?|back|trip|visit(?:s|ed|ing)?|came|come|comes|from|"
    r"near|around)(?: (?:in|to|from|at|near|out|over|back|around|here))* $",
    re.IGNORECASE,
)
_IN = re.compile(
    r"\b(?:in|from|near|to|at|of|visit|visiting|via|outside|around|for|city of|town of) (?:the )?$", re.IGNORECASE
)
_INSIDE = re.compile(r"\b(?:in|near|visit|visiting|city of|town of) (?:the )?$", re.IGNORECASE)
"""What a place follows more often than anything else; firms stand behind "at" and "from" as often."""


@dataclass(frozen=True)
class _Lists:
    given: frozenset[str]
    surnames: frozenset[str]
    words_too: frozenset[str]
    places: frozenset[str]
    longest_place: int
    places_that_are_words: frozenset[str]
    surnames_that_are_words: frozenset[str]
    not_names: frozenset[str]
    never_in_lower_case: frozenset[str]
    titles: frozenset[str]
    family: frozenset[str]
    acquaintances: frozenset[str]


@cache
def _lists() -> _Lists:
    places = _read("places")
    return _Lists(
        given=_read("given_names"),
        surnames=_read("surnames"),
        words_too=_read("words_too"),
        places=frozenset(place.replace("_", " ") for place in places),
        longest_place=max(place.count("_") for place in places) + 1,
        places_that_are_words=_read("places_that_are_words"),
        surnames_that_are_words=_read("surnames_that_are_words"),
        not_names=_read("not_names") | _read("common_words"),
        never_in_lower_case=_read("never_in_lower_case"),
        titles=_read("titles"),
        family=_read("family"),
        acquaintances=_read("acquaintances"),
    )


def _read(name: str) -> frozenset[str]:
    file = resources.files("ai_therapist.privacy.redaction") / "lists" / f"{name}.txt"
    return frozenset(file.read_text("utf-8").split())


@dataclass(frozen=True)
class _Word:
    """A word with its place in the text."""

    text: str
    start: int
    end: int
    opens: bool
    """Whether it is the first of a sentence or line, where every word has a capital."""
    joined: bool
    """Whether only a space or hyphen stands between it and the word before."""

    @property
    def key(self) -> str:
        """The word as the lists have it: lower case, without a possessive."""
        return re.sub(r"['’]s?$", "", self.text.casefold())

    @property
    def capital(self) -> bool:
        """Whether it is written like a name; words all in capitals are not."""
        return self.text[:1].isupper() and not (len(self.text) > 1 and self.text.isupper())


class NameFinder:
    """Finds people and places: where case tells nothing, by lists and cues; where it does, also unknown capitals."""

    def find(self, text: str) -> Sequence[Finding]:
        """The findings: places that the lists hold, then people, then what only its capital gives away."""
        words = _words(text)
        cased = sum(word.capital and not word.opens for word in words) > 0 or any(word.capital for word in words)
        return [*_listed_places(text, words, cased), *_people(text, words, cased), *_unknown(text, words, cased)]


def _words(text: str) -> list[_Word]:
    found: list[_Word] = []
    for match in _TOKEN.finditer(text):
        gap = text[found[-1].end : match.start()] if found else ""
        # The full stop of an initial or a title ends no sentence.
        short = bool(found) and gap == ". " and (len(found[-1].text) == 1 or found[-1].key in _lists().titles)
        opens = not found or (not short and bool(re.search(r"[.!?:\n\"“(*]", gap)))
        found.append(_Word(match.group(), match.start(), match.end(), opens, short or gap in (" ", "-")))
    return found


def _listed_places(text: str, words: list[_Word], cased: bool) -> Iterator[Finding]:
    lists = _lists()
    for place, word in enumerate(words):
        written = word.capital or word.text.isupper()
        for length in range(lists.longest_place, 0, -1):
            run = words[place : place + length]
            phrase = " ".join(part.key.rstrip(".") for part in run)
            if len(run) < length or phrase not in lists.places:
                continue
            person_too = length == 1 and (
                phrase in lists.given or phrase in lists.words_too or phrase in lists.surnames
            )
            named = person_too and place + 1 < len(words) and words[place + 1].joined and words[place + 1].capital
            told = _PLACED.search(text[: word.start]) or _IN.search(text[: word.start])
            common = phrase in lists.not_names or phrase in lists.places_that_are_words
            if not named and (told or ((not cased or written) and not (person_too or common))):
                yield Finding(word.start, run[-1].end, Kind.PLACE, "list of places")
                break


def _people(text: str, words: list[_Word], cased: bool) -> Iterator[Finding]:
    place = 0
    while place < len(words):
        cue = _cue(text, words, place)
        kind = Kind.RELATIVE if cue is not None and cue.endswith("relative") else Kind.PERSON
        end = _name_end(words, place, cased, cue)
        if end > place:
            yield Finding(words[place].start, words[end - 1].end, kind, cue or "list of names")
            place = end
        else:
            place += 1


def _cue(text: str, words: list[_Word], place: int) -> str | None:
    """What before this word says that it is a name, or None."""
    if place == 0:
        return None
    lists = _lists()
    before, here = words[place - 1], words[place]
    gap = text[before.end : here.start]
    family = (
        before.key in (lists.family | lists.acquaintances)
        and place > 1
        and words[place - 2].key not in ("the", "a", "every")
    )
    if family and gap in (" ", ", ") and not here.opens:
        return "relative" if before.key in lists.family else "acquaintance"
    if before.key.rstrip(".") in lists.titles and gap in (" ", ". "):
        return "title"
    if _INTRODUCED.search(text[: here.start]):
        between = [word.key for word in words[max(0, place - 6) : place]]
        return "introduction of a relative" if lists.family.intersection(between) else "introduction"
    return None


def _name_end(words: list[_Word], place: int, cased: bool, cue: str | None) -> int:
    """Index behind the name that begins here; `place` itself where none does."""
    if not _begins(words[place], cased, cue):
        return place
    end = place + 1
    lists = _lists()
    while end < len(words) and end - place < 4 and words[end].joined:
        word = words[end]
        listed = word.key in lists.surnames or (word.key in lists.given and word.key not in lists.words_too)
        initial = cased and len(word.text.rstrip(".")) == 1 and word.text.isupper() and word.text != "I"
        if cased and not (initial or (word.capital and (listed or word.key not in lists.not_names))):
            break
        if not cased and not (
            listed and word.key not in lists.not_names and word.key not in lists.surnames_that_are_words
        ):
            break
        end += 1
    return end


def _begins(word: _Word, cased: bool, cue: str | None) -> bool:
    lists = _lists()
    told = cue is not None
    listed = word.key in lists.given or (told and (word.key in lists.surnames or word.key in lists.words_too))
    common = word.key in lists.not_names
    if cased and word.capital:
        if told:
            return not common or (listed and word.key in lists.words_too)
        # "will" opens many sentences; inside one, only a person is written "Will".
        word_too = word.key in lists.words_too
        return not word.opens if word_too and word.key not in _MONTHS else word.key in lists.given and not common
    if told and word.key not in lists.never_in_lower_case:
        # Behind "my name is" stands a name, whether or not a list knows it.
        return not common and (listed or (len(word.key) > 2 and "introduction" in (cue or "")))
    return word.key in lists.given and word.key not in lists.words_too and not common


def _unknown(text: str, words: list[_Word], cased: bool) -> Iterator[Finding]:
    """Runs of capitals that no list of common words explains, with the particles between them."""
    lists = _lists()
    place = 0
    while cased and place < len(words):
        end = place
        while end < len(words) and (end == place or words[end].joined) and _is_unexplained(words, end, place, lists):
            end += 1
        while end > place and words[end - 1].text.islower():
            end -= 1
        run = words[place:end]
        if run and (len(run) > 1 or _stands_out(text, run[0], lists)):
            where = _PLACED.search(text[: run[0].start]) or _INSIDE.search(text[: run[0].start])
            person = any(word.key in lists.surnames or word.key in lists.given for word in run)
            kind = Kind.PERSON if person else Kind.PLACE if where else Kind.NAME
            yield Finding(run[0].start, run[-1].end, kind, "unexplained capital")
        place = max(end, place + 1)


_PARTICLES = frozenset(("al", "am", "an", "da", "de", "del", "den", "der", "di", "do", "dos", "du", "el", "la", "las"))
_PARTICLES |= frozenset(("le", "les", "los", "na", "nad", "sur", "upon", "van", "von", "y", "zu"))
_AFTER_A_NAME = re.compile(
    r"(?:'s|,| and [A-Z]| (?:is|was|has|had|lives?|lived|said|says|told|works?|worked|called|calls|thinks|wants|will|"
    r"would|came|went|died|left|began|and I)\b)"
)


def _is_unexplained(words: list[_Word], place: int, first: int, lists: _Lists) -> bool:
    word = words[place]
    if place > first and word.key in _PARTICLES:
        return True
    if len(word.text) == 1:
        return place > first and word.text.isupper() and word.text != "I"
    return word.text[:1].isupper() and word.key not in lists.not_names


def _stands_out(text: str, word: _Word, lists: _Lists) -> bool:
    """Whether a single capital is a name: inside a sentence, alone on its line, or opening one as names do."""
    where = _IN.search(text[: word.start]) or _PLACED.search(text[: word.start])
    if not word.capital:
        return len(word.text) > 3 and bool(where or _is_line(text, [word]))
    if not word.opens or word.key in lists.surnames or _is_line(text, [word]):
        return True
    return _AFTER_A_NAME.match(text, word.end) is not None


def _is_line(text: str, run: Sequence[_Word]) -> bool:
    """Whether the words are a line of their own, as in a postal address."""
    before = text[: run[0].start].rpartition("\n")
    after = text[run[-1].end :].partition("\n")[0]
    return bool(before[1]) and not before[2].strip(" >\t") and not re.search(r"[a-z]", after)


def is_common(word: str) -> bool:
    """Whether a word is also an ordinary one, so that it is taken for a name only where something says so."""
    lists = _lists()
    key = word.casefold()
    return key in lists.not_names or key in lists.words_too or key in lists.surnames_that_are_words
