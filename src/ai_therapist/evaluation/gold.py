"""Gold transcripts: what was really said, by whom, when, with which emotion and strategy.

One JSON file per session, `NAME.json`, where NAME is the stem of the recording:

    {"session": NAME, "traits": ["clean"], "fps": "25/1", "duration_ms": 61200,
     "utterances": [{"speaker": "A", "role": "therapist", "start_ms": 500, "end_ms": 2100, "text": "…",
                     "words": [{"text": "…", "start_ms": 500, "end_ms": 760}],
                     "emotion": "neutral", "strategy": "Open questions"}]}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ai_therapist.errors import MissingInput
from ai_therapist.records import Role, Task, TimeSpan, load_codebook
from ai_therapist.records.base import Record

CLEAN = "clean"
"""Trait of a session that a transcriber should get right: two voices, no overlap, an intact file."""


def _in_any_case(role: object) -> object:
    return role.casefold() if isinstance(role, str) and not isinstance(role, Role) else role


class GoldWord(Record):
    """One word that was said, and when."""

    text: Annotated[str, Field(min_length=1, repr=False)]
    start_ms: Annotated[int, Field(ge=0)]
    end_ms: int

    @property
    def span(self) -> TimeSpan:
        """When the word was said."""
        return TimeSpan(start_ms=self.start_ms, end_ms=self.end_ms)


class GoldUtterance(Record):
    """One utterance as it really was. A label is None where there is none to give, as a client's strategy."""

    speaker: Annotated[str, Field(min_length=1)]
    role: Annotated[Role, BeforeValidator(_in_any_case)]
    start_ms: Annotated[int, Field(ge=0)]
    end_ms: int
    text: Annotated[str, Field(min_length=1, repr=False)]
    words: Annotated[tuple[GoldWord, ...], Field(repr=False)]
    emotion: str | None
    strategy: str | None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.end_ms <= self.start_ms:
            raise ValueError("end_ms must be greater than start_ms")
        if any(word.end_ms <= word.start_ms for word in self.words):
            raise ValueError("a word's end_ms must be greater than its start_ms")
        for task in (Task.EMOTION, Task.STRATEGY):
            label = self.label(task)
            if label is not None and label not in load_codebook().names(task):
                raise ValueError(f"the {task.value} is not in the codebook")
        return self

    @property
    def span(self) -> TimeSpan:
        """When it was said."""
        return TimeSpan(start_ms=self.start_ms, end_ms=self.end_ms)

    def label(self, task: Task) -> str | None:
        """The label for EMOTION or STRATEGY, or None."""
        return self.emotion if task is Task.EMOTION else self.strategy


class GoldSession(Record):
    """The gold transcript of one session."""

    session: Annotated[str, Field(min_length=1)]
    """Readable name of the session: the stem of its recording."""
    traits: frozenset[str]
    fps: str
    """Frame rate of the recording, or "variable"; for people, not for computing."""
    duration_ms: Annotated[int, Field(gt=0)]
    utterances: Annotated[tuple[GoldUtterance, ...], Field(min_length=1)]

    @field_validator("utterances")
    @classmethod
    def _one_role_per_speaker(cls, utterances: tuple[GoldUtterance, ...]) -> tuple[GoldUtterance, ...]:
        roles = {(utterance.speaker, utterance.role) for utterance in utterances}
        if len(roles) != len({speaker for speaker, _ in roles}):
            raise ValueError("a speaker has two roles")
        return utterances

    @property
    def clean(self) -> bool:
        """Whether the session counts among the clean ones."""
        return CLEAN in self.traits


def gold_files(folder: Path) -> dict[str, Path]:
    """Gold file of each session name. Raises MissingInput where the folder holds none."""
    files = {path.stem: path for path in sorted(folder.glob("*.json"))}
    if not files:
        raise MissingInput(f"{folder} holds no gold transcript: put NAME.json there for the recording NAME")
    return files
