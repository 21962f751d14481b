"""Every system that can be evaluated: what it is, and whether it knows something that it must not know."""

from __future__ import annotations

from typing import NamedTuple

from ai_therapist.evaluation.config import SystemName
from ai_therapist.records import Modality
from ai_therapist.records.base import Record


class SystemNote(Record):
    """What stands beside a system's figures."""

    meaning: str
    leaks: bool
    """The system is told gold labels of earlier turns: it shows how far a leak reaches and is no rival."""


class Tuning(NamedTuple):
    """Which weights of a tuned model's folder predict, and what they are shown."""

    untuned: bool = False
    clips: str = "own"
    writes: bool = True
    keeps: Modality | None = None
    """The one part of the clip that is shown; None: all of it."""


TUNINGS: dict[SystemName, Tuning] = {
    "tuned": Tuning(),
    "tuned-text": Tuning(clips="none"),
    "tuned-shuffled": Tuning(clips="shuffled", writes=False),
    "tuned-audio": Tuning(clips="sounding", writes=False, keeps=Modality.AUDIO),
    "tuned-video": Tuning(writes=False, keeps=Modality.VIDEO),
    "base": Tuning(untuned=True),
}
"""Systems that need the folder of a tuned model."""

_MEANINGS: dict[SystemName, str] = {
    "tuned": "the tuned model",
    "tuned-text": "the tuned model without the clip: words alone",
    "tuned-shuffled": "the tuned model shown the clip of another example: what sound and picture add is lost",
    "tuned-audio": "the tuned model with the sound of the clip, without its pictures",
    "tuned-video": "the tuned model with the pictures of the clip, without its sound",
    "base": "the model before tuning, asked in the same way",
    "text-only": "TF-IDF and logistic regression on the words",
    "copy-prediction": "what text-only said of the session's previous example",
    "random": "a label drawn as often as the train split has it",
    "majority": "the most frequent label of the train split",
    "copy-gold": "the gold label of the session's previous example: a leak, not a rival",
}


def note_of(name: str) -> SystemNote:
    """The note of a system; one that is named by a model's spec is that model."""
    for known, meaning in _MEANINGS.items():
        if known == name:
            return SystemNote(meaning=meaning, leaks=known == "copy-gold")
    return SystemNote(meaning=f"the model {name}", leaks=False)
