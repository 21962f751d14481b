"""Review by people: what comes next, what stays hidden, what a decision records, and how far two agree."""

from __future__ import annotations

import importlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_therapist.annotation.panel import Rule, settle
from ai_therapist.annotation.review import (
    CANNOT_TELL,
    Look,
    Order,
    Question,
    agreements,
    cohen_kappa,
    decide,
    disagreement,
    instruction,
    proposed,
    questions_of,
    queue,
    shown_to,
    to_undo,
    uncertainty,
)
from ai_therapist.errors import RequestError
from ai_therapist.records import (
    Abstention,
    Annotation,
    Label,
    Modality,
    Role,
    Scored,
    Session,
    Task,
    Transcript,
    Unscored,
    load_codebook,
)
from ai_therapist.store.decisions import Decision
from ai_therapist.testing import make_session, make_transcript
from tests.dataset.builders import make_annotation, with_speakers

BOOK = load_codebook()
NAMES = BOOK.names(Task.EMOTION)
OPEN, BLIND = Look(blind=False, played=True), Look(blind=True, played=False)


class Desk:
    """A session that people label in memory, as the store would keep it."""

    def __init__(self, turns: int = 4, votes: tuple[Annotation, ...] = ()) -> None:
        self.session: Session = make_session()
        self.transcript: Transcript = make_transcript(self.session, turns)
        self.votes = votes
        self.made: list[Decision] = []
        self.taken: set[str] = set()

    def questions(self) -> tuple[Question, ...]:
        return questions_of(self.session, self.transcript.utterances, self.votes, self.made, frozenset(self.taken))

    def emotion(self, place: int) -> Question:
        wanted = self.transcript.utterances[place].id
        return next(q for q in self.questions() if q.turn.id == wanted and q.task is Task.EMOTION)

    def label(self, rater: str, place: int, value: str | None, look: Look = OPEN, second: int = 0) -> Decision:
        answer = Abstention(reason=CANNOT_TELL) if value is None else Label(value=value)
        given = decide(self.emotion(place), rater, answer, look, BOOK, f"2026-01-01T00:00:{second:02d}+00:00")
        self.made.append(Decision(session=self.session.id, order=len(self.made), annotation=given))
        return self.made[-1]


def vote(desk: Desk, place: int, probabilities: dict[str, float] | None, annotator: str = "model-1") -> Annotation:
    """A model's answer on the emotion of a turn; an abstention without probabilities."""
    base = make_annotation(desk.transcript.utterances[place].id, Task.EMOTION, None, annotator)
    if probabilities is None:
        return base
    value = max(probabilities, key=lambda name: probabilities[name])
    outcome = Label(value=value, probabilities=probabilities)
    return Annotation.of(base.utterance, base.task, outcome, base.provenance)


def places(desk: Desk, asked: tuple[Question, ...]) -> list[int]:
    """Indices of the turns that a queue asks the emotion of."""
    return [question.turn.index for question in asked if question.task is Task.EMOTION]


def test_the_strategy_is_asked_of_therapists_and_of_voices_whose_role_is_not_known() -> None:
    desk = Desk(3)
    desk.session = with_speakers(desk.session, A=Role.THERAPIST, B=Role.CLIENT)
    assert [(q.turn.index, q.task) for q in desk.questions()] == [
        (0, Task.EMOTION),
        (0, Task.STRATEGY),
        (1, Task.EMOTION),
        (2, Task.EMOTION),
        (2, Task.STRATEGY),
    ]
    desk.session = with_speakers(desk.session, A=Role.UNKNOWN, B=Role.OTHER)
    assert [q.turn.index for q in desk.questions() if q.task is Task.STRATEGY] == [0, 2]


def test_answers_that_differ_come_first() -> None:
    desk = Desk(4)
    same, other = {"joy": 0.9, "fear": 0.1}, {"joy": 0.1, "fear": 0.9}
    desk.votes = (
        vote(desk, 1, same),
        vote(desk, 1, same, "model-2"),
        vote(desk, 2, same),
        vote(desk, 2, other, "model-2"),
    )
    assert places(desk, queue(desk.questions(), "ann", Order.DISAGREEMENT, blind=False))[0] == 2
    assert places(desk, queue(desk.questions(), "ann", Order.TIME, blind=False)) == [0, 1, 2, 3]


def test_the_least_sure_comes_first_and_silence_is_the_least_sure() -> None:
    desk = Desk(4)
    desk.votes = (
        vote(desk, 0, {"joy": 0.9, "fear": 0.1}),
        vote(desk, 1, {"joy": 0.55, "fear": 0.45}),
        vote(desk, 3, None),
    )
    assert places(desk, queue(desk.questions(), "ann", Order.UNCERTAINTY, blind=False)) == [2, 3, 1, 0]


def test_what_is_answered_leaves_the_queue_and_comes_back_when_taken_back() -> None:
    desk = Desk(2)
    decision = desk.label("ann", 0, "joy")
    assert places(desk, queue(desk.questions(), "ann", Order.TIME, blind=False)) == [1]
    assert places(desk, queue(desk.questions(), "bob", Order.TIME, blind=False)) == [1, 0]
    assert places(desk, queue(desk.questions(), "bob", Order.TIME, blind=True)) == [0, 1]
    desk.taken.add(decision.annotation.id)
    assert places(desk, queue(desk.questions(), "ann", Order.TIME, blind=False)) == [0, 1]


def test_the_order_of_a_blind_queue_does_not_tell_what_another_person_answered() -> None:
    orders = []
    for first in ("joy", "fear"):
        desk = Desk(4)
        desk.votes = tuple(vote(desk, place, {"joy": 1.0}) for place in range(4))
        for place in range(3):
            desk.label("ann", place, first if place == 2 else "joy", BLIND)
        orders.append(places(desk, queue(desk.questions(), "bob", Order.DISAGREEMENT, blind=True)))
    assert orders[0] == orders[1] == [0, 1, 2, 3]


def test_another_persons_answer_stays_hidden_until_the_own_one_is_given() -> None:
    desk = Desk(2)
    desk.votes = (vote(desk, 0, {"joy": 1.0}),)
    first = desk.label("ann", 0, "fear").annotation
    assert shown_to(desk.emotion(0), "bob", blind=False) == desk.votes
    assert shown_to(desk.emotion(0), "bob", blind=True) == ()
    desk.label("bob", 0, "joy", BLIND)
    assert shown_to(desk.emotion(0), "bob", blind=True) == (*desk.votes, first)


def test_a_decision_says_who_saw_what_by_which_codebook() -> None:
    desk = Desk(2)
    desk.votes = (vote(desk, 0, {"joy": 1.0}),)
    seen, blind = desk.label("ann", 0, "joy", OPEN), desk.label("bob", 0, None, BLIND)
    told = seen.annotation.provenance
    assert told.rater == "ann"
    assert told.codebook == BOOK.version
    assert told.modalities == set(Modality)
    assert told.route == "review: 1 answers of others shown, recording played"
    assert blind.annotation.provenance.modalities == {Modality.TEXT}
    assert blind.annotation.provenance.route == "review: blind, recording not played"
    assert blind.annotation.outcome == Abstention(reason=CANNOT_TELL)
    assert told.prompt_sha256 == blind.annotation.provenance.prompt_sha256
    assert all(name in instruction(BOOK, Task.EMOTION) for name in NAMES)


def test_a_second_answer_to_the_same_question_is_a_record_of_its_own() -> None:
    desk = Desk(2)
    first, second = desk.label("ann", 0, "joy"), desk.label("ann", 0, "joy")
    assert first.annotation.id != second.annotation.id
    assert second.annotation.provenance.route.endswith("decision 2 on this question")
    assert [given.id for given in desk.emotion(0).standing] == [second.annotation.id]


def test_only_the_first_decision_on_a_question_is_blind() -> None:
    desk = Desk(2)
    desk.votes = (vote(desk, 0, {"joy": 1.0}),)
    first, second = desk.label("ann", 0, "fear", BLIND), desk.label("ann", 0, "joy", BLIND)
    assert first.annotation.provenance.route == "review: blind, recording not played"
    assert second.annotation.provenance.route == (
        "review: 1 answers of others shown, recording not played, decision 2 on this question"
    )
    taken = desk.label("bob", 0, "fear", BLIND)
    desk.taken.add(taken.annotation.id)
    assert shown_to(desk.emotion(0), "bob", blind=True) == ()
    again = desk.label("bob", 0, "joy", BLIND)
    assert again.annotation.provenance.route == (
        "review: 2 answers of others shown, recording not played, decision 2 on this question"
    )
    elsewhere = desk.label("bob", 1, "joy", BLIND)
    assert elsewhere.annotation.provenance.route == "review: blind, recording not played"


def test_a_label_that_the_codebook_does_not_hold_is_refused() -> None:
    desk = Desk(2)
    with pytest.raises(RequestError, match="label of the codebook") as caught:
        desk.label("ann", 0, "what was said")
    assert "what was said" not in str(caught.value)


def test_undo_takes_the_last_decision_of_this_person() -> None:
    desk = Desk(4)
    assert to_undo(desk.questions(), "ann") is None
    first = desk.label("ann", 3, "joy", second=1)
    last = desk.label("ann", 0, "fear", second=1)
    desk.label("bob", 1, "fear", second=9)
    assert to_undo(desk.questions(), "ann") == last
    desk.taken.add(last.annotation.id)
    assert to_undo(desk.questions(), "ann") == first


def test_agreement_counts_what_both_labelled_and_leaves_abstentions_out() -> None:
    desk = Desk(6)
    for place, (one, two) in enumerate(
        [("joy", "joy"), ("fear", "fear"), ("joy", "fear"), ("joy", None), (None, None)]
    ):
        desk.label("ann", place, one)
        desk.label("bob", place, two)
    (found,) = agreements(desk.questions(), "bob")
    assert (found.other, found.task, found.both, found.same, found.abstained) == ("ann", Task.EMOTION, 3, 2, 2)
    assert isinstance(found.kappa, Scored)
    assert found.kappa.value == pytest.approx(0.4)


def test_kappa_over_nothing_or_one_label_is_no_number() -> None:
    assert isinstance(cohen_kappa([]), Unscored)
    assert isinstance(cohen_kappa([("joy", "joy")] * 3), Unscored)
    assert cohen_kappa([("joy", "fear"), ("fear", "joy")]) == Scored(value=-1.0, n=2)


def test_kappa_is_that_of_scikit_learn() -> None:
    reference = importlib.import_module("sklearn.metrics").cohen_kappa_score
    rng = random.Random(7)
    for size in (5, 40, 200):
        one = [rng.choice(NAMES) for _ in range(size)]
        two = [label if rng.random() < 0.6 else rng.choice(NAMES) for label in one]
        found = cohen_kappa(list(zip(one, two, strict=True)))
        assert isinstance(found, Scored)
        assert found.value == pytest.approx(reference(one, two), abs=1e-12)


def test_a_panel_is_no_further_vote_and_what_it_came_to_may_be_accepted() -> None:
    turn = "utt_0123456789ab"
    votes = [make_annotation(turn, Task.EMOTION, label, f"m{n}") for n, label in enumerate(("joy", "joy", "fear"))]
    majority, unanimous = (settle_votes(votes, rule) for rule in ("majority", "unanimous"))
    assert disagreement([*votes, majority]) == disagreement(votes) == pytest.approx(1 / 3)
    assert uncertainty([*votes, unanimous]) == uncertainty(votes) == 0
    assert proposed([*votes, majority]) == "joy"
    assert proposed([*votes, unanimous]) is None
    assert proposed(votes) is None
    assert proposed(votes[:2]) == "joy"
    assert proposed([]) is None


def settle_votes(votes: list[Annotation], rule: Rule) -> Annotation:
    """What the votes come to."""
    desk = Desk(1)
    turn = desk.transcript.utterances[0].model_copy(update={"id": votes[0].utterance})
    return settle([turn], [[vote] for vote in votes], rule, lambda: "2026-01-01T00:00:00+00:00")[-1]


_ANSWERS = st.lists(st.sampled_from([*NAMES[:3], None]), max_size=8)


@settings(deadline=None, max_examples=40)
@given(_ANSWERS, st.sampled_from(list(Order)), st.booleans())
def test_the_queue_asks_every_open_question_once(answers: list[str | None], order: Order, blind: bool) -> None:
    desk = Desk(8)
    for place, answer in enumerate(answers):
        desk.label("ann" if place % 2 else "bob", place, answer)
    asked = queue(desk.questions(), "ann", order, blind=blind)
    still_open = [question for question in desk.questions() if question.of("ann") is None]
    assert sorted(asked, key=desk.questions().index) == still_open


@settings(deadline=None)
@given(_ANSWERS)
def test_disagreement_and_uncertainty_lie_between_0_and_1(answers: list[str | None]) -> None:
    votes = [make_annotation("utt_0123456789ab", Task.EMOTION, answer, f"m{n}") for n, answer in enumerate(answers)]
    assert 0 <= disagreement(votes) < 1
    assert 0 <= uncertainty(votes) <= 1
