"""Queue, cancellation and the end of the server: nobody is lost, and nothing runs on for somebody who left."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.predict import Speaker
from ai_therapist.models.scripted import ScriptedGenerator
from ai_therapist.records import Role
from ai_therapist.records.message import Message
from ai_therapist.safety.crisis import CLEAR, Assessment, Said
from ai_therapist.serving.config import ServingConfig
from ai_therapist.serving.service import Ask, ChatService
from tests.inference.scripts import Endless, Hanging
from tests.serving.servers import CALM, Running, Slow, says, serve, user

ASK = json.dumps({"messages": [user(CALM)], "stream": True}).encode()


def soon(condition: Callable[[], bool], within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def begin(running: Running, body: bytes = ASK) -> socket.socket:
    """A request on the wire whose answer nobody reads."""
    client = socket.create_connection(("127.0.0.1", running.port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)
    return client


def ask(running: Running) -> httpx.Response:
    return httpx.post(f"{running.url}/v1/chat/completions", json={"messages": [user(CALM)]}, timeout=60)


def test_sixty_four_clients_at_once_all_get_their_answer() -> None:
    with serve(says("How was it?")) as running, ThreadPoolExecutor(64) as clients:
        answers = list(clients.map(lambda _: ask(running), range(64)))
        assert [answer.status_code for answer in answers] == [200] * 64
        assert all("How was it?" in answer.text for answer in answers)
        assert soon(lambda: running.service.turnstile.running == 0)


def test_one_too_many_is_told_when_to_come_again() -> None:
    model = Slow(0.02, 50)
    with serve(model, waiting=1) as running:
        first, second = begin(running), begin(running)
        assert soon(lambda: running.service.turnstile.waiting == 1)
        refused = ask(running)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_waiting")
        assert int(refused.headers["retry-after"]) >= 1
        # Nobody has read it, and it may have been a cry for help.
        assert "findahelpline.com" in refused.json()["error"]["message"]
        with pytest.raises(openai.RateLimitError):
            running.client().chat.completions.create(model="x", messages=[{"role": "user", "content": CALM}])
        first.close()
        second.close()


def test_who_waits_too_long_is_told_so() -> None:
    with serve(Slow(0.02, 100), wait_s=0.1) as running:
        first = begin(running)
        assert soon(lambda: running.service.turnstile.running == 1)
        refused = ask(running)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_busy")
        assert "findahelpline.com" in refused.json()["error"]["message"]
        first.close()


@pytest.mark.parametrize("stream", [True, False])
def test_the_model_stops_when_its_client_leaves(stream: bool) -> None:
    model = Slow(0.01)
    with serve(model) as running:
        client = begin(running, json.dumps({"messages": [user(CALM)], "stream": stream}).encode())
        assert soon(lambda: model.written > 3)
        client.close()
        assert soon(lambda: running.service.turnstile.running == 0)
        time.sleep(0.1)
        written = model.written
        time.sleep(0.3)
        assert model.written == written
        assert 'turns_total{outcome="abandoned"} 1' in httpx.get(f"{running.url}/metrics").text


def test_a_model_that_writes_only_blanks_stops_too() -> None:
    with serve(Endless(" ")) as running:
        client = begin(running)
        assert soon(lambda: running.service.turnstile.running == 1)
        time.sleep(0.05)
        client.close()
        assert soon(lambda: running.service.turnstile.running == 0, 2)


def test_who_leaves_the_queue_is_never_asked_for() -> None:
    model = Slow(0.01, 60)
    with serve(model) as running:
        first = begin(running)
        assert soon(lambda: running.service.turnstile.running == 1)
        second = begin(running)
        assert soon(lambda: running.service.turnstile.waiting == 1)
        second.close()
        assert soon(lambda: running.service.turnstile.waiting == 0)
        assert soon(lambda: running.service.turnstile.running == 0, 10)
        assert len(model.requests) == 1
        first.close()


def test_a_hanging_model_costs_its_turn_and_not_the_next_ones() -> None:
    model = Hanging()
    with serve(model, inference=InferenceConfig(reply_timeout_s=0.3)) as running:
        assert "could not find an answer" in ask(running).text
        assert ask(running).status_code == 200
        model.release.set()


def test_a_stopped_turn_keeps_the_risk_and_forgets_the_words() -> None:
    model = Slow(0.01, 300, "well. ")
    with serve(model, inference=InferenceConfig(max_reply_chars=200)) as running:
        body = {"messages": [user("I want to kill myself.")], "stream": True, "ai_therapist": {"conversation": "new"}}
        client = begin(running, json.dumps(body).encode())
        assert soon(lambda: model.written > 3)
        (kept,) = running.service.conversations._kept.values()
        client.close()
        assert soon(lambda: not kept.busy)
        assert kept.chat.conversation.turns == ()
        body = {"messages": [user(CALM)], "ai_therapist": {"conversation": kept.id}}
        again = httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=30).json()
        assert again["ai_therapist"]["events"][0] == {**again["ai_therapist"]["events"][0], "form": "pointer"}


def test_a_conversation_answers_one_message_at_a_time_and_ids_of_others_are_unknown() -> None:
    with serve(Slow(0.01, 300, "well. "), concurrent=2) as running:

        def send(conversation: str) -> httpx.Response:
            body = {"messages": [user(CALM)], "ai_therapist": {"conversation": conversation}}
            return httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=30)

        client = begin(
            running,
            json.dumps({"messages": [user(CALM)], "stream": True, "ai_therapist": {"conversation": "new"}}).encode(),
        )
        assert soon(lambda: running.service.turnstile.running == 1)
        (kept,) = running.service.conversations._kept.values()
        assert send(kept.id).status_code == 409
        assert send("A" * 22).status_code == 404
        client.close()


class ReadsAhead(ScriptedGenerator):
    """Reads for a while what was said, once it has answered."""

    def __init__(self) -> None:
        super().__init__(["Yes."], repeat=True)
        self.go_on = threading.Event()
        self.reads = 0

    def read_ahead(self, messages: Sequence[Message]) -> None:
        """Until it is told to end."""
        self.go_on.wait(20)
        self.reads += 1


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_does_not_wait_for_what_the_model_reads_after_it(stream: bool) -> None:
    model = ReadsAhead()
    with serve(model) as running:

        def send(conversation: str) -> httpx.Response:
            body = {"messages": [user(CALM)], "stream": stream, "ai_therapist": {"conversation": conversation}}
            return httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=10)

        assert send("new").status_code == 200
        assert (model.reads, running.service.turnstile.running) == (0, 1)
        (kept,) = running.service.conversations._kept.values()
        with ThreadPoolExecutor(1) as clients:
            second = clients.submit(send, kept.id)
            # It waits for the model like any other, and is not sent away.
            assert soon(lambda: running.service.turnstile.waiting == 1)
            assert kept.busy
            model.go_on.set()
            assert second.result().status_code == 200
        assert soon(lambda: model.reads == 2 and running.service.turnstile.running == 0)
        assert soon(lambda: not kept.busy)
        assert len(kept.chat.conversation.turns) == 4


def test_a_client_that_leaves_while_its_past_is_checked_gives_the_model_back() -> None:
    def slow(text: str, *, risk_open: bool, earlier: Sequence[Said]) -> Assessment:
        time.sleep(0.2)
        return CLEAR

    service = ChatService(Speaker(says("Yes."), None, is_toy=True), None, ServingConfig(), assess=slow)

    async def leave() -> float:
        ask = Ask(CALM, earlier=[(Role.CLIENT, f"{CALM} {number}") for number in range(50)])
        async with service.turn(ask):
            await asyncio.sleep(0.1)
        begun = time.monotonic()
        while service.turnstile.running:
            await asyncio.sleep(0.01)
        return time.monotonic() - begun

    assert asyncio.run(leave()) < 1.0


def test_the_conversation_unused_for_longest_makes_room_for_a_new_one() -> None:
    with serve(says("Yes."), conversations=2) as running:

        def send(conversation: str) -> httpx.Response:
            body = {"messages": [user(CALM)], "ai_therapist": {"conversation": conversation}}
            return httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=30)

        ids = [send("new").json()["ai_therapist"]["conversation"] for _ in range(3)]
        assert [send(one).status_code for one in ids] == [404, 200, 200]


def test_a_server_that_ends_finishes_running_turns_and_takes_no_new_ones() -> None:
    model = Slow(0.01, 40, "well. ")
    answers: list[httpx.Response] = []
    with serve(model, inference=InferenceConfig(max_reply_chars=8000)) as running:
        talking = threading.Thread(target=lambda: answers.append(ask(running)))
        talking.start()
        assert soon(lambda: model.written > 2)
        running.server.should_exit = True
        talking.join(20)
    assert answers[0].status_code == 200
    assert answers[0].json()["ai_therapist"]["events"][-1]["outcome"] == "complete"
    with pytest.raises(httpx.ConnectError):
        ask(running)


def test_a_turn_that_does_not_end_in_time_is_stopped_with_the_server() -> None:
    model = Slow(0.01)
    with serve(model, drain_s=0.5) as running:
        client = begin(running)
        assert soon(lambda: model.written > 2)
        begun = time.monotonic()
    assert time.monotonic() - begun < 10
    time.sleep(0.2)
    written = model.written
    time.sleep(0.3)
    assert model.written == written
    client.close()
