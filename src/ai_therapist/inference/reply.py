"""One turn inside the safety shell: check, card, labels, reply through the gate, and a fixed sentence when all fails.

message ─▶ crisis check ─▶ card or pointer ─▶ disclosure if asked
              │ imminent: a fixed reply stands instead of the model's
              └▶ labels ─▶ sentence ─▶ output gate ─▶ shown        (each sentence)
                                           ├ left out: a fixed sentence in its place, the reply goes on
                                           └ withheld: a fixed sentence, the model is stopped
           anything breaks or takes too long: a fixed sentence, and the card if a risk is open
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from threading import Event as Signal
from typing import Literal, Protocol

from ai_therapist.dataset.render import render_prompt, render_trunk
from ai_therapist.errors import RequestError
from ai_therapist.inference.clip import Attachment, as_file, look_at
from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.conversation import Conversation, Speaking
from ai_therapist.inference.events import (
    Card,
    ClipRefused,
    Disclosure,
    Done,
    Event,
    LabelsPredicted,
    Outcome,
    ReplyPiece,
    Usage,
)
from ai_therapist.inference.gated import GatedReply
from ai_therapist.inference.isolation import Broken, Stopped, settled, streamed
from ai_therapist.inference.predict import AS_USUAL, Manner, Speaker, answer_pieces
from ai_therapist.models.protocol import GREEDY, Tally
from ai_therapist.records import Role
from ai_therapist.records.message import Message
from ai_therapist.safety import card, crisis, disclosures
from ai_therapist.safety.crisis import Assessment, Level, Said
from ai_therapist.safety.policy import Handoff, Watch

FIXED_IMMINENT = (
    "I am glad that you wrote this. Please call the emergency number or go to a person now; I stay here meanwhile. "
    "Is there somebody near you whom you can ask to come?",
    "You are not in the way, and this moment can pass. Who could be with you in the next minutes? Call them, or the "
    "emergency number; you can go on writing to me.",
    "Staying near another person matters most now. Have you been able to reach anybody? I am a program and cannot "
    "call for you, and you can keep writing here.",
)
"""What stands in the model's place when a message is about imminent danger; the turns take them in order."""

_CONTEXT_TURNS = 64
"""Most earlier turns that a model is shown of which nobody knows with how many it was trained."""

_TURNS_FOR_CHECK = 12
"""Earlier turns that the crisis gate sees beside the message."""

_RECALLED_CHECKS = 10
"""Times `check_timeout_s` that checking all that is recalled may take: one client must not hold the model for ever."""

NOT_ASKED = Usage(prompt_tokens=0, completion_tokens=0)
"""Of a turn that needed no model."""


class Assessor(Protocol):
    """The crisis gate."""

    def __call__(self, text: str, *, risk_open: bool, earlier: Sequence[Said]) -> Assessment:
        """The gravest finding in a message after `earlier`, oldest first."""


@dataclass(frozen=True)
class _Sent:
    """A message of the client on its way through a turn."""

    text: str
    clip: Path | bytes | None = None
    attached: Attachment | None = None
    """The clip once it was found fit to be shown."""
    max_tokens: int = 0
    manner: Manner = AS_USUAL
    unwanted: Signal | None = None

    @property
    def path(self) -> Path | None:
        """The file that the clip came in; None for bytes, which nobody keeps."""
        return self.clip if isinstance(self.clip, Path) else None


@dataclass
class _Memory:
    """All that a chat knows of its past; forgetting replaces it by a new one."""

    conversation: Conversation = field(default_factory=Conversation.new)
    watch: Watch = field(default_factory=Watch)
    fixed_turns: int = 0
    """Fixed replies given at imminent danger, so that their words change."""
    speechless_turns: int = 0
    """Turns in which the model failed or said nothing, for the same reason."""
    disclosed_at_s: float | None = None
    """When the last disclosure was shown, by the chat's clock."""
    heard_at_s: float | None = None
    """When the last message came, by the chat's clock."""
    owed: Handoff = Handoff.NOTHING
    """What messages must still be answered with that were recalled and had no answer."""


class Chat:
    """A conversation with a model inside the safety shell. It lives in memory only and is not thread-safe."""

    def __init__(
        self,
        speaker: Speaker,
        config: InferenceConfig,
        *,
        assess: Assessor = crisis.assess,
        clock_s: Callable[[], float] = time.monotonic,
        today: Callable[[], date] = date.today,
    ) -> None:
        """`clock_s` counts seconds of use for the reminder; `today` decides which numbers are still verified."""
        # Without its gate a chat must not begin, and the first message must not wait for the weights.
        crisis.prepare()
        self._speaker = speaker
        self._config = config
        known = speaker.context_turns if config.context_turns is None else config.context_turns
        self._context_turns = _CONTEXT_TURNS if known is None else known
        self._assess = assess
        self._clock_s = clock_s
        self._today = today
        self._memory = _Memory()

    def opening(self) -> list[Event]:
        """The disclosure that stands before everything else; `send` gives it first where nobody called this."""
        return self._opening("opening")

    def _opening(self, moment: Literal["opening", "absence"]) -> list[Event]:
        self._memory.disclosed_at_s = self._clock_s()
        model = self._speaker.generator.name
        return [Disclosure(moment=moment, text=disclosures.opening(model, self._speaker.is_toy))]

    def help(self) -> Card:
        """All helplines; needs no network and no model."""
        return Card(form="help", assessment=None, text=card.help_card(self._config.country, self._today()))

    def forget(self) -> None:
        """Drop every turn and every memory of risk; the next message begins a conversation of its own."""
        self._memory = _Memory()

    @property
    def model(self) -> str:
        """Name of the model that answers."""
        return self._speaker.generator.name

    @property
    def samples(self) -> bool:
        """Whether the model can draw its words."""
        return self._speaker.sampler is not None

    @property
    def conversation(self) -> Conversation:
        """What was said, and what was shown as an answer."""
        return self._memory.conversation

    def recall(self, said: Iterable[tuple[Speaking, str]], unwanted: Signal | None = None) -> None:
        """Go on from what was said before, as if it had been said here: the client's words are checked again.

        Blank turns are left out. Where the model has spoken, the opening counts as shown. What follows the last words
        of the model was never answered: a card that it asks for comes with the next message. When checking all takes
        longer than ten messages may, the rest counts as at risk. Raises Stopped where another thread sets `unwanted`.
        """
        until_s = time.monotonic() + _RECALLED_CHECKS * self._config.check_timeout_s
        for role, text in said:
            if unwanted is not None and unwanted.is_set():
                raise Stopped
            if not text.strip():
                continue
            text = _writable(text)
            if role is Role.CLIENT:
                found = self._checked(text) if time.monotonic() < until_s else crisis.UNCHECKED
                self._memory.watch, handoff = self._memory.watch.after(found)
                self._memory.owed = max(self._memory.owed, handoff)
            else:
                self._memory.owed = Handoff.NOTHING
                if self._memory.disclosed_at_s is None:
                    self._memory.disclosed_at_s = self._clock_s()
            self._memory.conversation = self.conversation.with_turn(role, text)

    def send(
        self,
        text: str,
        clip: Path | bytes | None = None,
        *,
        max_tokens: int | None = None,
        manner: Manner = AS_USUAL,
        unwanted: Signal | None = None,
    ) -> Iterator[Event]:
        """Everything that is to be shown after a message of the client, as it comes; Done is the last.

        `clip` is a video, a sound or a picture, as a file or as its bytes; what it is follows from its content.
        `max_tokens` may lower the limit of the settings; `manner` says how the model's words are chosen and where they
        end, and holds for nothing that the shell itself says. When another thread sets `unwanted`, the model is stopped
        and Stopped is raised: the risk that the message showed is remembered, its words are not. "/help" shows the
        helplines and asks no model.

        Raises RequestError for a message without words, since nothing checks what is only heard or seen in a clip, and
        for a sampling that the model cannot do.
        """
        if not text.strip():
            raise RequestError("write a few words, with a clip too: the safety check reads words only")
        text = _writable(text)
        if text.strip().lower() == "/help":
            return iter((self.help(), Done(outcome="help", usage=NOT_ASKED)))
        if manner.sampling != GREEDY and not self.samples:
            raise RequestError(f"{self.model} always takes the likeliest words: leave sampling out")
        limit = self._config.max_tokens if max_tokens is None else min(max_tokens, self._config.max_tokens)
        return self._turn(_Sent(text, clip, max_tokens=limit, manner=manner, unwanted=unwanted))

    def _turn(self, sent: _Sent) -> Iterator[Event]:
        text = sent.text
        yield from self._due_disclosure()
        found = self._checked(text)
        self._memory.watch, handoff = self._memory.watch.after(found)
        handoff, self._memory.owed = max(handoff, self._memory.owed), Handoff.NOTHING
        if handoff is not Handoff.NOTHING:
            yield self._card("full" if handoff is Handoff.CARD else "pointer", found)
        if disclosures.is_asked(text):
            yield Disclosure(moment="asked", text=disclosures.answer(self._speaker.is_toy))
        if found.at_risk and self._memory.watch.open.level is Level.IMMINENT:
            yield from self._fixed_imminent(text)
            return
        with ExitStack() as files:
            if sent.clip is not None:
                seen = self._looked_at(sent.clip, files)
                if isinstance(seen, ClipRefused):
                    sent = replace(sent, clip=None)
                    yield seen
                else:
                    sent = replace(sent, attached=seen)
            yield from self._answered(sent, handoff)

    def _looked_at(self, clip: Path | bytes, files: ExitStack) -> Attachment | ClipRefused:
        """The clip as the model may be shown it, there until `files` is closed; no fault of it ends the turn."""

        def look() -> Attachment | ClipRefused:
            path = files.enter_context(as_file(clip))
            return look_at(path, self._config.max_clip_s, self._speaker.generator.accepts)

        seen = settled(look, self._config.reply_timeout_s)
        if not isinstance(seen, Broken):
            return seen
        return ClipRefused(reason=f"the clip could not be looked at ({seen.error or 'it took too long'})")

    def _due_disclosure(self) -> Iterator[Event]:
        now_s = self._clock_s()
        disclosed_at_s, heard_at_s = self._memory.disclosed_at_s, self._memory.heard_at_s
        self._memory.heard_at_s = now_s
        if disclosed_at_s is None:
            yield from self.opening()
        elif heard_at_s is not None and now_s - heard_at_s >= disclosures.ABSENCE_S:
            yield from self._opening("absence")
        elif now_s - disclosed_at_s >= disclosures.REPEAT_AFTER_S:
            self._memory.disclosed_at_s = now_s
            yield Disclosure(moment="three_hours", text=disclosures.reminder())

    def _checked(self, text: str) -> Assessment:
        """The assessment of a message; one that fails or hangs counts as a risk."""
        open_before = self._memory.watch.is_open
        earlier = tuple(Said(turn.role, turn.text) for turn in self.conversation.window(_TURNS_FOR_CHECK))
        return self._settled(lambda: self._assess(text, risk_open=open_before, earlier=earlier))

    def _settled(self, check: Callable[[], Assessment]) -> Assessment:
        found = settled(check, self._config.check_timeout_s)
        return crisis.UNCHECKED if isinstance(found, Broken) else found

    def _card(self, form: Literal["full", "pointer"], found: Assessment) -> Card:
        about = self._memory.watch.subject(found)
        if form == "pointer":
            return Card(form=form, assessment=about, text=card.pointer(self._memory.watch.pointers))
        return Card(form=form, assessment=about, text=card.full_card(about, self._config.country, self._today()))

    def _fixed_imminent(self, text: str) -> Iterator[Event]:
        reply = FIXED_IMMINENT[self._memory.fixed_turns % len(FIXED_IMMINENT)]
        self._memory.fixed_turns += 1
        self._remember(_Sent(text), reply)
        yield ReplyPiece(source="fixed", text=reply)
        yield Done(outcome="imminent", usage=NOT_ASKED)

    def _remember(self, sent: _Sent, reply: str) -> None:
        """Keep what was said and what was shown; what was withheld is not among it."""
        said = self.conversation.with_turn(Role.CLIENT, sent.text, sent.path)
        self._memory.conversation = said.with_turn(Role.THERAPIST, reply)

    def _answered(self, sent: _Sent, handoff: Handoff) -> Iterator[Event]:
        reply = GatedReply(
            self._config.max_reply_chars, (*self._said_by_client(), sent.text), self._memory.speechless_turns
        )
        tally = Tally()
        with closing(streamed(lambda: self._ask(sent, tally), self._config.reply_timeout_s, sent.unwanted)) as items:
            for item in items:
                if isinstance(item, LabelsPredicted):
                    yield item
                    continue
                yield from reply.broken(item) if isinstance(item, Broken) else reply.take(item)
                if reply.outcome is not None:
                    break
        yield from reply.finish()
        self._memory.speechless_turns += reply.failed or reply.outcome == "empty"
        self._remember(sent, reply.shown)
        yield from self._handoff_after(reply, handoff)
        ended: Outcome = "stopped_at_limit" if tally.at_limit else "complete"
        yield Done(outcome=reply.outcome or ended, error=reply.error, usage=_usage(tally))
        if self._config.read_ahead and not reply.failed:
            self._read_ahead()

    def _read_ahead(self) -> None:
        """After all is shown, by a model that keeps what it has read; a failure shows when it is asked next."""
        reader = self._speaker.ahead_reader
        if reader is None:
            return
        trunk = render_trunk(self.conversation.context(self._context_turns))
        wait_s = self._config.reply_timeout_s

        def read() -> None:
            with self._speaker.held(wait_s):
                reader.read_ahead(trunk)

        settled(read, wait_s)

    def _said_by_client(self) -> tuple[str, ...]:
        return tuple(turn.text for turn in self.conversation.window(_TURNS_FOR_CHECK) if turn.role is Role.CLIENT)

    def _ask(self, sent: _Sent, tally: Tally) -> Iterator[LabelsPredicted | str]:
        shown_text = sent.text[-self._config.message_chars :]
        words = shown_text if shown_text.strip() else sent.text
        client = self.conversation.with_turn(Role.CLIENT, words).turns[-1]
        *before, now = render_prompt(self.conversation.context(self._context_turns), client.turn, None)
        if sent.attached is not None:
            now = Message(role="user", parts=(sent.attached, *now.parts))
        return answer_pieces(
            self._speaker,
            [*before, now],
            sent.max_tokens,
            self._config.reply_timeout_s,
            manner=sent.manner,
            tally=tally,
        )

    def _handoff_after(self, reply: GatedReply, handoff: Handoff) -> Iterator[Event]:
        """The card after a reply that failed while a risk is open, a pointer after one that speaks of a risk."""
        if reply.failed and self._memory.watch.is_open and handoff is not Handoff.CARD:
            yield self._card("full", self._memory.watch.open)
        elif handoff is Handoff.NOTHING and reply.from_model:
            spoken_of = self._settled(lambda: crisis.assess_reply(reply.from_model))
            if spoken_of.at_risk:
                yield self._card("pointer", spoken_of)


def _writable(text: str) -> str:
    """The text with a mark for every half character, which a terminal makes of bytes that are no text."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _usage(tally: Tally) -> Usage | None:
    if tally.read is None or tally.written is None:
        return None
    return Usage(prompt_tokens=tally.read, completion_tokens=tally.written)
