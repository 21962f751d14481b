"""Decides how the learned halves of the crisis gate are weighed and from where they speak; writes both cards.

    python scripts/weigh_crisis_gate.py

How they are weighed is decided on crisis_development/, 1,866 messages of two authors who saw neither the training
messages nor what is measured; its calm messages are harder than most talk. From where they speak is decided on the
first half of tests/safety/unseen, a fair sample. Nothing here reads its second half or the frozen set; but the
constants below were chosen with their totals in view (docs/safety.md). The cards of words and first encoder are for a
machine without the larger one, whose own card says how all three are weighed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from train_crisis_classifier import DEVELOPMENT, PACKAGE, ROOT, Sample, written

from ai_therapist.safety.crisis_classifier import (
    CALM,
    CARD_FILE,
    CrisisClassifier,
    Thresholds,
    load_classifier,
)
from ai_therapist.safety.crisis_encoder import CARD_FILE as ENCODER_CARD_FILE
from ai_therapist.safety.crisis_encoder import CrisisEncoder, EncoderCard, load_encoder
from ai_therapist.safety.crisis_second import CARD_FILE as SECOND_CARD_FILE
from ai_therapist.safety.crisis_second import SecondCard

FAIR = ROOT / "tests" / "safety" / "unseen"
ALARMS = {"concern": 0.02, "risk": 0.015}
"""Share of the calm messages of the fair sample that may reach each threshold: less than the bar allows a gate.

The rules add some two hundredths.
"""
ALARMS_OF_ALL = {"concern": 0.0275, "risk": 0.0125}
"""The same where the larger encoder is installed, which silences more of the rules."""
IMMINENT = 0.6
FOUND_AT = 0.05
MISSED_BY_WORDS = 0.01
"""Share that the words alone may call so calm that the encoder is not asked, of what both find together.

They find it from where FOUND_AT of the calm messages raise an alarm.
"""
SURE = 3.0
"""Log-odds (twenty to one) from which somebody is sure who is asked before the larger encoder.

Words as sure of calm spare both encoders; words and first encoder together, sure of calm or of danger, spare the larger
one. A higher number finds a little more, and asks an encoder of most messages.
"""


def thresholds_on(
    samples: Sequence[Sample], log_odds: npt.NDArray[np.float64], alarms: Mapping[str, float] = ALARMS
) -> Thresholds:
    """Thresholds that the allowed share of the calm messages reaches, and a print of what is found at them."""
    danger = 1 / (1 + np.exp(-log_odds))
    is_calm = np.array([sample.label == CALM for sample in samples])
    found = {name: round(float(np.quantile(danger[is_calm], 1 - share)), 4) for name, share in alarms.items()}
    for name, at in found.items():
        print(f"  {name} from {at}: {np.mean(danger[~is_calm] >= at):.3f} of {sum(~is_calm)} at risk reach it")
    for kind in sorted({sample.label for sample in samples} - {CALM}):
        mine = np.array([sample.label == kind for sample in samples])
        print(f"    {kind:16} n={sum(mine):4} {np.mean(danger[mine] >= found['concern']):.3f}")
    return Thresholds(imminent=IMMINENT, **found)


def log_odds_of(samples: Sequence[Sample], words: CrisisClassifier, encoder: CrisisEncoder) -> npt.NDArray[np.float64]:
    """Log-odds [messages, 3] of words and encoders for every message as a whole; without the larger one it counts 0."""
    second = encoder.second
    return np.array(
        [
            (
                words.read(sample.text).log_odds,
                encoder.scores(sample.text)[0],
                0.0 if second is None else second.scores(sample.text)[0],
            )
            for sample in samples
        ]
    )


def weigh_first(
    held: Sequence[Sample], fair: Sequence[Sample], words: CrisisClassifier, encoder: CrisisEncoder
) -> EncoderCard:
    """The card of the first encoder; that of the words is written on the way."""
    rows = log_odds_of(held, words, encoder)
    at_risk = np.array([sample.label != CALM for sample in held])
    both = LogisticRegression(C=100.0).fit(rows[:, :2], at_risk)
    words_share, encoder_share = (round(float(value), 4) for value in both.coef_[0])
    together = both.decision_function(rows[:, :2])
    found = at_risk & (together >= np.quantile(together[~at_risk], 1 - FOUND_AT))
    clearly_calm = round(float(np.quantile(rows[found, 0], MISSED_BY_WORDS)), 3)
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
    rows = log_odds_of(fair, words, encoder)
    print("encoder alone")
    thresholds_on(fair, rows[:, 1])
    print("words alone")
    alone = words.card.model_copy(update={"thresholds": thresholds_on(fair, rows[:, 0])})
    (PACKAGE / CARD_FILE).write_text(alone.model_dump_json(indent=2) + "\n", "utf-8")
    print("both")
    reader = encoder.with_cards(card, None)
    log_odds = [reader.read(sample.text, words).log_odds for sample in fair]
    return card.model_copy(update={"thresholds": thresholds_on(fair, np.array(log_odds))})


def weigh_second(
    held: Sequence[Sample], fair: Sequence[Sample], words: CrisisClassifier, encoder: CrisisEncoder
) -> SecondCard:
    """The card of the larger encoder, on top of the first's."""
    assert encoder.second is not None
    rows = log_odds_of(held, words, encoder)
    at_risk = np.array([sample.label != CALM for sample in held])
    all_three = LogisticRegression(C=100.0).fit(rows[:, 1:], at_risk)
    first_share, second_share = (round(float(value), 4) for value in all_three.coef_[0])
    first = encoder.card
    before = first.offset + rows[:, :2] @ np.array([first.words_share, first.encoder_share])
    asked = (abs(before) < SURE) & (rows[:, 0] >= -SURE)
    print(
        f"words are sure of {np.mean(rows[~at_risk, 0] < -SURE):.3f} of {sum(~at_risk)} calm messages; the "
        f"larger encoder is asked of {np.mean(asked[~at_risk]):.3f} of them, {np.mean(asked[at_risk]):.3f} at risk"
    )
    second = copy(encoder.second)
    second.card = second.card.model_copy(
        update={
            "first_share": first_share,
            "second_share": second_share,
            "offset": round(float(all_three.intercept_[0]), 4),
            "clearly_calm": -SURE,
            "asked_from": -SURE,
            "asked_below": SURE,
        }
    )
    print("larger encoder alone")
    thresholds_on(fair, log_odds_of(fair, words, encoder)[:, 2])
    print("all")
    reader = encoder.with_cards(first, second)
    log_odds = [reader.read(sample.text, words).log_odds for sample in fair]
    return second.card.model_copy(update={"thresholds": thresholds_on(fair, np.array(log_odds), ALARMS_OF_ALL)})


def main() -> None:
    """Weigh, choose, and write the cards."""
    words, encoder = load_classifier(), load_encoder()
    if encoder is None:
        raise SystemExit("the package of the extra `safety` is not installed")
    held = written(DEVELOPMENT)
    fair = [sample for sample in written(FAIR) if sample.family.endswith("_1")]
    card = weigh_first(held, fair, words, encoder.with_cards(encoder.card, None))
    (PACKAGE / ENCODER_CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", "utf-8")
    if encoder.second is None:
        print("the larger encoder is not installed: its card stays as it is")
        return
    second = weigh_second(held, fair, words, encoder.with_cards(card, encoder.second))
    (PACKAGE / SECOND_CARD_FILE).write_text(second.model_dump_json(indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
