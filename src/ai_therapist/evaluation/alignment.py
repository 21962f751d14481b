"""Which heard speaker is which gold speaker, and which heard turn is which gold utterance, decided by time alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ai_therapist.records import TimeSpan, Utterance


class Timeline:
    """Utterances of one session, asked by time."""

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self._utterances = utterances
        self._starts_ms = np.array([utterance.span.start_ms for utterance in utterances], dtype=np.int64)
        self._ends_ms = np.array([utterance.span.end_ms for utterance in utterances], dtype=np.int64)

    def at(self, span: TimeSpan, share: float = 0) -> Utterance | None:
        """The utterance that covers most of `span`, the earlier one of equals.

        None where none touches it or the best covers less than `share` of it.
        """
        if not self._utterances:
            return None
        overlaps = np.minimum(self._ends_ms, span.end_ms) - np.maximum(self._starts_ms, span.start_ms)
        best = int(overlaps.argmax())
        return self._utterances[best] if overlaps[best] > 0 and overlaps[best] >= share * span.duration_ms else None


def best_mapping(shared: Mapping[tuple[str, str], int]) -> dict[str, str]:
    """The one-to-one mapping of heard labels to gold speakers with the most words in common.

    `shared` counts words by (heard label, gold speaker). Exact: dynamic programming over heard labels and sets of
    gold speakers already taken, 2^speakers × labels steps. A pair without a shared word is never mapped.
    """
    labels = sorted({label for label, _ in shared})
    speakers = sorted({speaker for _, speaker in shared})
    best: dict[int, tuple[int, dict[str, str]]] = {0: (0, {})}
    for label in labels:
        after = dict(best)
        for taken, (words, mapping) in best.items():
            for place, speaker in enumerate(speakers):
                gain = shared.get((label, speaker), 0)
                now = taken | 1 << place
                if gain and now != taken and words + gain > after.get(now, (0, {}))[0]:
                    after[now] = (words + gain, mapping | {label: speaker})
        best = after
    return max(best.values(), key=lambda found: found[0])[1]
