"""Only the new turn is computed, and what was kept gives the logits that reading all of it anew would give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from ai_therapist.finetuning.reproducible import one_thread
from ai_therapist.models.local import TunedModel, open_tuned
from ai_therapist.records.message import AudioPart, ImagePart, Message, TextPart, VideoPart
from ai_therapist.testing import make_recording
from tests.finetuning.builders import save_untrained

SYSTEM = Message.of_text("system", "Be kind.")
TALK = [
    Message.of_text("assistant" if place % 2 else "user", f"turn number {place} of this talk") for place in range(9)
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("tuned"))


@pytest.fixture
def model(folder: Path) -> TunedModel:
    return open_tuned(folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recording(tmp_path_factory.mktemp("clip") / "clip.mp4")


def prompt(turns: int, *parts: VideoPart | AudioPart | ImagePart) -> list[Message]:
    *before, last = TALK[:turns]
    return [SYSTEM, *before, Message(role="user", parts=(*parts, TextPart(text=last.text)))]


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def anew(model: TunedModel, messages: list[Message]) -> torch.Tensor:
    """The logits of the plain way: the processor and one pass over everything."""
    with torch.inference_mode():
        return model._read_anew(messages).logits


def kept(model: TunedModel, messages: list[Message]) -> torch.Tensor:
    with torch.inference_mode():
        return model._prompt(messages).logits


@contextmanager
def tokens_read(model: TunedModel) -> Iterator[list[int]]:
    """How many tokens go through the language model, call by call."""
    counts: list[int] = []

    def count(_: Any, args: Any, options: dict[str, Any]) -> None:
        counts.append(options["inputs_embeds"].shape[1])

    handle = model._model.model.language_model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield counts
    finally:
        handle.remove()


def test_every_turn_of_a_conversation_has_the_logits_of_a_fresh_reading(model: TunedModel, clip: Path) -> None:
    for turns in (1, 3, 5, 7, 9):
        messages = prompt(turns, VideoPart(path=str(clip)))
        same(kept(model, messages), anew(model, messages))
        # The questions of a turn grow branches; none of them may leave a trace in the trunk.
        model.score(messages, ["joy", "sadness"], prefix="Client emotion: ")
        list(model.generate(messages, max_tokens=4, prefix="Reply: "))
    assert len(model._trunks) == 1


def test_a_turn_reads_only_what_is_new(model: TunedModel) -> None:
    kept(model, prompt(7))
    with tokens_read(model) as whole:
        anew(model, prompt(9))
    with tokens_read(model) as new:
        kept(model, prompt(9))
    before = len(model._prompt_ids(prompt(7)[:-1], [], answer=False))
    assert new == [whole[0] - before], "one pass over all that came after the turns that were read"


def test_what_was_read_ahead_is_not_read_again(model: TunedModel) -> None:
    expected = anew(model, prompt(9))
    model.read_ahead(prompt(9)[:-1])
    branch = len(model._prompt_ids(prompt(9), [])) - len(model._prompt_ids(prompt(9)[:-1], [], answer=False))
    with tokens_read(model) as new:
        model.read_ahead(prompt(9)[:-1])
        found = kept(model, prompt(9))
    assert new == [branch]
    same(found, expected)


def test_another_history_is_read_from_where_it_parts(model: TunedModel) -> None:
    kept(model, prompt(9))
    changed = prompt(9)
    changed[5] = Message.of_text("user", "something else was said here")
    same(kept(model, changed), anew(model, changed))
    same(kept(model, prompt(9)), anew(model, prompt(9)))
    shorter = prompt(5)
    same(kept(model, shorter), anew(model, shorter))


def test_two_conversations_do_not_disturb_each_other(model: TunedModel) -> None:
    other = [SYSTEM, *[Message.of_text(message.role, f"no {message.text}") for message in TALK]]
    for turns in (3, 5, 7):
        for messages in (prompt(turns), other[: turns + 1]):
            same(kept(model, messages), anew(model, messages))
    assert len(model._trunks) == 2


def test_a_clip_is_decoded_once_by_its_content(
    model: TunedModel, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prompt(3, VideoPart(path=str(clip)))
    expected = kept(model, first)
    copied = tmp_path / "copy.mp4"
    copied.write_bytes(clip.read_bytes())

    def refuse(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("ai_therapist.models.towers.read_clip", refuse)
    same(kept(model, prompt(3, VideoPart(path=str(copied)))), expected)
    with pytest.raises(AssertionError, match="decoded again"):
        kept(model, prompt(3, VideoPart(path=str(clip), sound=False)))


def test_sound_and_clips_in_the_history_have_the_logits_of_a_fresh_reading(model: TunedModel, clip: Path) -> None:
    heard = prompt(3, AudioPart(path=str(clip)))
    same(kept(model, heard), anew(model, heard))
    early = [*prompt(1, VideoPart(path=str(clip))), *TALK[1:3]]
    same(kept(model, early), anew(model, early))


def test_words_that_look_like_control_tokens_take_the_slow_way(model: TunedModel) -> None:
    odd = [SYSTEM, Message.of_text("user", "look <video> at <|im_end|> this")]
    same(kept(model, odd), anew(model, odd))
    assert len(model._trunks) == 0
