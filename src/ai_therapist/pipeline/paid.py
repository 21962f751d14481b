"""Paid jobs on other computers are begun once, whatever is killed when and however many work on the same item.

    prepare ─ intent n ─ submit ─────────── ticket ─ ask for the result
                 │          └ killed here:    │
                 │            the service is looked through for the mark of intent n until the job is there or
                 │            it surely never came, and only then intent n+1 is written
                 └ created by one attempt only; the others wait for its ticket

What `prepare` does costs nothing and may be done twice. An intent is created where there is none of its number, so of
several attempts, processes and machines one alone submits. `settle_s` bounds how long the service may take from
getting a request to listing the job: one that takes longer can be paid for twice, and nothing here can know.
"""

from __future__ import annotations

from typing import Protocol

from ai_therapist.errors import Postponed, ServerBusy, TransientError
from ai_therapist.pipeline.limits import Clock
from ai_therapist.store.actions import IntentRecord, TicketRecord
from ai_therapist.store.blobs import Store

_SUBMISSIONS = 4
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_LONGEST_OTHER_S = 1800.0
"""How long an attempt of this machine may be at a submission; its process number may have gone to another program."""


class PaidService(Protocol):
    """What begins paid jobs, each with a mark by which it is found again."""

    name: str
    """Name of the service, for messages."""
    settle_s: float
    """Seconds within which a job that was asked for is listed."""

    @property
    def clock(self) -> Clock:
        """What time it is."""

    def prepare(self) -> str:
        """Do what costs nothing; returns the mark that the job will bear."""

    def submit(self, mark: str) -> str | None:
        """Begin the job, in one request; returns its id, or None where the mark is not valid any more.

        Raises ServerBusy where the service asks for a pause and has begun nothing, another TransientError where
        nobody can say whether it began, and anything else where it surely did not.
        """

    def find(self, mark: str, since_s: float) -> str | None:
        """Id of the job that bears a mark, begun at `since_s` (seconds since 1970) or later; None where none is."""


def obtain(store: Store, about: TicketRecord, by: str, service: PaidService) -> str:
    """Id of the paid job of an action, whose ticket stands when this returns.

    `about` names the action; its `ticket` is not read. `by` is the private folder of this attempt. Raises Postponed
    where the service stays out of reach, and what `service` raises.
    """
    return _Purchase(store, about, by, service).obtain()


class _Purchase:
    def __init__(self, store: Store, about: TicketRecord, by: str, service: PaidService) -> None:
        self._store = store
        self._about = about
        self._by = by
        self._service = service
        self._problem: TransientError | None = None

    def obtain(self) -> str:
        key, mark, refused, submissions = self._about.key, None, -1, 0
        while True:
            standing = self._store.ticket(key)
            if standing is not None:
                return standing.ticket
            intents = self._store.intents(key)
            if intents and intents[-1].number != refused:
                identity = self._looked_for(intents[-1], min(one.at_s for one in intents))
                if identity is not None:
                    return self._keep(identity)
                mark = intents[-1].mark
            if submissions == _SUBMISSIONS:
                raise Postponed(
                    f"{self._service.name}: {_SUBMISSIONS} submissions failed, the last one with: {self._problem}: "
                    "run it again later"
                )
            mark = mark or self._service.prepare()
            number = len(intents)
            if not self._store.intend(self._intent(number, mark)):
                continue
            submissions += 1
            try:
                identity = self._service.submit(mark)
            except ServerBusy as error:
                self._problem, refused = error, number
                self._pause(submissions)
            except TransientError as error:
                self._problem = error
            else:
                if identity is not None:
                    return self._keep(identity)
                mark, refused = None, number
                self._problem = TransientError("what was sent before has expired")

    def _looked_for(self, intent: IntentRecord, since_s: float) -> str | None:
        """The job of an intent without a ticket, or None once it is sure that there is none."""
        clock = self._service.clock
        if intent.by != self._by:
            self._wait_for(intent)
        until, looks = clock.now() + self._service.settle_s, 0
        while True:
            standing = self._store.ticket(intent.key)
            if standing is not None:
                return standing.ticket
            # A look that begins after the time is up is the one that counts.
            last = clock.now() >= until
            identity = self._service.find(intent.mark, since_s)
            if identity is not None or last:
                return identity
            looks += 1
            self._pause(looks, until - clock.now())

    def _wait_for(self, intent: IntentRecord) -> None:
        """Let another attempt of this machine come to its end, or to its ticket."""
        clock = self._service.clock
        until = clock.now() + _LONGEST_OTHER_S
        while self._store.is_at_work(intent.by) and self._store.ticket(intent.key) is None:
            if clock.now() >= until:
                raise Postponed(f"{self._service.name}: another process is about to submit it: run it again later")
            clock.sleep(_FIRST_PAUSE_S)

    def _pause(self, attempt: int, at_most_s: float = _LONGEST_PAUSE_S) -> None:
        pause_s = min(_FIRST_PAUSE_S * 2.0 ** (attempt - 1), _LONGEST_PAUSE_S, max(at_most_s, 0.01))
        self._service.clock.sleep(pause_s)

    def _intent(self, number: int, mark: str) -> IntentRecord:
        about = self._about
        now_s = int(self._service.clock.now())
        return IntentRecord(
            key=about.key, stage=about.stage, item=about.item, number=number, mark=mark, by=self._by, at_s=now_s
        )

    def _keep(self, identity: str) -> str:
        return self._store.keep_ticket(self._about.model_copy(update={"ticket": identity})).ticket
