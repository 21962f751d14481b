"""Real servers on loopback addresses, and models to put behind them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import openai

from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.predict import Speaker
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.models.scripted import ScriptedGenerator
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import Message
from ai_therapist.serving.config import ServingConfig
from ai_therapist.serving.run import Server, make_server
from ai_therapist.serving.service import ChatService

CALM = "We had soup and watched football."
RISK = "I want to kill myself."
Json = dict[str, object]


def says(*answers: str | Exception) -> ScriptedGenerator:
    """A model that gives these answers over and over."""
    return ScriptedGenerator(list(answers), repeat=True)


class Slow:
    """Writes `pieces` pieces, one every `every_s` seconds, and counts those that it wrote."""

    name = "slow"
    accepts = frozenset(Modality)

    def __init__(self, every_s: float, pieces: int = 10_000, piece: str = "on ") -> None:
        self._every_s = every_s
        self._pieces = pieces
        self._piece = piece
        self.written = 0
        self.requests: list[tuple[Message, ...]] = []

    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        """Pays no heed to `max_tokens`."""
        self.requests.append(tuple(messages))
        for _ in range(self._pieces):
            time.sleep(self._every_s)
            self.written += 1
            yield self._piece


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    port: int
    service: ChatService
    server: Server

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str = "none") -> openai.OpenAI:
        """The official client, which does not try again by itself."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=30)


@contextmanager
def serve(
    generator: TextGenerator,
    scorer: LabelScorer | None = None,
    *,
    inference: InferenceConfig | None = None,
    password: str | None = None,
    **settings: object,
) -> Iterator[Running]:
    """A server in a thread of this process, on a free port of the loopback address."""
    config = ServingConfig.model_validate({"port": 0, "drain_s": 5.0, **settings})
    service = ChatService(Speaker(generator, scorer, is_toy=True), inference, config)
    server = make_server(service, password=password)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield Running(server.port, service, server)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


def user(text: str) -> Json:
    """A message of the client's."""
    return {"role": "user", "content": text}
