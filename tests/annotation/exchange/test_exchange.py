"""What people answered in their own tools comes back as they gave it, once, or is refused with its place."""

import csv
import io
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_therapist.annotation.exchange.answers import CANNOT
from ai_therapist.annotation.exchange.label_studio import labelling_config
from ai_therapist.annotation.exchange.run import Answered, Tool, hand_out, take_in
from ai_therapist.annotation.review import CANNOT_TELL, Look, Question, decide, questions_of
from ai_therapist.errors import InvalidRecord, MissingInput, RequestError
from ai_therapist.formats.elan import read_elan, write_elan
from ai_therapist.formats.textgrid import read_textgrid
from ai_therapist.formats.tiers import Tier
from ai_therapist.records import Abstention, Label, Role, Task, TimeSpan, Use, load_codebook
from ai_therapist.store.workspace import Workspace
from tests.dataset.builders import make_parts, save_annotated, with_uses

PARTS = make_parts("talk one", turns=6)
TURNS = PARTS.transcript.utterances
BOOK = load_codebook()


def make_workspace(folder: Path) -> Workspace:
    workspace = Workspace(folder)
    save_annotated(workspace, [PARTS])
    return workspace


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "place")


def questions(workspace: Workspace) -> tuple[Question, ...]:
    decisions = workspace.decisions
    session = PARTS.session
    made, taken = decisions.made(session.id), decisions.retracted(session.id)
    return questions_of(session, TURNS, PARTS.annotations, made, taken)


def answer(workspace: Workspace, turn: int, task: Task, rater: str, word: str) -> None:
    question = next(one for one in questions(workspace) if one.turn.id == TURNS[turn].id and one.task is task)
    outcome = Abstention(reason=CANNOT_TELL) if word == CANNOT else Label(value=word)
    given = decide(question, rater, outcome, Look(blind=True, played=False), BOOK, "2026-01-01T00:00:00Z")
    workspace.decisions.add(PARTS.session.id, given)


Answer = tuple[str, Task, str, str]


def answers(workspace: Workspace) -> set[Answer]:
    """Utterance, task, person and word of every decision that stands."""
    standing = [decision.annotation for decision in workspace.decisions.standing(PARTS.session.id)]
    return {(one.utterance, one.task, one.provenance.rater or "", one.label or CANNOT) for one in standing}


def take(workspace: Workspace, path: Path, **options: Any) -> Answered:
    chosen: dict[str, Any] = {"rater": None, "raters": {}, "played": False} | options
    return take_in(workspace, path, **chosen)


ASKED = [
    (place, task)
    for place, turn in enumerate(TURNS)
    for task in (Task.EMOTION, Task.STRATEGY)
    if task is Task.EMOTION or PARTS.session.role_of(turn.speaker) is Role.THERAPIST
]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chosen=st.dictionaries(
        st.tuples(st.sampled_from(ASKED), st.sampled_from(["ada", "b.2", "C-3"])), st.integers(0, 99), max_size=12
    ),
    tool=st.sampled_from([Tool.CSV, Tool.ELAN, Tool.TEXTGRID]),
)
def test_out_and_in_again_gives_the_same_answers(chosen: dict[tuple[tuple[int, Task], str], int], tool: Tool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, two = (make_workspace(Path(folder) / name) for name in ("one", "two"))
        for ((turn, task), rater), pick in chosen.items():
            words = (*BOOK.names(task), CANNOT)
            answer(one, turn, task, rater, words[pick % len(words)])
        done = hand_out(one, tool)
        (path,) = done.folder.iterdir()
        taken = take(two, path)
        assert (taken.new, taken.same, taken.refused) == (len(chosen), 0, ())
        assert answers(two) == answers(one)
        again = take(two, path)
        assert (again.new, again.same, again.refused) == (0, len(chosen), ())
        for workspace in (one, two):
            workspace.index.close()


@pytest.mark.parametrize("tool", [Tool.ELAN, Tool.TEXTGRID])
def test_times_are_kept_to_the_millisecond(place: Workspace, tool: Tool) -> None:
    answer(place, 1, Task.EMOTION, "ada", "joy")
    (path,) = hand_out(place, tool).folder.iterdir()
    read = read_elan if tool is Tool.ELAN else read_textgrid
    tiers = {tier.name: tier for tier in read(path.read_bytes(), "x")}
    assert [one.span for one in tiers["B"].intervals] == [turn.span for turn in TURNS if turn.speaker == "B"]
    labelled = [one.span for one in tiers["B - emotion (ada)"].intervals if one.text]
    assert labelled == [TURNS[1].span]


def _elan(tiers: Sequence[Tier], folder: Path) -> Path:
    path = folder / "talk one.eaf"
    path.write_bytes(write_elan(tiers))
    return path


def _tier(name: str, *pieces: tuple[TimeSpan, str]) -> Tier:
    return Tier.model_validate(
        {"name": name, "intervals": tuple({"span": span, "text": word} for span, word in pieces)}
    )


def test_a_border_that_was_moved_a_little_still_counts_and_a_stretch_over_nothing_does_not(
    place: Workspace, tmp_path: Path
) -> None:
    span = TURNS[1].span
    moved = TimeSpan(start_ms=span.start_ms + 40, end_ms=span.end_ms + 1)
    far = TimeSpan(start_ms=900_000, end_ms=901_000)
    wide = TimeSpan(start_ms=TURNS[3].span.start_ms, end_ms=TURNS[5].span.end_ms)
    taken = take(place, _elan([_tier("B - emotion (ada)", (moved, "joy"), (wide, "fear"), (far, "fear"))], tmp_path))
    assert answers(place) == {(TURNS[1].id, Task.EMOTION, "ada", "joy")}
    assert len(taken.refused) == 2
    assert taken.refused[1].where.endswith("tier 'B - emotion (ada)' at 00:15:00.000")
    assert all("covers no turn" in each.reason for each in taken.refused)


def test_elan_offers_the_labels_of_the_codebook(place: Workspace) -> None:
    (path,) = hand_out(place, Tool.ELAN, rater="ada", blind=True).folder.iterdir()
    tiers = {tier.name: tier for tier in read_elan(path.read_bytes(), "x")}
    assert set(tiers) == {"A", "A - emotion (ada)", "A - strategy (ada)", "B", "B - emotion (ada)"}
    assert tiers["A - strategy (ada)"].vocabulary == (*BOOK.names(Task.STRATEGY), CANNOT)
    assert [one.text for one in tiers["B - emotion (ada)"].intervals] == ["", "", ""]


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def _csv(folder: Path, *rows: tuple[str, ...], header: str = "utterance,rater,emotion,strategy") -> Path:
    path = folder / "ratings.csv"
    lines = [header, *(",".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_a_file_for_one_person_shows_nobody_elses_answers(place: Workspace) -> None:
    answer(place, 0, Task.EMOTION, "ada", "joy")
    answer(place, 0, Task.EMOTION, "ben", "fear")
    for tool in (Tool.CSV, Tool.ELAN, Tool.TEXTGRID):
        done = hand_out(place, tool, rater="ada", blind=True)
        shown = "".join(path.read_text("utf-8") for path in done.folder.iterdir())
        assert "ben" not in shown
        assert "models" not in shown
    row = _rows(hand_out(place, Tool.CSV, rater="ada").folder / "talk one.csv")[0]
    assert (row["rater"], row["emotion"], row["emotion by models"]) == ("ada", "joy", "sadness")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("{0}", "ada", "Joy", ""), "no emotion of codebook .*: write 'joy'"),
        (("{0}", "ada", "happiness and relief", ""), "no emotion of codebook [0-9.]*$"),
        (("{0}", "ada", "", "Open question"), "write 'Open questions'"),
        (("utt_000000000000", "ada", "joy", ""), "no turn that may be labelled here"),
        (("{1}", "ada", "", "Approval"), "since a client spoke"),
        (("{0}", "", "joy", ""), "nobody is named"),
        (("{0}", "ada@example.org", "joy", ""), "a pseudonym"),
    ],
)
def test_what_does_not_fit_is_refused_with_row_and_reason_and_never_bent(
    place: Workspace, tmp_path: Path, row: tuple[str, ...], reason: str
) -> None:
    filled = tuple(cell.format(TURNS[0].id, TURNS[1].id) for cell in row)
    good = (TURNS[2].id, "ada", "neutral", "")
    taken = take(place, _csv(tmp_path, filled, good))
    (refused,) = taken.refused
    assert refused.where == "ratings.csv, row 2"
    assert re.search(reason, refused.reason)
    assert "happiness" not in refused.reason
    assert answers(place) == {(TURNS[2].id, Task.EMOTION, "ada", "neutral")}


def test_two_answers_of_one_person_in_one_file_are_a_fault_and_later_files_change_minds(
    place: Workspace, tmp_path: Path
) -> None:
    taken = take(place, _csv(tmp_path, (TURNS[0].id, "ada", "joy", ""), (TURNS[0].id, "ada", "fear", "")))
    assert [each.reason for each in taken.refused] == ["ada answers this question twice in the file"]
    assert take(place, _csv(tmp_path, (TURNS[0].id, "ada", "fear", ""))).new == 1
    assert take(place, _csv(tmp_path, (TURNS[0].id, "ada", "joy", ""))).new == 1
    assert answers(place) == {(TURNS[0].id, Task.EMOTION, "ada", "joy")}
    assert len(workspace_decisions(place)) == 3


def workspace_decisions(workspace: Workspace) -> Sequence[object]:
    return workspace.decisions.made(PARTS.session.id)


def test_a_decision_says_where_it_came_from(place: Workspace, tmp_path: Path) -> None:
    take(place, _csv(tmp_path, (TURNS[0].id, "joy"), header="utterance,emotion"), rater="ada", played=True)
    (decision,) = place.decisions.made(PARTS.session.id)
    provenance = decision.annotation.provenance
    assert provenance.annotator == "person:ada"
    assert provenance.route.startswith("imported from csv, file ")
    assert {each.value for each in provenance.modalities} == {"text", "video", "audio"}


def test_words_that_a_spreadsheet_would_compute_are_shown_instead(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "place")
    said = PARTS.transcript.model_copy(
        update={"utterances": (TURNS[0].model_copy(update={"text": "=1+1", "words": ()}), *TURNS[1:])}
    )
    save_annotated(workspace, [type(PARTS)(PARTS.session, said, PARTS.clips, PARTS.annotations)])
    assert _rows(hand_out(workspace, Tool.CSV).folder / "talk one.csv")[0]["text"] == "'=1+1"


# Label Studio


def _tasks(workspace: Workspace, **options: Any) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = json.loads(
        (hand_out(workspace, Tool.LABEL_STUDIO, **options).folder / "tasks.json").read_text()
    )
    return tasks


def _annotated(task: dict[str, Any], person: object, **choices: list[str]) -> dict[str, Any]:
    """A task as Label Studio exports it, with numbers of its own."""
    result = [
        {"id": f"x{name}", "from_name": name, "to_name": "text", "type": "choices", "value": {"choices": chosen}}
        for name, chosen in choices.items()
    ]
    done = {"id": 7, "completed_by": person, "was_cancelled": False, "result": result, "lead_time": 3.2}
    return {"id": 311, "data": task["data"], "annotations": [done], "predictions": []}


def _export(folder: Path, *tasks: dict[str, Any]) -> Path:
    path = folder / "export.json"
    path.write_text(json.dumps(tasks), "utf-8")
    return path


def test_label_studio_gets_turns_and_predictions_with_stable_ids(place: Workspace) -> None:
    tasks = _tasks(place)
    assert [task["data"]["utterance"] for task in tasks] == [turn.id for turn in TURNS]
    assert [task["data"]["talk"][-1]["text"] for task in tasks] == [turn.text for turn in TURNS]
    ids = {annotation.id: annotation.label for annotation in PARTS.annotations}
    shown = {
        each["result"][0]["id"]: each["result"][0]["value"]["choices"] for task in tasks for each in task["predictions"]
    }
    assert shown == {name: [label] for name, label in ids.items()}
    assert not any(task["predictions"] for task in _tasks(place, blind=True))


def test_what_people_chose_there_comes_back_by_turn_and_pseudonym(place: Workspace, tmp_path: Path) -> None:
    tasks = _tasks(place)
    path = _export(
        tmp_path,
        _annotated(tasks[0], 4, emotion=["joy"], strategy=["Approval"]),
        _annotated(tasks[1], {"id": 5, "email": "ben@example.org"}, emotion=[CANNOT]),
        _annotated(tasks[2], 6, emotion=["joy", "fear"]),
        _annotated(tasks[3], 6, note=["hello"]),
    )
    taken = take(place, path, raters={"4": "ada", "ben@example.org": "ben"})
    assert answers(place) == {
        (TURNS[0].id, Task.EMOTION, "ada", "joy"),
        (TURNS[0].id, Task.STRATEGY, "ada", "Approval"),
        (TURNS[1].id, Task.EMOTION, "ben", CANNOT),
    }
    (refused,) = taken.refused
    assert refused.where == "export.json, task 3"
    take(place, _export(tmp_path, _annotated(tasks[4], 9, emotion=["fear"])))
    assert (TURNS[4].id, Task.EMOTION, "ls-9", "fear") in answers(place)


def test_what_was_skipped_there_is_no_answer(place: Workspace, tmp_path: Path) -> None:
    skipped = _annotated(_tasks(place)[0], 4, emotion=["joy"])
    skipped["annotations"][0]["was_cancelled"] = True
    assert take(place, _export(tmp_path, skipped)) == Answered(0, 0, ())


def test_the_labelling_interface_offers_every_label_with_its_definition() -> None:
    view = ElementTree.fromstring(labelling_config(BOOK))
    for task in (Task.EMOTION, Task.STRATEGY):
        (choices,) = [each for each in view.iter("Choices") if each.get("name") == task.value]
        assert [each.get("value") for each in choices] == [*BOOK.names(task), CANNOT]
        assert all(each.get("hint") for each in choices)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", "{}", "a list of tasks"),
        ("x.json", '[{"annotations": []}]', "task 1: has no data"),
        ("x.json", '[{"data": {}, "annotations": [{"result": 3}]}]', "no list of results"),
        ("x.json", "[" * 100_000, "not valid JSON"),
        ("x.csv", "a,b\n1,2\n", "must name the column utterance"),
        ("talk one.eaf", "<x/>", "not an ELAN document"),
        ("talk one.TextGrid", "hello", "a TextGrid should stand"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_named(
    place: Workspace, tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidRecord, match=message):
        take(place, tmp_path / name)
    assert answers(place) == set()


def test_a_file_of_no_tool_of_no_session_or_that_is_not_there(place: Workspace, tmp_path: Path) -> None:
    (tmp_path / "x.odt").write_text("")
    with pytest.raises(RequestError, match=r"known are \.csv"):
        take(place, tmp_path / "x.odt")
    with pytest.raises(MissingInput, match=r"gone\.csv"):
        take(place, tmp_path / "gone.csv")
    other = tmp_path / "other.eaf"
    other.write_bytes(write_elan([]))
    with pytest.raises(RequestError, match="name the file after its session"):
        take(place, other)


def test_a_session_that_does_not_permit_annotation_is_left_out(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save_annotated(workspace, [PARTS, with_uses(make_parts("shut"), Use.TRANSCRIBE)])
    done = hand_out(workspace, Tool.CSV)
    assert (done.files, [each.where for each in done.left_out]) == (1, ["shut"])
    shut = make_parts("shut").transcript.utterances[0].id
    taken = take(workspace, _csv(tmp_path, (shut, "ada", "joy", "")))
    assert "does not permit 'annotate'" in taken.refused[0].reason
    assert workspace.decisions.sessions() == ()
