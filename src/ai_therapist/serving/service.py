"""Turns of many clients with one model: queue, threads, cancellation, and the conversations that are kept."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.conversation import Speaking
from ai_therapist.inference.events import Card, Done, Event
from ai_therapist.inference.isolation import Stopped
from ai_therapist.inference.predict import AS_USUAL, Manner, Speaker
from ai_therapist.inference.reply import Assessor, Chat
from ai_therapist.models.protocol import GREEDY
from ai_therapist.safety import crisis
from ai_therapist.safety.crisis import Assessment
from ai_therapist.serving.config import ServingConfig
from ai_therapist.serving.conversations import Conversations
from ai_therapist.serving.metrics import Metrics
from ai_therapist.serving.refusal import wrong
from ai_therapist.serving.turnstile import Turnstile

Said = Sequence[tuple[Speaking, str]]


@dataclass(frozen=True)
class Ask:
    """One message that is to be answered, and what came before it."""

    text: str
    clip: Path | bytes | None = None
    earlier: Said = ()
    """What was said before, where no conversation is kept."""
    conversation: str | None = None
    """Id of a kept conversation, "new" for one that begins, None for a request that stands by itself."""
    max_tokens: int | None = None
    manner: Manner = AS_USUAL
    whole: bool = False
    """Whether nobody looks before the turn is over: then its thread is not interrupted for every event."""


class Turn:
    """A running turn: its events as they come, and the id of its conversation."""

    def __init__(self, conversation: str | None) -> None:
        self.conversation = conversation
        self._arrived: deque[Event | BaseException | None] = deque()
        self._news = asyncio.Event()
        self._unwanted = threading.Event()

    async def events(self) -> AsyncIterator[Event]:
        """The events in order. Raises what the shell raised, which is a fault of ours and no model's."""
        while True:
            while self._arrived:
                item = self._arrived.popleft()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
            self._news.clear()
            # What came since the last look tells of itself once more.
            if not self._arrived:
                await self._news.wait()

    def stop(self) -> None:
        """Nobody wants the rest: the model is stopped."""
        self._unwanted.set()

    def end(self, fault: BaseException | None) -> None:
        """The thread is done; `fault` is what it raised."""
        self._arrived.append(fault)
        self._news.set()

    def run(self, chat: Chat, ask: Ask, loop: asyncio.AbstractEventLoop, answered: Callable[[], None]) -> None:
        """In a thread: talk to the model until the turn is over or nobody wants it any more.

        `answered` is called in the loop once the last event is there; the model may still read ahead then.
        """
        try:
            if ask.conversation is None:
                chat.recall(ask.earlier, self._unwanted)
            shown = chat.send(ask.text, ask.clip, max_tokens=ask.max_tokens, manner=ask.manner, unwanted=self._unwanted)
            for event in shown:
                self._arrived.append(event)
                if isinstance(event, Done):
                    loop.call_soon_threadsafe(answered)
                elif not ask.whole:
                    loop.call_soon_threadsafe(self._news.set)
                if self._unwanted.is_set() and not isinstance(event, Done):
                    return
        except Stopped:
            return


class ChatService:
    """Answers messages with one model inside the safety shell. Its coroutines belong to one event loop."""

    def __init__(
        self,
        speaker: Speaker,
        inference: InferenceConfig | None = None,
        serving: ServingConfig | None = None,
        *,
        assess: Assessor = crisis.assess,
    ) -> None:
        """Raises StoreError where the crisis classifier is missing or is not the one that its card names."""
        # Once, before the first client: without its gate a server must not begin.
        crisis.prepare()
        self.speaker = speaker
        self.inference = inference or InferenceConfig()
        self.serving = serving or ServingConfig()
        self.metrics = Metrics()
        self.started = int(time.time())
        """When the service began, in seconds since 1970."""
        self.turnstile = Turnstile(self.serving.concurrent, self.serving.waiting, self.serving.wait_s)
        self.conversations = Conversations(self._begin, self.serving.conversations, self.serving.conversation_idle_s)
        self._assess = _Remembered(assess)
        self._threads = ThreadPoolExecutor(self.serving.concurrent, thread_name_prefix="turn")

    @property
    def model(self) -> str:
        """Name of the model that answers."""
        return self.speaker.generator.name

    @asynccontextmanager
    async def turn(self, ask: Ask) -> AsyncIterator[Turn]:
        """A running turn, once the model is free. Leaving the block early stops the model.

        Raises Refused where too many wait, where the wait takes too long, or where the conversation cannot be had.
        """
        kept = None if ask.conversation is None else self.conversations.take(ask.conversation)
        try:
            leave = await self.turnstile.enter()
        except BaseException:
            if kept is not None:
                self.conversations.put_back(kept)
            raise
        turn = Turn(None if kept is None else kept.id)
        chat = self._begin() if kept is None else kept.chat
        loop = asyncio.get_running_loop()

        ended = False

        def end(fault: BaseException | None = None) -> None:
            nonlocal ended
            if not ended and kept is not None:
                self.conversations.put_back(kept)
            ended = True
            turn.end(fault)

        def over(done: asyncio.Future[None]) -> None:
            leave()
            end(None if done.cancelled() else done.exception())

        # The thread, and not the client, gives the pass back: it may need a moment to notice that nobody listens, and
        # the model may read ahead.
        loop.run_in_executor(self._threads, turn.run, chat, ask, loop, end).add_done_callback(over)
        try:
            yield turn
        finally:
            turn.stop()

    def refuse_unfit(self, ask: Ask) -> None:
        """Raises Refused (400) for what this model cannot do."""
        if ask.manner.sampling != GREEDY and self.speaker.sampler is None:
            raise wrong(
                "unsupported_parameter", "temperature: this model always takes the likeliest words", "temperature"
            )

    def help(self) -> Card:
        """All helplines; needs no model."""
        return self._begin().help()

    def forget(self, conversation: str) -> bool:
        """Drop a kept conversation; False where there is none of this id."""
        return self.conversations.forget(conversation)

    async def close(self, within_s: float) -> bool:
        """Let running turns finish, take no new ones; False where some did not finish in time."""
        finished = await self.turnstile.drain(within_s)
        self._threads.shutdown(wait=False, cancel_futures=True)
        return finished

    def _begin(self) -> Chat:
        return Chat(self.speaker, self.inference, assess=self._assess)


class _Remembered:
    """The crisis check, which for words that it has read before gives the same answer at once; keeps digests only."""

    def __init__(self, assess: Assessor, most: int = 8_192) -> None:
        self._assess = assess
        self._most = most
        self._known: OrderedDict[bytes, Assessment] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, text: str, *, risk_open: bool, earlier: Sequence[crisis.Said]) -> Assessment:
        """The gravest finding in the message."""
        digest = hashlib.sha256(b"%d" % risk_open)
        for words in (text, *(f"{said.role} {said.text}" for said in earlier)):
            digest.update(hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest())
        key = digest.digest()
        with self._lock:
            found = self._known.get(key)
        if found is None:
            found = self._assess(text, risk_open=risk_open, earlier=earlier)
            with self._lock:
                self._known[key] = found
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
        return found
