"""Counters of the server in Prometheus' text format: numbers only, nothing that anybody said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """What happened since the start. For one event loop."""

    def __init__(self) -> None:
        self._requests: Counter[int] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._cards: Counter[str] = Counter()
        self._first = _Histogram()
        self._whole = _Histogram()

    def answered(self, status: int) -> None:
        """A request was answered with this status."""
        self._requests[status] += 1

    def turned(self, outcome: str, first_s: float | None, whole_s: float) -> None:
        """A turn ended: its outcome, seconds to its first event and in all."""
        self._outcomes[outcome] += 1
        if first_s is not None:
            self._first.add(first_s)
        self._whole.add(whole_s)

    def carded(self, form: str) -> None:
        """A card or pointer was shown."""
        self._cards[form] += 1

    def text(self, gauges: dict[str, float]) -> str:
        """The page that Prometheus reads; `gauges` are values of this moment by name."""
        return "\n".join([*self._lines(gauges), ""])

    def _lines(self, gauges: dict[str, float]) -> Iterator[str]:
        yield from _family("requests_total", "counter", "Requests by status.")
        for status, count in sorted(self._requests.items()):
            yield f'ai_therapist_requests_total{{status="{status}"}} {count}'
        yield from _family("turns_total", "counter", "Turns by the way in which they ended.")
        for outcome, count in sorted(self._outcomes.items()):
            yield f'ai_therapist_turns_total{{outcome="{outcome}"}} {count}'
        yield from _family("cards_total", "counter", "Helpline cards and pointers shown.")
        for form, count in sorted(self._cards.items()):
            yield f'ai_therapist_cards_total{{form="{form}"}} {count}'
        yield from self._first.lines("first_event_seconds", "Seconds from request to first event.")
        yield from self._whole.lines("turn_seconds", "Seconds from request to the end of the turn.")
        for name, value in sorted(gauges.items()):
            yield from _family(name, "gauge", "Value of this moment.")
            yield f"ai_therapist_{name} {value:g}"


class _Histogram:
    def __init__(self) -> None:
        self._counts = [0] * len(_SECONDS)
        self._number = 0
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._number += 1
        self._sum += value
        for place, limit in enumerate(_SECONDS):
            self._counts[place] += value <= limit

    def lines(self, name: str, what: str) -> Iterator[str]:
        yield from _family(name, "histogram", what)
        for limit, count in zip(_SECONDS, self._counts, strict=True):
            yield f'ai_therapist_{name}_bucket{{le="{limit:g}"}} {count}'
        yield f'ai_therapist_{name}_bucket{{le="+Inf"}} {self._number}'
        yield f"ai_therapist_{name}_sum {self._sum:g}"
        yield f"ai_therapist_{name}_count {self._number}"


def _family(name: str, kind: str, what: str) -> Iterator[str]:
    yield f"# HELP ai_therapist_{name} {what}"
    yield f"# TYPE ai_therapist_{name} {kind}"
