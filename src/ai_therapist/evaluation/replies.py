"""Replies against the reply that was given: overlap, variety, form, and whether a reply does what its strategy says.

Corpus BLEU and all means are sums over sessions, so their intervals come from the same resampling as those of labels.
Overlap with one reference says little about whether a reply is good: there are many good replies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ai_therapist.errors import install_command
from ai_therapist.evaluation.bootstrap import Statistic, score_all
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import ratio
from ai_therapist.records.base import Record
from ai_therapist.records.ids import RecordId
from ai_therapist.records.score import Score, Scored, Unscored

ORDERS = 4
"""Longest run of words that BLEU counts."""
_METRIC_PACKAGES = ("sacrebleu", "rouge_score")
NO_PACKAGES = f"sacrebleu and rouge-score are not installed ({install_command('train')})"
NO_LOCAL_MODEL = "no local model for BERTScore was given, and none is fetched"


class ReplyRow(Record):
    """Counts of one reply against its reference; no word of either. Runs of words are those of sacrebleu's 13a."""

    example: RecordId
    session: RecordId
    matches: tuple[Annotated[int, Field(ge=0)], ...] | None
    """Runs of 1 to 4 words that the reference has too; None without sacrebleu."""
    runs: tuple[Annotated[int, Field(ge=0)], ...] | None
    tokens: int | None
    reference_tokens: int | None
    rouge_l: float | None
    """F-measure of the longest common subsequence of stemmed words, 0 to 1."""
    chrf: float | None
    """chrF of this reply, 0 to 100."""
    words: int
    reference_words: int
    asks: bool
    """Whether the reply holds a question mark."""
    bertscore: float | None = None
    """F of BERTScore; None without an encoder."""
    consistent: bool | None
    """Whether a classifier hears in the reply the strategy that the system stated; None where it stated none."""


class GoldLikelihood(Record):
    """How likely a model holds the reply that was given: minus its log-likelihood in nats, and its tokens."""

    nats: Annotated[float, Field(ge=0)]
    tokens: Annotated[int, Field(gt=0)]


class ReplyTable(Record):
    """All replies of one system, counted."""

    rows: tuple[ReplyRow, ...]
    distinct: tuple[tuple[int, int], tuple[int, int]]
    """(different, all) words of all replies together, then pairs of words."""
    encoder: str | None = None
    """Encoder and layer of BERTScore."""
    likelihoods: tuple[tuple[RecordId, GoldLikelihood], ...]
    """By session; empty where the model gives none."""


class ReplyScores(Record):
    """Figures of the replies of one system. BLEU and chrF from 0 to 100, shares from 0 to 1, perplexity per token."""

    bleu_1: Score
    """Corpus BLEU over runs of up to one word, equal weights, "exp" smoothing, tokenised 13a; so to `bleu_4`."""
    bleu_2: Score
    bleu_3: Score
    bleu_4: Score
    rouge_l: Score
    chrf: Score
    distinct_1: Score
    distinct_2: Score
    words: Score
    """Words of a reply."""
    length_ratio: Score
    """Words of all replies to words of all references."""
    question_rate: Score
    strategy_consistency: Score
    perplexity: Score
    """Of the reply that was given, as the model that wrote the other one reads it."""
    bertscore: Score
    """F, greedy matching, neither weighted by frequency nor rescaled."""
    bertscore_model: str | None = None
    """Encoder and layer, without which the figure means nothing."""
    n: Annotated[int, Field(ge=0)]


def count_reply(written: str, reference: str) -> dict[str, Any]:
    """The counts of a ReplyRow that follow from two texts; those that need a package are None without it."""
    counts: dict[str, Any] = {
        "words": len(words_of(written)),
        "reference_words": len(words_of(reference)),
        "asks": "?" in written,
        **dict.fromkeys(("matches", "runs", "tokens", "reference_tokens", "rouge_l", "chrf")),
    }
    if all(find_spec(name) for name in _METRIC_PACKAGES):
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        bleu = BLEU(effective_order=True).sentence_score(written, [reference])
        rouge = RougeScorer(["rougeL"], use_stemmer=True).score(reference, written)["rougeL"]
        counts |= {
            "matches": tuple(int(number) for number in bleu.counts),
            "runs": tuple(int(number) for number in bleu.totals),
            "tokens": int(bleu.sys_len),
            "reference_tokens": int(bleu.ref_len),
            "rouge_l": float(rouge.fmeasure),
            "chrf": float(CHRF().sentence_score(written, [reference]).score),
        }
    return counts


def words_of(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.casefold())


def distinct(texts: Iterable[str], length: int) -> tuple[int, int]:
    """Different runs of `length` words over all texts, and all such runs (Li et al. 2016)."""
    runs = []
    for text in texts:
        words = words_of(text)
        runs += [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]
    return len(set(runs)), len(runs)


def score_replies(table: ReplyTable, resampling: Resampling) -> ReplyScores:
    """Score the replies of one system; every figure is Unscored, with the reason, where there is nothing behind it."""
    rows = table.rows
    compared = [row for row in rows if row.bertscore is not None]
    scores: dict[str, Score] = {"bertscore": _mean(compared, "bertscore", resampling, NO_LOCAL_MODEL)}
    overlap = [row for row in rows if row.matches is not None]
    bleu: dict[str, Statistic] = {f"bleu_{order}": _bleu(order) for order in range(1, ORDERS + 1)}
    scores |= _summed(overlap, _bleu_sums, bleu, resampling, NO_PACKAGES if rows else "no reply was written")
    for name in ("rouge_l", "chrf"):
        scores[name] = _mean(overlap, name, resampling, NO_PACKAGES)
    scores["words"] = _mean(rows, "words", resampling)
    scores["question_rate"] = _mean(rows, "asks", resampling)
    scores |= _summed(
        rows,
        lambda row: (row.words, row.reference_words),
        {"length_ratio": lambda sums: ratio(sums[..., 0], sums[..., 1])},
        resampling,
    )
    stated = [row for row in rows if row.consistent is not None]
    scores["strategy_consistency"] = _mean(stated, "consistent", resampling, "the system stated no strategy")
    for length, (different, every) in enumerate(table.distinct, start=1):
        found = Scored(value=different / every, n=every) if every else Unscored(reason="no reply was written")
        scores[f"distinct_{length}"] = found
    scores["perplexity"] = _perplexity(table.likelihoods, resampling)
    return ReplyScores(**scores, bertscore_model=table.encoder, n=len(rows))


def _mean(rows: Sequence[ReplyRow], name: str, resampling: Resampling, reason: str = "no reply was written") -> Score:
    mean: Mapping[str, Statistic] = {name: lambda sums: ratio(sums[..., 0], sums[..., 1])}
    return _summed(rows, lambda row: (float(getattr(row, name)), 1), mean, resampling, reason)[name]


def _summed(
    rows: Sequence[ReplyRow],
    parts: Any,
    statistics: Mapping[str, Statistic],
    resampling: Resampling,
    reason: str = "no reply was written",
) -> dict[str, Score]:
    """Figures of sums over sessions; `parts` gives the numbers of one row that are added up."""
    if not rows:
        return dict.fromkeys(statistics, Unscored(reason=reason))
    sums: dict[str, NDArray[np.float64]] = {}
    for row in rows:
        sums[row.session] = sums.get(row.session, 0) + np.array(parts(row), dtype=np.float64)
    counts = np.stack([sums[session] for session in sorted(sums)])
    return dict(score_all(counts, statistics, len(rows), resampling))


def _bleu_sums(row: ReplyRow) -> tuple[float, ...]:
    return (*(row.matches or ()), *(row.runs or ()), row.tokens or 0, row.reference_tokens or 0)


def _bleu(order: int) -> Statistic:
    """Corpus BLEU over runs of up to `order` words from summed counts, as sacrebleu computes it.

    BLEU = 100 · exp(min(0, 1 − reference / length)) · Π pₖ^(1/order). Smoothing "exp": of precisions without a match
    the first counts as 1/2 match, the next as 1/4, and so on. 0 where there is no run at all of some length, or no
    word in common.
    """

    def figure(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        matches, runs = sums[..., :order], sums[..., ORDERS : ORDERS + order]
        length, reference = sums[..., -2], sums[..., -1]
        halvings = np.cumsum(matches == 0, axis=-1)
        smoothed = np.where(matches == 0, 0.5**halvings, matches)
        logs = np.log(np.where(runs > 0, smoothed / np.maximum(runs, 1), 1)).mean(-1)
        penalty = np.minimum(0, 1 - ratio(reference, length))
        empty = (runs == 0).any(-1) | (sums[..., :ORDERS].sum(-1) == 0)
        score: NDArray[np.float64] = np.where(empty, 0, 100 * np.exp(logs + np.nan_to_num(penalty)))
        return score

    return figure


def _perplexity(likelihoods: Sequence[tuple[str, GoldLikelihood]], resampling: Resampling) -> Score:
    """exp(nats / tokens) over all replies together."""
    if not likelihoods:
        return Unscored(reason="the system gives no likelihoods")
    sums: dict[str, NDArray[np.float64]] = {}
    for session, found in likelihoods:
        sums[session] = sums.get(session, 0) + np.array((found.nats, found.tokens))
    counts = np.stack([sums[session] for session in sorted(sums)])
    figure: Mapping[str, Statistic] = {"it": lambda each: np.exp(ratio(each[..., 0], each[..., 1]))}
    return score_all(counts, figure, len(likelihoods), resampling)["it"]
