"""The desk: questions of a workspace, decisions into its store, undo."""

from __future__ import annotations

import pytest

from ai_therapist.annotation.review import Look, Order
from ai_therapist.errors import MissingInput, RequestError
from ai_therapist.records import Modality, Session, Task, Use
from ai_therapist.serving.studio.desk import Desk
from ai_therapist.serving.studio.library import Library
from ai_therapist.store.codec import decode, encode
from ai_therapist.store.workspace import RunRecord, Workspace
from ai_therapist.testing import make_consent, make_session
from tests.serving.studio.study import LINES

ONE = make_session("one").id
LOOK = Look(blind=False, played=True)


def desk_of(study: Workspace) -> Desk:
    moments = iter(range(60))
    return Desk(Library(study), lambda: f"2026-01-01T00:00:{next(moments):02d}+00:00")


def test_a_decision_is_in_the_store_at_once(study: Workspace) -> None:
    desk = desk_of(study)
    first = desk.queue("ann", Order.TIME, blind=False)[0]
    note = desk.decide(first, "ann", "joy", LOOK)
    (kept,) = study.decisions.standing(first.session)
    assert kept.annotation == note
    assert note.provenance.modalities == set(Modality)
    assert desk.progress("ann").decided == 1
    assert all(question != first for question in desk.queue("ann", Order.TIME, blind=False))


def test_undo_asks_the_same_question_again_and_keeps_both_records(study: Workspace) -> None:
    desk = desk_of(study)
    assert desk.undo("ann") is None
    first, second, *_ = desk.queue("ann", Order.TIME, blind=False)
    desk.decide(first, "ann", "joy", LOOK)
    desk.decide(second, "ann", None, LOOK)
    again = desk.undo("ann")
    assert again is not None
    assert (again.turn.id, again.task) == (second.turn.id, second.task)
    assert desk.progress("ann").decided == 1
    assert study.decisions.count(first.session) == 2


def test_two_people_agree_as_far_as_they_do(study: Workspace) -> None:
    desk = desk_of(study)
    for rater, labels in (("ann", ("joy", "fear", "joy")), ("bob", ("joy", "fear", "fear"))):
        emotions = [each for each in desk.queue(rater, Order.TIME, blind=True) if each.task is Task.EMOTION]
        for question, label in zip(sorted(emotions, key=lambda each: each.turn.span.start_ms)[:3], labels, strict=True):
            desk.decide(question, rater, label, LOOK)
    (found,) = desk.progress("bob").agreement
    assert (found.other, found.both, found.same) == ("ann", 3, 2)


def test_a_question_that_is_not_there_is_said(study: Workspace) -> None:
    desk = desk_of(study)
    client = Library(study).session(ONE).turns[1]
    assert desk.question(ONE, client.id, Task.EMOTION)[1].turn == client
    for session, turn, task in (
        (ONE, client.id, Task.STRATEGY),
        (ONE, "utt_000000000000", Task.EMOTION),
        ("ses_000000000001", client.id, Task.EMOTION),
    ):
        with pytest.raises(MissingInput):
            desk.question(session, turn, task)


def test_a_session_whose_consent_was_taken_back_is_not_labelled(study: Workspace) -> None:
    desk = desk_of(study)
    before = len(desk.questions())
    turn = Library(study).session(ONE).turns[0].id
    run = study.load_run("annotation", "annotate")
    items = []
    for item in run.items:
        session = decode(Session, study.store.read(item.artefacts["session"]), item.name)
        if session.id == ONE:
            session = session.model_copy(update={"consent": make_consent(Use.TRANSCRIBE)})
        items.append(
            item.model_copy(update={"artefacts": {**item.artefacts, "session": study.store.put_bytes(encode(session))}})
        )
    study.save_run(RunRecord(run="annotation", config={}, read=len(items), items=tuple(items)))
    assert len(desk.questions()) == before - len(LINES) - 4
    with pytest.raises(RequestError, match="does not permit 'annotate'"):
        desk.question(ONE, turn, Task.EMOTION)


def test_one_damaged_decision_takes_its_session_out_of_the_queue_and_is_named(study: Workspace) -> None:
    desk = desk_of(study)
    question = next(each for each in desk.queue("ann", Order.TIME, blind=False) if each.session == ONE)
    note = desk.decide(question, "ann", "joy", LOOK)
    path = study.root / "decisions" / ONE / f"{note.id}.json"
    path.chmod(0o644)
    path.write_bytes(b"{}")
    again = desk_of(study)
    assert ONE not in {each.session for each in again.questions()}
    assert len({each.session for each in again.questions()}) == 2
    assert [path.name in fault for fault in again.progress("ann").faults] == [True]


def test_what_another_process_decides_is_seen_at_once(study: Workspace) -> None:
    here, there = desk_of(study), desk_of(study)
    question = here.queue("ann", Order.TIME, blind=False)[0]
    there.decide(question, "ann", "joy", LOOK)
    assert here.progress("ann").decided == 1
    there.undo("ann")
    assert here.progress("ann").decided == 0
