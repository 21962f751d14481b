"""What a turn does, told from its form: whether it asks, how it opens and ends, whom it speaks of, how long it is.

Counselling behaviours differ in form before they differ in topic: a question asks, a reflection speaks of "you" and
does not, advice opens with "you could". These cues say so to a linear classifier, which cannot see that a mark stands
at the end of a turn and not in its middle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
_PERSONS = {
    "you": frozenset({"you", "your", "youre", "youve", "youd", "yourself"}),
    "i": frozenset({"i", "im", "ive", "id", "my", "me", "ill"}),
    "we": frozenset({"we", "us", "lets", "our"}),
}
_LENGTHS = (1, 2, 4, 8, 16, 32, 64)
_MOST_QUESTIONS = 3
_OPENING_WORDS = 3
_LAST_WORDS = 3
_SHARE_STEPS = 10
_LARGEST_STEP = 3


def cues_of(text: str, tokens_of: Callable[[str], Sequence[str]]) -> set[str]:
    """Cues of a turn as text with punctuation; `tokens_of` gives its words and marks in lower case."""
    tokens = tokens_of(text)
    words = [token for token in tokens if token not in "?!"]
    cues = {f"questions {min(text.count('?'), _MOST_QUESTIONS)}"}
    cues |= {f"at least {length} words" for length in _LENGTHS if len(words) >= length}
    for name, forms in _PERSONS.items():
        share = sum(word in forms for word in words) / max(1, len(words))
        cues.add(f"share of {name} {min(int(share * _SHARE_STEPS), _LARGEST_STEP)}")
    stripped = text.rstrip()
    if stripped.endswith("?"):
        cues.add("ends asking")
    if stripped.endswith("-"):
        cues.add("breaks off")
    sentences = [sentence for sentence in _SENTENCE_END.split(text.strip()) if sentence]
    return cues | _sentence_cues(sentences, tokens_of) if sentences else cues


def _sentence_cues(sentences: Sequence[str], tokens_of: Callable[[str], Sequence[str]]) -> set[str]:
    first, last = tokens_of(sentences[0]), tokens_of(sentences[-1])
    cues = {f"opens {' '.join(first[:length])}" for length in range(1, _OPENING_WORDS + 1)}
    cues |= {f"last sentence opens {' '.join(last[:length])}" for length in range(1, _OPENING_WORDS)}
    cues |= {f"near the end {token}" for token in last[-_LAST_WORDS:]}
    asking = sum("?" in sentence for sentence in sentences) / len(sentences)
    cues.add(f"quarters asking {int(4 * asking)}")
    if "?" in sentences[0]:
        cues.add("begins asking")
    return cues
