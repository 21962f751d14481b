"""The official client talks to a real server: streamed and whole, with the shell's events in a field of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.serving.servers import CALM, RISK, Running, says, serve


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(says("How was it? Tell me more.")) as server:
        yield server


def extra(answer: Any) -> Any:
    return answer.model_extra["ai_therapist"]


def events(answer: Any) -> list[str]:
    return [event["kind"] for event in extra(answer)["events"]]


def test_a_stream_is_read_by_the_official_client(running: Running) -> None:
    chunks = list(
        running.client().chat.completions.create(model="any", stream=True, messages=[{"role": "user", "content": CALM}])
    )
    kinds = [extra(chunk)["event"]["kind"] for chunk in chunks]
    assert kinds == ["disclosure", "labels", "reply", "reply", "done"]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text.startswith("> You are talking to an AI program.")
    assert text.endswith("\n\nHow was it? Tell me more.")
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 4 + ["stop"]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_whole_answer_holds_the_same_events(running: Running) -> None:
    answer = running.client().chat.completions.create(
        model="any",
        messages=[{"role": "user", "content": CALM}],
        extra_body={"ai_therapist": {"notices": "field"}},
    )
    assert answer.choices[0].message.content == "How was it? Tell me more."
    assert events(answer) == ["disclosure", "labels", "reply", "reply", "done"]
    assert extra(answer)["conversation"] is None


def test_a_card_stands_in_the_text_for_clients_that_know_no_extra_field(running: Running) -> None:
    answer = running.client().chat.completions.create(model="any", messages=[{"role": "user", "content": RISK}])
    assert "findahelpline.com" in (answer.choices[0].message.content or "")
    assert "card" in events(answer)


def test_a_conversation_goes_on_by_its_id_and_is_forgotten_on_demand(running: Running) -> None:
    client = running.client()

    def send(text: str, conversation: str) -> Any:
        return client.chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": text}],
            extra_body={"ai_therapist": {"conversation": conversation}},
        )

    first = send(RISK, "new")
    conversation = extra(first)["conversation"]
    second = send(CALM, conversation)
    assert events(second)[0] == "card", "the risk is remembered"
    assert httpx.delete(f"{running.url}/v1/conversations/{conversation}").status_code == 200
    with pytest.raises(openai.NotFoundError):
        send(CALM, conversation)


def test_models_health_helplines_and_metrics_are_there(running: Running) -> None:
    client = running.client()
    assert [model.id for model in client.models.list()] == ["scripted"]
    assert client.models.retrieve("scripted").owned_by == "ai-therapist"
    with pytest.raises(openai.NotFoundError, match="another model"):
        client.models.retrieve("openai/gpt")
    assert httpx.get(f"{running.url}/health").json()["status"] == "ok"
    assert "findahelpline.com" in httpx.get(f"{running.url}/v1/helplines").json()["text"]
    assert "ai_therapist_turns_total" in httpx.get(f"{running.url}/metrics").text
