"""Counts, distributions and agreement as the page shows them."""

from __future__ import annotations

from ai_therapist.annotation.review import Look, Order
from ai_therapist.serving.studio.dataset_page import agreement_rows, answer_counts, dataset_page
from ai_therapist.serving.studio.desk import Desk
from ai_therapist.serving.studio.library import Library
from ai_therapist.store.workspace import Workspace
from tests.serving.studio.study import LINES

MODEL = "embedded@0123456789ab"


def test_every_example_is_counted_in_every_distribution(study: Workspace) -> None:
    page = dataset_page(study, Desk(Library(study)).questions())
    summary, labels = page["summary"], page["labels"]
    assert page["missing"] is None
    assert isinstance(summary, dict)
    assert isinstance(labels, list)
    assert summary["examples"] == sum(summary["splits"].values()) > 0
    for field in labels:
        assert sum(sum(row["splits"].values()) for row in field["classes"]) == summary["examples"]


def test_a_workspace_without_a_dataset_says_which_command_makes_one(workspace: Workspace) -> None:
    page = dataset_page(workspace, ())
    assert "ai-therapist dataset" in str(page["missing"])
    assert page["agreement"] == []


def test_people_stand_beside_models(study: Workspace) -> None:
    desk = Desk(Library(study))
    for rater in ("ann", "bob"):
        for question in desk.queue(rater, Order.TIME, blind=False):
            if question.turn.index < 4 and question.role == "client":
                desk.decide(question, rater, "joy" if rater == "ann" else None, Look(blind=False, played=False))
    questions = desk.questions()
    counts = {(row["annotator"], row["task"]): (row["labels"], row["none"]) for row in answer_counts(questions)}
    assert counts[MODEL, "emotion"] == (3 * (len(LINES) - 1), 3)
    assert counts["ann", "emotion"] == (6, 0)
    assert counts["bob", "emotion"] == (0, 6)
    rows = agreement_rows(questions)
    assert [(row["one"], row["other"], row["people"], row["both"]) for row in rows] == [("ann", MODEL, 1, 6)]
