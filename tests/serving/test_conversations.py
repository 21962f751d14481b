"""Conversations that are kept: ids nobody guesses, one turn at a time, forgotten when idle."""

from __future__ import annotations

import pytest

from ai_therapist.serving.conversations import Conversations
from ai_therapist.serving.refusal import Refused
from tests.inference.scripts import make_chat, replying


def kept(most: int = 2) -> tuple[Conversations, list[float]]:
    now = [0.0]
    return Conversations(lambda: make_chat(replying("Yes.")), most, 60.0, clock_s=lambda: now[0]), now


def status(conversations: Conversations, wanted: str) -> int:
    with pytest.raises(Refused) as caught:
        conversations.take(wanted)
    return caught.value.status


def test_an_idle_one_is_forgotten_and_a_busy_one_is_not() -> None:
    conversations, now = kept()
    idle, busy = conversations.take("new"), conversations.take("new")
    conversations.put_back(idle)
    now[0] = 61.0
    assert status(conversations, idle.id) == 404
    assert status(conversations, busy.id) == 409
    conversations.put_back(busy)
    now[0] = 120.0
    assert conversations.take(busy.id) is busy


def test_where_all_are_busy_a_new_one_has_to_wait() -> None:
    conversations, _ = kept(most=1)
    first = conversations.take("new")
    assert status(conversations, "new") == 503
    conversations.put_back(first)
    second = conversations.take("new")
    assert status(conversations, first.id) == 404
    assert second.id != first.id
    assert len(second.id) == 22
