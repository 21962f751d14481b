"""Decisions of people are appended, survive faults, count as their makers left them, and go with their session."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ai_therapist.errors import InvalidRecord, MissingInput, RequestError, StoreError
from ai_therapist.records import Annotation, Task, annotator_of
from ai_therapist.store.decisions import Decision, Decisions, standing
from ai_therapist.store.forget import forget, plan
from ai_therapist.store.workspace import Workspace
from tests.dataset.builders import make_annotation
from tests.store.arc import found_in, make_arc
from tests.store.test_faults import ERRORS, Disk, watch

SESSION = "ses_0123456789ab"
UTTERANCE = "utt_0123456789ab"
AT = "2026-01-01T00:00:00+00:00"


def made_by(rater: str, label: str | None = "joy", utterance: str = UTTERANCE, again: int = 0) -> Annotation:
    """A person's annotation; `again` tells a second decision on the same question from the first."""
    answer = make_annotation(utterance, Task.EMOTION, label, annotator_of(rater))
    provenance = answer.provenance.model_copy(update={"request_sha256": f"{again:064x}"})
    return Annotation.of(utterance, Task.EMOTION, answer.outcome, provenance)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "study")


def test_a_decision_is_one_file_that_nobody_can_write_to(workspace: Workspace) -> None:
    decision = workspace.decisions.add(SESSION, made_by("ann"))
    path = workspace.root / "decisions" / SESSION / f"{decision.annotation.id}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert workspace.decisions.made(SESSION) == (decision,)
    assert workspace.decisions.sessions() == (SESSION,)
    assert decision.rater == "ann"


def test_the_same_decision_twice_is_one(workspace: Workspace) -> None:
    first = workspace.decisions.add(SESSION, made_by("ann"))
    assert workspace.decisions.add(SESSION, made_by("ann")) == first
    assert len(workspace.decisions.made(SESSION)) == 1


def test_another_answer_under_the_same_id_is_refused(workspace: Workspace) -> None:
    first = workspace.decisions.add(SESSION, made_by("ann", "joy"))
    with pytest.raises(RequestError, match="another answer stands"):
        workspace.decisions.add(SESSION, made_by("ann", "fear"))
    assert workspace.decisions.made(SESSION) == (first,)


def test_a_later_decision_stands_and_the_earlier_one_stays_on_disk(workspace: Workspace) -> None:
    workspace.decisions.add(SESSION, made_by("ann", "joy"))
    later = workspace.decisions.add(SESSION, made_by("ann", "fear", again=1))
    assert workspace.decisions.standing(SESSION) == (later,)
    assert [decision.order for decision in workspace.decisions.made(SESSION)] == [0, 1]


def test_taking_back_the_later_one_brings_the_earlier_one_back(workspace: Workspace) -> None:
    first = workspace.decisions.add(SESSION, made_by("ann", "joy"))
    later = workspace.decisions.add(SESSION, made_by("ann", "fear", again=1))
    taken = workspace.decisions.retract(SESSION, later.annotation.id, "ann", AT)
    assert workspace.decisions.retract(SESSION, later.annotation.id, "ann", "2027-01-01T00:00:00+00:00") == taken
    assert workspace.decisions.standing(SESSION) == (first,)
    assert workspace.decisions.made(SESSION) == (first, later)
    assert workspace.decisions.retracted(SESSION) == {later.annotation.id}


def test_only_its_maker_takes_a_decision_back(workspace: Workspace) -> None:
    decision = workspace.decisions.add(SESSION, made_by("ann"))
    with pytest.raises(RequestError, match="only the person who decided"):
        workspace.decisions.retract(SESSION, decision.annotation.id, "bob", AT)
    with pytest.raises(MissingInput, match="no decision of this id"):
        workspace.decisions.retract(SESSION, "ann_0123456789ab", "ann", AT)
    assert workspace.decisions.standing(SESSION) == (decision,)


def test_a_models_answer_is_no_decision() -> None:
    with pytest.raises(ValidationError):
        Decision(session=SESSION, order=0, annotation=make_annotation(UTTERANCE, Task.EMOTION, "joy"))


@pytest.mark.parametrize(
    "session", ["", "..", "../store", "ses_0123456789ab/..", "ses_0123456789AB", "ses_0123456789ab\n"]
)
def test_an_id_from_outside_leads_nowhere_else(workspace: Workspace, session: str) -> None:
    with pytest.raises(MissingInput):
        workspace.decisions.add(session, made_by("ann"))
    with pytest.raises(MissingInput):
        workspace.decisions.retract(SESSION, f"{session}/ann_0123456789ab", "ann", AT)


def test_a_damaged_file_is_named_and_told_apart(workspace: Workspace) -> None:
    decision = workspace.decisions.add(SESSION, made_by("ann"))
    path = workspace.root / "decisions" / SESSION / f"{decision.annotation.id}.json"
    assert list(workspace.decisions.faults()) == []
    moved = path.with_name("ann_ffffffffffff.json")
    moved.write_bytes(path.read_bytes())
    path.chmod(0o644)
    path.write_bytes(b'{"text": "what was said"}')
    with pytest.raises(InvalidRecord, match=path.name) as caught:
        workspace.decisions.made(SESSION)
    assert "what was said" not in str(caught.value)
    damaged, misplaced = sorted(workspace.decisions.faults(), key=lambda line: "another decision" in line)
    assert path.name in damaged
    assert moved.name in misplaced


def test_a_fault_at_any_step_loses_no_decision_and_leaves_no_half_one(tmp_path: Path) -> None:
    def decided(root: Path) -> Decisions:
        decisions = Workspace(root).decisions
        first = decisions.add(SESSION, made_by("ann", "joy"))
        decisions.add(SESSION, made_by("ann", "fear", again=1))
        decisions.retract(SESSION, first.annotation.id, "ann", AT)
        return decisions

    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(tmp_path / "whole")
        watch(patch, disk)
        whole = decided(tmp_path / "whole").made(SESSION)
    told = tried = 0
    for error in ERRORS:
        for at in range(error % 4, disk.seen, 4):
            root = tmp_path / f"{error}-{at}"
            tried += 1
            with pytest.MonkeyPatch.context() as patch:
                watch(patch, Disk(root, at, error))
                try:
                    decided(root)
                except StoreError as caught:
                    told += 1
                    assert os.strerror(error) in str(caught)
            left = Workspace(root).decisions
            assert set(left.made(SESSION)) <= set(whole)
            assert list(left.faults()) == []
            assert decided(root).made(SESSION) == whole
            assert len(left.standing(SESSION)) == 1
    assert tried > 20
    assert told >= 0.9 * tried


def test_raters_at_once_lose_nothing(workspace: Workspace) -> None:
    def label(rater: str) -> None:
        for number in range(20):
            workspace.decisions.add(SESSION, made_by(rater, utterance=f"utt_{number:012x}"))

    raters = [threading.Thread(target=label, args=(f"rater-{number}",)) for number in range(3)]
    for rater in raters:
        rater.start()
    for rater in raters:
        rater.join()
    assert len(workspace.decisions.standing(SESSION)) == 60


def test_forgetting_a_session_takes_its_decisions_and_no_others(tmp_path: Path) -> None:
    arc = make_arc(tmp_path / "study", "one", "two", turns=10)
    workspace, (gone, other) = arc.workspace, arc.planted
    ids = []
    for one in (gone, other):
        decision = workspace.decisions.add(one.id, made_by("ann"))
        workspace.decisions.retract(one.id, decision.annotation.id, "ann", AT)
        workspace.decisions.add(one.id, made_by("bob", "fear"))
        ids.append(decision.annotation.id)
    found = plan(workspace, "one")
    assert found.decisions == 2
    forget(workspace, found)
    assert workspace.decisions.sessions() == (other.id,)
    assert not (workspace.root / "decisions" / gone.id).exists()
    assert found_in(workspace.root / "decisions", [gone.id]) == set()
    assert len(workspace.decisions.made(other.id)) == 2


_STEPS = st.lists(
    st.tuples(st.sampled_from(["ann", "bob"]), st.sampled_from(["joy", "fear"]), st.booleans()), max_size=12
)


@settings(deadline=None)
@given(_STEPS)
def test_what_stands_is_each_persons_last_answer_not_taken_back(steps: list[tuple[str, str, bool]]) -> None:
    made = tuple(
        Decision(session=SESSION, order=order, annotation=made_by(rater, label, again=order))
        for order, (rater, label, _) in enumerate(steps)
    )
    taken = frozenset(made[order].annotation.id for order, (_, _, back) in enumerate(steps) if back)
    expected = {}
    for rater, label, back in steps:
        if not back:
            expected[rater] = label
    assert {decision.rater: decision.annotation.label for decision in standing(made, taken)} == expected
