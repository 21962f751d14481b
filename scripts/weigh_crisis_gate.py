"""Decides how the learned halves of the crisis gate are weighed and from where they speak; writes both cards.

    python scripts/weigh_crisis_gate.py

All is decided on crisis_development/, 1,866 messages of two authors who saw neither the training messages nor the
frozen set. The frozen set plays no part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from train_crisis_classifier import DEVELOPMENT, PACKAGE, Sample, written

from ai_therapist.safety.crisis_classifier import CALM, CARD_FILE, Thresholds, load_classifier
from ai_therapist.safety.crisis_encoder import CARD_FILE as ENCODER_CARD_FILE
from ai_therapist.safety.crisis_encoder import load_encoder

ALARMS = {"concern": 0.05, "risk": 0.02}
"""Share of the calm messages of crisis_development that may reach each threshold."""
IMMINENT = 0.6
MISSED_BY_WORDS = 0.01
"""Share of the messages at risk which the classifier of words may call so calm that the encoder is not asked."""


def thresholds_on(samples: Sequence[Sample], log_odds: npt.NDArray[np.float64]) -> Thresholds:
    """Thresholds that the allowed share of the calm messages reaches, and a print of what is found at them."""
    danger = 1 / (1 + np.exp(-log_odds))
    is_calm = np.array([sample.label == CALM for sample in samples])
    found = {name: round(float(np.quantile(danger[is_calm], 1 - share)), 4) for name, share in ALARMS.items()}
    for name, at in found.items():
        print(f"  {name} from {at}: {np.mean(danger[~is_calm] >= at):.3f} of {sum(~is_calm)} at risk reach it")
    for kind in sorted({sample.label for sample in samples} - {CALM}):
        mine = np.array([sample.label == kind for sample in samples])
        print(f"    {kind:16} n={sum(mine):4} {np.mean(danger[mine] >= found['concern']):.3f}")
    return Thresholds(imminent=IMMINENT, **found)


def main() -> None:
    """Weigh, choose, and write both cards."""
    words, encoder = load_classifier(), load_encoder()
    if encoder is None:
        raise SystemExit("the package of the extra `safety` is not installed")
    held = written(DEVELOPMENT)
    at_risk = np.array([sample.label != CALM for sample in held])
    readings = [words.read(sample.text) for sample in held]
    rows = np.array(
        [[reading.log_odds, encoder.scores(sample.text)[0]] for reading, sample in zip(readings, held, strict=True)]
    )
    both = LogisticRegression(C=100.0).fit(rows, at_risk)
    words_share, encoder_share = (round(float(value), 4) for value in both.coef_[0])
    clearly_calm = round(float(np.quantile(rows[at_risk, 0], MISSED_BY_WORDS)), 3)
    print(
        f"the encoder is not asked of {np.mean(rows[~at_risk, 0] < clearly_calm):.3f} of {sum(~at_risk)} calm messages"
    )
    card = encoder.card.model_copy(
        update={
            "words_share": words_share,
            "encoder_share": encoder_share,
            "offset": round(float(both.intercept_[0]), 4),
            "clearly_calm": clearly_calm,
        }
    )
    print("encoder alone")
    thresholds_on(held, rows[:, 1])
    print("words alone")
    alone = words.card.model_copy(update={"thresholds": thresholds_on(held, rows[:, 0])})
    print("both")
    reader = encoder.with_card(card)
    log_odds = [reader.read(sample.text, reading).log_odds for sample, reading in zip(held, readings, strict=True)]
    card = card.model_copy(update={"thresholds": thresholds_on(held, np.array(log_odds))})
    (PACKAGE / CARD_FILE).write_text(alone.model_dump_json(indent=2) + "\n", "utf-8")
    (PACKAGE / ENCODER_CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
