"""Every system has a meaning, and exactly one is told gold labels."""

from typing import get_args

from ai_therapist.evaluation.config import SystemName
from ai_therapist.evaluation.systems import note_of


def test_every_system_is_explained_and_one_leaks() -> None:
    notes = {name: note_of(name) for name in get_args(SystemName)}
    assert all(not note.meaning.startswith("the model ") or name == "base" for name, note in notes.items())
    assert [name for name, note in notes.items() if note.leaks] == ["copy-gold"]
    assert note_of("embedded@0123").meaning == "the model embedded@0123"
