"""People beside models, from a workspace or from tables, with a defined outcome for every lack."""

from dataclasses import replace
from pathlib import Path

import pytest

from ai_therapist.errors import MissingInput, RequestError
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.rated import rated_in, rated_in_tables
from ai_therapist.evaluation.reliability import CONSENSUS, reliability
from ai_therapist.evaluation.scores import shown
from ai_therapist.records import Task, Unscored, annotator_of
from ai_therapist.store.workspace import Workspace
from tests.dataset.builders import make_annotation, make_parts, save_annotated

FEW = Resampling(resamples=100)
PARTS = [make_parts(f"s{seed}", seed=seed, turns=6) for seed in (1, 2)]


def _decide(workspace: Workspace, rater: str, *words: str | None) -> None:
    """One emotion for each turn of the first session; None where the person cannot tell."""
    said = PARTS[0].transcript.utterances
    for turn, word in zip(said, words, strict=False):
        note = make_annotation(turn.id, Task.EMOTION, word, annotator_of(rater))
        workspace.decisions.add(PARTS[0].session.id, note)


def test_people_stand_beside_models(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save_annotated(workspace, PARTS)
    _decide(workspace, "ada", "sadness", "neutral", "joy", None)
    _decide(workspace, "ben", "sadness", "neutral", "fear", "fear")
    emotion = next(task for task in reliability(rated_in(workspace), FEW).tasks if task.task == "emotion")
    (pair,) = emotion.between_people
    assert (pair.one, pair.other, pair.n) == ("person:ada", "person:ben", 3)
    assert shown(pair.same) == pytest.approx(2 / 3)
    assert emotion.people.abstentions == 1
    assert {(one.one, one.other): one.n for one in emotion.with_people} == {
        ("annotator-1", "person:ada"): 3,
        ("annotator-1", "person:ben"): 4,
        ("annotator-1", CONSENSUS): 2,
    }
    (together,) = emotion.models
    assert set(together.raters) == {"annotator-1", "person:ada", "person:ben"}


def test_models_alone_are_no_people(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    said = PARTS[0].transcript.utterances
    others = tuple(make_annotation(turn.id, Task.EMOTION, "joy", "annotator-2") for turn in said)
    two = replace(PARTS[0], annotations=(*PARTS[0].annotations, *others))
    save_annotated(workspace, [two, PARTS[1]])
    tasks = {task.task: task for task in reliability(rated_in(workspace), FEW).tasks}
    for task in tasks.values():
        assert task.people.alpha == Unscored(reason="agreement needs at least two raters")
        assert (task.between_people, task.with_people) == ((), ())
    assert [pair.n for pair in tasks["emotion"].between_models] == [6]
    assert tasks["strategy"].between_models == ()


def test_before_any_annotation_the_command_to_run_is_named(workspace: Workspace) -> None:
    with pytest.raises(MissingInput, match="ai-therapist annotate"):
        rated_in(workspace)


def _table(folder: Path, text: str, name: str = "ratings.csv") -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_tables_of_any_labels_are_compared(tmp_path: Path) -> None:
    one = _table(tmp_path, "item,rater,label\n1,x,yes\n2,x,no\n3,x,yes\n4,x,\n")
    two = _table(tmp_path, "item,rater,label,session\n1,y,yes,\n2,y,no,\n3,y,no,\n", "more.csv")
    (task,) = reliability(rated_in_tables([one, two]), FEW, all_are_people=True).tasks
    (pair,) = task.between_people
    assert (task.task, task.sessions, pair.n) == ("labels", 3, 3)
    assert shown(pair.kappa) == pytest.approx(0.4)


def test_sheets_for_people_are_compared_by_task_with_their_sessions(tmp_path: Path) -> None:
    head = "session,utterance,rater,emotion,strategy\n"
    sheet = _table(tmp_path, f"{head}s,u1,ada,joy,Approval\ns,u2,ada,(cannot tell),\ns,u1,ben,joy,Others\n")
    tasks = {task.task: task for task in reliability(rated_in_tables([sheet]), FEW, all_are_people=True).tasks}
    assert set(tasks) == {"emotion", "strategy"}
    assert tasks["emotion"].people.abstentions == 1
    assert tasks["emotion"].people.alpha == Unscored(reason="only one label was given")
    assert tasks["strategy"].people.items == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "item, rater, label"),
        ("item,rater,label\n1,x,yes\n1,x,no\n", "row 3: x gave this item another label before"),
        ("item,rater,label\n1,x,\n", "hold no label"),
    ],
)
def test_a_table_that_is_none_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        rated_in_tables([_table(tmp_path, text)])
    with pytest.raises(MissingInput, match=r"gone\.csv"):
        rated_in_tables([tmp_path / "gone.csv"])
