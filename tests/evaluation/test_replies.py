"""Reply metrics: the same numbers as sacrebleu, and a reason wherever there is no number."""

import pytest
from sacrebleu.metrics.bleu import BLEU

from ai_therapist.evaluation import replies
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.replies import (
    GoldLikelihood,
    ReplyRow,
    ReplyTable,
    count_reply,
    distinct,
    score_replies,
)
from ai_therapist.evaluation.scores import shown
from ai_therapist.records import Scored, Unscored
from ai_therapist.testing import make_digest

FEW = Resampling(resamples=1000)
WRITTEN = ["the evening is long for you", "what was that like for you ?", "a letter came in the morning", "i see"]
REFERENCES = ["so the evening is long", "what was it like for you ?", "no letter came this morning", "yes"]


def row(number: int, written: str, reference: str, consistent: bool | None = None) -> ReplyRow:
    session = f"ses_{make_digest(str(number % 2))[:12]}"
    counts = count_reply(written, reference)
    return ReplyRow(example=f"exm_{make_digest(str(number))[:12]}", session=session, consistent=consistent, **counts)


def table(**changes: object) -> ReplyTable:
    rows = tuple(row(at, *pair) for at, pair in enumerate(zip(WRITTEN, REFERENCES, strict=True)))
    base = ReplyTable(rows=rows, distinct=(distinct(WRITTEN, 1), distinct(WRITTEN, 2)), likelihoods=())
    return base.model_copy(update=changes)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("first", [0, 2, 3])
def test_bleu_equals_sacrebleu(order: int, first: int) -> None:
    rows = tuple(row(at, *pair) for at, pair in enumerate(zip(WRITTEN[first:], REFERENCES[first:], strict=True)))
    found = score_replies(table(rows=rows), FEW)
    expected = BLEU(max_ngram_order=order).corpus_score(WRITTEN[first:], [REFERENCES[first:]]).score
    assert shown(getattr(found, f"bleu_{order}")) == pytest.approx(expected)


def test_form_and_variety() -> None:
    found = score_replies(table(), FEW)
    assert shown(found.question_rate) == 0.25
    assert shown(found.words) == pytest.approx((6 + 6 + 6 + 2) / 4)
    assert shown(found.length_ratio) == pytest.approx(20 / 17)
    assert distinct(["a b a", "b a"], 2) == (2, 3)
    assert shown(found.distinct_1) == pytest.approx(distinct(WRITTEN, 1)[0] / 20)
    assert isinstance(found.rouge_l, Scored)
    assert found.rouge_l.low is not None


def test_what_was_not_measured_says_why() -> None:
    found = score_replies(table(), FEW)
    assert found.bertscore == Unscored(reason=replies.NO_LOCAL_MODEL)
    assert found.perplexity == Unscored(reason="the system gives no likelihoods")
    assert found.strategy_consistency == Unscored(reason="the system stated no strategy")
    nothing = score_replies(ReplyTable(rows=(), distinct=((0, 0), (0, 0)), likelihoods=()), FEW)
    assert nothing.n == 0
    assert nothing.bleu_2 == nothing.words == nothing.distinct_2 == Unscored(reason="no reply was written")


def test_without_the_packages_only_their_figures_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "find_spec", lambda name: None)
    found = score_replies(table(), FEW)
    assert found.bleu_4 == found.rouge_l == found.chrf == Unscored(reason=replies.NO_PACKAGES)
    assert shown(found.question_rate) == 0.25


def test_perplexity_and_consistency_add_up_over_sessions() -> None:
    session, other = table().rows[0].session, table().rows[1].session
    likelihoods = ((session, GoldLikelihood(nats=6.0, tokens=3)), (other, GoldLikelihood(nats=2.0, tokens=1)))
    rows = tuple(row(at, "so", "so", consistent=at == 0) for at in range(4))
    found = score_replies(table(rows=rows, likelihoods=likelihoods), FEW)
    assert shown(found.perplexity) == pytest.approx(7.389, abs=1e-3)
    assert shown(found.strategy_consistency) == 0.25
