"""A judge's ratings of stored replies, as a file, and how far they agree with people's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ai_therapist.errors import RequestError
from ai_therapist.evaluation.bootstrap import score_all
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.judge import NOT_CALIBRATED, Rating, Rubric, Verdict, prefer, rate
from ai_therapist.evaluation.metrics import ratio
from ai_therapist.evaluation.predictions import Prediction, Reply
from ai_therapist.evaluation.raters import RaterAgreement, agreement
from ai_therapist.evaluation.suites.layout import read_table
from ai_therapist.models.protocol import TextGenerator
from ai_therapist.records import Example
from ai_therapist.records.base import Record
from ai_therapist.records.ids import RecordId
from ai_therapist.records.score import Score, Scored, Unscored, mean

_ENOUGH = 30
"""Ratings by people below which a judge stays uncalibrated."""


class JudgedReply(Record):
    """The ratings of one reply; no word of it."""

    example: RecordId
    ratings: tuple[Rating, ...]


class Judgement(Record):
    """What a judge said of one system's replies."""

    schema_version: str = "1"
    banner: str | None
    """Set until agreement with people was measured."""
    judge: str
    rubric: str
    """Name and version."""
    system: str
    repeats: int
    replies: tuple[JudgedReply, ...]
    means: dict[str, Score]
    """By item, over the replies that were scored."""
    unscored: int
    """Replies without ratings."""
    agreement: RaterAgreement | None


def judge_replies(
    judge: TextGenerator,
    rubric: Rubric,
    predictions: Sequence[Prediction],
    examples: Mapping[str, Example],
    repeats: int,
) -> Judgement:
    """Rate every reply among the predictions of one system. Raises RequestError where there is none."""
    written = [(row, row.outcome.text) for row in predictions if isinstance(row.outcome, Reply)]
    if not written:
        raise RequestError("these predictions hold no reply to rate")
    asked = [(_example_of(row, examples), row, text) for row, text in written]
    judged = []
    for example, row, text in asked:
        ratings = rate(judge, rubric, (*example.context, example.client), text, repeats)
        judged.append(JudgedReply(example=row.example, ratings=ratings))
    return Judgement(
        banner=NOT_CALIBRATED,
        judge=judge.name,
        rubric=f"{rubric.name} {rubric.version}",
        system=written[0][0].system,
        repeats=repeats,
        replies=tuple(judged),
        means={item.key: _mean(judged, item.key) for item in rubric.items},
        unscored=sum(isinstance(each.ratings[0].score, Unscored) for each in judged),
        agreement=None,
    )


class PairVerdict(Record):
    """Which of two replies to one turn the judge prefers in either order."""

    example: RecordId
    verdict: Verdict | None
    """a, b, or a tie where the order decided; None where the judge failed."""
    reason: str | None
    """Why there is no verdict."""


class Preference(Record):
    """What a judge prefers of two systems' replies."""

    schema_version: str = "1"
    banner: str
    judge: str
    rubric: str
    a: str
    b: str
    verdicts: tuple[PairVerdict, ...]
    a_preferred: Score
    """Share of turns won by a, a tie counting half, with its interval over sessions."""
    ties: int
    unscored: int
    """Turns without a verdict: left out of the share, never counted as a tie."""


def judge_pairs(
    judge: TextGenerator,
    rubric: Rubric,
    systems: tuple[Sequence[Prediction], Sequence[Prediction]],
    examples: Mapping[str, Example],
    resampling: Resampling,
) -> Preference:
    """Compare the replies of two systems to the same turns, each pair in both orders.

    Raises RequestError where the two have no turn in common or the dataset lacks one.
    """
    texts = [
        {row.example: (row, row.outcome.text) for row in rows if isinstance(row.outcome, Reply)} for rows in systems
    ]
    both = [(row, text, texts[1][name][1]) for name, (row, text) in texts[0].items() if name in texts[1]]
    if not both:
        raise RequestError("these systems wrote no reply to the same turn")
    verdicts, points = [], []
    for row, one, other in both:
        example = _example_of(row, examples)
        found = prefer(judge, rubric, (*example.context, example.client), (one, other))
        if isinstance(found, Unscored):
            verdicts.append(PairVerdict(example=row.example, verdict=None, reason=found.reason))
            continue
        verdicts.append(PairVerdict(example=row.example, verdict=found, reason=None))
        points.append((row.session, {"a": 1.0, "tie": 0.5, "b": 0.0}[found]))
    return Preference(
        banner=NOT_CALIBRATED,
        judge=judge.name,
        rubric=f"{rubric.name} {rubric.version}",
        a=systems[0][0].system,
        b=systems[1][0].system,
        verdicts=tuple(verdicts),
        a_preferred=_share(points, resampling),
        ties=sum(each.verdict == "tie" for each in verdicts),
        unscored=sum(each.verdict is None for each in verdicts),
    )


def _share(points: Sequence[tuple[str, float]], resampling: Resampling) -> Score:
    if not points:
        return Unscored(reason="the judge gave no verdict")
    sums: dict[str, list[float]] = {}
    for session, value in points:
        won, of = sums.get(session, (0.0, 0.0))
        sums[session] = [won + value, of + 1]
    counts = np.array([sums[session] for session in sorted(sums)], dtype=np.float64)
    statistic = {"share": lambda each: ratio(each[..., 0], each[..., 1])}
    return score_all(counts, statistic, len(points), resampling)["share"]


def _example_of(row: Prediction, examples: Mapping[str, Example]) -> Example:
    if row.example not in examples:
        raise RequestError(f"the dataset has no example {row.example}: these predictions are of other data")
    return examples[row.example]


def calibrated(judgement: Judgement, people: Path) -> Judgement:
    """The judgement with its agreement with people: a CSV of example, item, rating; several raters are averaged.

    The banner goes only where at least 30 ratings were compared and an agreement could be computed. Raises
    RequestError for a rating that is no number and where no rating is of a judged reply.
    """
    given: dict[tuple[str, str], list[float]] = {}
    for number, row in enumerate(read_table(people, ("example", "item", "rating")), start=1):
        try:
            given.setdefault((row["example"], row["item"]), []).append(float(row["rating"]))
        except ValueError:
            raise RequestError(f"{people.name}: row {number}: the rating is no number") from None
    pairs = [
        (rating.score.value, mean(given[each.example, rating.item]))
        for each in judgement.replies
        for rating in each.ratings
        if isinstance(rating.score, Scored) and (each.example, rating.item) in given
    ]
    if not pairs:
        raise RequestError(f"{people.name}: no rating is of a reply and item that the judge has rated")
    found = agreement([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    measured = found.n >= _ENOUGH and isinstance(found.icc_2_1, Scored)
    banner = None if measured else f"{NOT_CALIBRATED} Only {found.n} ratings were compared, {_ENOUGH} are needed."
    return judgement.model_copy(update={"agreement": found, "banner": banner})


def _mean(judged: Sequence[JudgedReply], item: str) -> Score:
    scores = [rating.score for each in judged for rating in each.ratings if rating.item == item]
    values = [score.value for score in scores if isinstance(score, Scored)]
    if not values:
        return next((score for score in scores if isinstance(score, Unscored)), Unscored(reason="nothing was rated"))
    return Scored(value=mean(values), n=len(values))
