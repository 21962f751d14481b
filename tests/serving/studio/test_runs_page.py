"""Trainings, evaluation and comparison as the page shows them."""

from __future__ import annotations

import pytest

from ai_therapist.errors import MissingInput, RequestError
from ai_therapist.serving.studio.runs_page import compared, runs_page
from ai_therapist.store.workspace import Workspace
from tests.serving.studio.study import evaluated


def test_trainings_and_figures_are_those_of_the_store(study: Workspace) -> None:
    evaluated(study)
    page = runs_page(study)
    trainings = page["trainings"]
    assert isinstance(trainings, list)
    (training,) = trainings
    assert training["curve"][0] == [1, pytest.approx(4 / 1.05 + 1)]
    assert training["curve"][-1][0] == 100
    assert training["account"]["steps"] == 100
    assert page["report"] == "/studio/report"
    evaluation = page["evaluation"]
    assert isinstance(evaluation, dict)
    assert {row["system"] for row in evaluation["rows"]} == {"majority", "random"} == set(evaluation["systems"])
    rows = compared(study, "majority", "random")["rows"]
    assert isinstance(rows, list)
    assert {row["field"] for row in rows} == {"client_emotion", "strategy", "therapist_emotion"}
    with pytest.raises(RequestError, match="majority"):
        compared(study, "majority", "nobody")


def test_what_is_missing_is_said(workspace: Workspace) -> None:
    page = runs_page(workspace)
    assert page["trainings"] == []
    assert page["report"] is None
    assert "ai-therapist evaluate" in str(page["evaluation"])
    with pytest.raises(MissingInput):
        compared(workspace, "a", "b")


def test_a_report_that_cannot_be_read_is_said(workspace: Workspace) -> None:
    workspace.report_json.write_bytes(b'{"schema_version": "0"}')
    assert "cannot be read" in str(runs_page(workspace)["evaluation"])
