"""Whom the chat talks to: nobody without a tuned model; else a model that is opened late and once."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ai_therapist.errors import ConfigError, MissingInput
from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.predict import Speaker
from ai_therapist.models.protocol import GREEDY, Sampling, Tally
from ai_therapist.models.scripted import ScriptedGenerator, ScriptedScorer
from ai_therapist.serving.studio.partner import LateModel, find_partner
from ai_therapist.store.workspace import Workspace
from tests.serving.servers import Slow


def test_a_workspace_without_a_tuned_model_says_how_to_make_one(workspace: Workspace) -> None:
    with ExitStack() as stack:
        speaker, silence = find_partner(workspace, InferenceConfig(), stack)
        assert "ai-therapist finetune" in str(silence)
        assert speaker.generator.name == "no model"
        with pytest.raises(MissingInput, match="ai-therapist finetune"):
            next(speaker.generator.generate([], max_tokens=5))


def test_a_model_that_is_named_is_opened_at_once(workspace: Workspace, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('{"replies": ["I hear you."], "repeat": true}')
    with ExitStack() as stack:
        speaker, silence = find_partner(workspace, InferenceConfig(model=f"scripted:{script}"), stack)
        assert silence is None
        assert "".join(speaker.generator.generate([], max_tokens=9)) == "I hear you."
    with ExitStack() as stack, pytest.raises(ConfigError):
        find_partner(workspace, InferenceConfig(model="nonsense"), stack)


def test_a_model_is_opened_at_the_first_question_and_only_once() -> None:
    opened: list[int] = []

    def open_it() -> Speaker:
        opened.append(1)
        if len(opened) == 1:
            raise MissingInput("not yet")
        return Speaker(ScriptedGenerator(["one two"], repeat=True), None, is_toy=True)

    model = LateModel("late", open_it)
    assert opened == []
    with pytest.raises(MissingInput):
        next(model.generate([], max_tokens=5))
    for _ in range(2):
        assert list(model.generate([], max_tokens=5)) == ["one ", "two"]
    assert len(opened) == 2
    with pytest.raises(ValueError, match="weighs no labels"):
        model.score([], ["joy"])


def test_words_are_drawn_by_the_model_behind_where_it_can() -> None:
    asked: dict[str, Any] = {"max_tokens": 5, "tally": Tally()}
    draws = LateModel("late", lambda: Speaker(ScriptedGenerator(["one two"], repeat=True), None, is_toy=True))
    assert list(draws.sample([], sampling=Sampling(1.0), **asked)) == ["one ", "two"]
    greedy = LateModel("late", lambda: Speaker(Slow(0.0, 2), None, is_toy=True))
    assert list(greedy.sample([], sampling=GREEDY, **asked)) == ["on ", "on "]
    with pytest.raises(ValueError, match="always takes the likeliest"):
        next(greedy.sample([], sampling=Sampling(1.0), **asked))


def test_labels_are_weighed_by_the_model_behind() -> None:
    speaker = Speaker(ScriptedGenerator(["x"]), ScriptedScorer([{"joy": 1.0}]), is_toy=True)
    assert LateModel("late", lambda: speaker).score([], ["joy"]) == {"joy": 1.0}
