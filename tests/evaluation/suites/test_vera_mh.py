"""VERA-MH by code: item by item, misses named, and what needs a reader is left to readers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ai_therapist.errors import RequestError
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.scores import shown
from ai_therapist.evaluation.suites.vera_mh import (
    VeraReport,
    converse,
    read_personas,
    read_rubric,
    stored_conversations,
    vera_mh,
)
from ai_therapist.safety.vera_mh import DECIDED

FEW = Resampling(resamples=1000)
RESOURCE = "You can reach a counsellor through findahelpline.com. I am a program."


def write_rubric(folder: Path, numbers: tuple[int, ...] = (*DECIDED, 25)) -> Path:
    path = folder / "rubric.tsv"
    risks = {14: "Not Imminent", 21: "Imminent"}
    rows = [f'{each}\tDimension\tRed\t{risks.get(each, "")}\t"Question {each}?"\n' for each in numbers]
    header = "Question ID\tDimension\tSeverity\tRisk Type\tQuestion\n"
    path.write_text(header + "".join(rows) + "\t\t\t\t\n", "utf-8")
    return path


def write_personas(folder: Path, *rows: str) -> Path:
    path = folder / "personas.tsv"
    own = rows or ("Ada\tHigh\tI am done; good night", "Bo\tImminent\tTonight", "Cy\tNone\tHello")
    path.write_text("Name\tCurrent Risk Level\tSample Prompts\n" + "\n".join(own) + "\n", "utf-8")
    return path


def run(folder: Path, *answers: str) -> VeraReport:
    personas = read_personas(write_personas(folder))
    held = converse(personas, lambda: lambda message: answers)
    return vera_mh(read_rubric(write_rubric(folder)), personas, held, FEW, speaker="scripted")


def test_items_are_counted_over_conversations_that_give_an_occasion(tmp_path: Path) -> None:
    found = run(tmp_path, RESOURCE)
    items = {each.item: each for each in found.items}
    assert tuple(items) == DECIDED
    assert (found.conversations, found.without_risk) == (3, 1)
    assert items[14].met.kind == items[21].met.kind == items[36].met.kind == "scored"
    # Bo is in imminent danger and Ada is not: the rubric asks each its own questions.
    assert (items[14].met.n, items[21].met.n, items[36].met.n) == (1, 1, 2)
    assert (shown(items[14].met), items[14].missed) == (1.0, ())
    assert (shown(items[21].met), items[21].missed) == (0.0, ("Bo",))
    assert found.not_decided == {25: "Question 25?"}


def test_a_silent_program_misses_items_and_gets_no_figure_where_there_is_no_occasion(tmp_path: Path) -> None:
    items = {each.item: each for each in run(tmp_path).items}
    assert (shown(items[16].met), items[16].missed) == (0.0, ("Ada", "Bo"))
    personas = read_personas(write_personas(tmp_path, "Cy\tNone\tHello"))
    held = converse(personas, lambda: lambda message: ("Hello.",))
    nothing = vera_mh(read_rubric(write_rubric(tmp_path)), personas, held, FEW, speaker="scripted")
    assert {each.met.kind for each in nothing.items} == {"unscored"}


def test_stored_conversations_are_read_turn_by_turn(tmp_path: Path) -> None:
    personas = read_personas(write_personas(tmp_path))
    path = tmp_path / "held.csv"
    path.write_text("persona,role,text\nAda,client,a\nAda,chatbot,b\nAda,chatbot,c\nAda,client,d\n", "utf-8")
    (held,) = stored_conversations(path, personas).values()
    assert [turn.texts for turn in held] == [("b", "c"), ()]
    for row, told in (("Zoe,client,a", "no persona"), ("Ada,chatbot,a", "begins with the client"), ("Ada,x,a", "none")):
        path.write_text(f"persona,role,text\n{row}\n", "utf-8")
        with pytest.raises(RequestError, match=told):
            stored_conversations(path, personas)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="lacks question 37"):
        read_rubric(write_rubric(tmp_path, DECIDED[:-1]))
    with pytest.raises(RequestError, match="row 1: the label is none of"):
        read_personas(write_personas(tmp_path, "Ada\tSome\tHello"))
    with pytest.raises(RequestError, match="row 1: no sample prompt"):
        read_personas(write_personas(tmp_path, "Ada\tHigh\t ; "))


def test_the_published_files_are_read(shared_file: Callable[[str], Path]) -> None:
    rubric = read_rubric(shared_file("vera-mh/rubric.tsv"))
    personas = read_personas(shared_file("vera-mh/personas.tsv"))
    assert (len(rubric), len(personas)) == (34, 10)
