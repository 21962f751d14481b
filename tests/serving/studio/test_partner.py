"""Whom the chat talks to: nobody without a tuned model; else a model that is opened late and once."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from ai_therapist.errors import MissingInput
from ai_therapist.models.protocol import TextGenerator
from ai_therapist.models.scripted import ScriptedGenerator, ScriptedScorer
from ai_therapist.records import Modality
from ai_therapist.serving.studio.partner import LateModel, find_partner
from ai_therapist.store.workspace import Workspace


def test_a_workspace_without_a_tuned_model_says_how_to_make_one(workspace: Workspace) -> None:
    with ExitStack() as stack:
        speaker, silence = find_partner(workspace, stack)
        assert "ai-therapist finetune" in str(silence)
        assert speaker.generator.name == "no model"
        with pytest.raises(MissingInput, match="no model was tuned"):
            next(speaker.generator.generate([], max_tokens=5))


def test_a_model_is_opened_at_the_first_question_and_only_once() -> None:
    opened: list[int] = []

    def open_it() -> TextGenerator:
        opened.append(1)
        if len(opened) == 1:
            raise MissingInput("not yet")
        return ScriptedGenerator(["one two"], repeat=True)

    model = LateModel("late", frozenset({Modality.TEXT}), open_it)
    assert opened == []
    with pytest.raises(MissingInput):
        next(model.generate([], max_tokens=5))
    for _ in range(2):
        assert list(model.generate([], max_tokens=5)) == ["one ", "two"]
    assert len(opened) == 2
    with pytest.raises(ValueError, match="weighs no labels"):
        model.score([], ["joy"])


def test_labels_are_weighed_by_the_model_behind() -> None:
    class Both(ScriptedGenerator, ScriptedScorer):
        """Writes and weighs from one script."""

    both = Both(["x"], repeat=True)
    model = LateModel("late", frozenset(Modality), lambda: both)
    assert list(model.generate([], max_tokens=1)) == ["x"]
