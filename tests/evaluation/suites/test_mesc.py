"""MESC from files of the described layout: words from the table, both protocols, and what is refused."""

import csv
import json
from pathlib import Path

import pytest

from ai_therapist.errors import MissingInput, RequestError
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.suites import mesc
from ai_therapist.evaluation.suites.labelled import SUITES
from ai_therapist.evaluation.suites.run import run_suite

CUES = "The client looks down"


def utterances(dialogue: int) -> list[tuple[str, str, str, str]]:
    """Speaker, text, emotion, strategy of one invented dialogue."""
    return [
        ("Client", f"i lost my key number {dialogue}", "sadness" if dialogue % 2 else "Anger", "undefined"),
        ("Therapist", f"where did you look for key {dialogue}", "neutral", "Open question"),
        ("Client", f"all over house {dialogue}", "fear", "undefined"),
        (
            "Therapist",
            f"you looked all over house {dialogue}",
            "neutral",
            "Guiding the Pace and Depth of the Conversation",
        ),
    ]


def files(folder: Path, dialogues: int = 10) -> list[Path]:
    """The table, with a row that stands twice, and the three files of the published split."""
    table = folder / "mesc.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*mesc.COLUMNS, "StartTime"])
        for dialogue in range(dialogues):
            for place, (speaker, text, emotion, strategy) in enumerate(utterances(dialogue)):
                row = (text, speaker, emotion, strategy, dialogue, place, 1, dialogue // 2, "00:00:01,000")
                rows.writerows([row, row] if place == 1 else [row])
    parts = {"train": range(6), "valid": range(6, 8), "test": range(8, dialogues)}
    for part, numbers in parts.items():
        content = [
            {"dialog": [{"text": f"{text}{CUES}", "speaker": "user"} for _, text, _, _ in utterances(number)]}
            for number in numbers
        ]
        (folder / f"{part}.json").write_text(json.dumps(content), "utf-8")
    return [table, *(folder / f"{part}.json" for part in parts)]


def test_the_published_split_takes_the_words_from_the_table(tmp_path: Path) -> None:
    rows = SUITES["mesc-emotion"].load(files(tmp_path))

    assert {row.split: sum(r.split == row.split for r in rows) for row in rows} == {"train": 12, "dev": 4, "test": 4}
    assert not any(CUES in row.text for row in rows)
    first, second = (row for row in rows if row.group == "8")
    assert first.text == "client: i lost my key number 8"
    assert second.text.splitlines() == [
        "client: i lost my key number 8",
        "therapist: where did you look for key 8",
        "client: all over house 8",
    ]
    assert (first.gold, second.gold) == ("anger", "fear")


def test_the_next_strategy_is_told_from_what_came_before_only(tmp_path: Path) -> None:
    rows = [row for row in SUITES["mesc-strategy"].load(files(tmp_path)) if row.group == "8"]

    assert [row.gold for row in rows] == ["Open questions", "Guiding the pace"]
    assert "where did you look" not in rows[0].text
    assert rows[1].text.splitlines()[-1] == "client: all over house 8"
    assert "you looked all over" not in rows[1].text


@pytest.mark.parametrize("name", ["mesc-emotion-episodes", "mesc-strategy-episodes"])
def test_no_episode_is_on_both_sides(tmp_path: Path, name: str) -> None:
    table, *_ = files(tmp_path)
    episodes: dict[str, set[int]] = {"train": set(), "test": set()}
    for row in SUITES[name].load([table]):
        episodes[row.split].add(int(row.group) // 2)

    assert episodes["train"] and episodes["test"]
    assert not episodes["train"] & episodes["test"]


def test_the_suite_runs_beside_the_published_rows(tmp_path: Path) -> None:
    suite = SUITES["mesc-emotion"]
    found = run_suite(suite, suite.load(files(tmp_path)), Resampling(1000), allow_leak=True)

    assert found.held_out == "test"
    assert "MultiMood" in {row.system.split(",")[0] for row in found.published}
    assert found.systems["copy-gold"].leaks


def test_another_number_of_rows_than_published_is_said(tmp_path: Path) -> None:
    paths = []
    for part in ("train", "test"):
        path = tmp_path / f"{part}.csv"
        path.write_text(
            "Dialogue_History,Next_Strategy\n" + "".join(f"{part} text {n},{n % 8}\n" for n in range(16)), "utf-8"
        )
        paths.append(path)
    suite = SUITES["emodynamix-esconv"]
    found = run_suite(suite, suite.load(paths), Resampling(1000), allow_leak=True)

    assert found.notes == ("the published test part has 2895 rows, this file 16: another set",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("hello,Narrator,joy,undefined,0,0,1,1", "row 1: the speaker is none of"),
        ("hello,Client,joy,undefined,0,first,1,1", "row 1: Utterance_ID must be a number"),
        ("hello,Client,surprise,undefined,0,0,1,1", "dialogue 0, utterance 1: the emotion is none"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "mesc.csv"
    path.write_text(f"{','.join(mesc.COLUMNS)}\n{row}\n", "utf-8")

    with pytest.raises(RequestError, match=message):
        SUITES["mesc-emotion-episodes"].load([path])


def test_split_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    table, train, valid, test = files(tmp_path)
    suite = SUITES["mesc-emotion"]

    with pytest.raises(RequestError, match=r"train\.json, valid\.json, test\.json"):
        suite.load([table])
    with pytest.raises(MissingInput, match="expected a JSON list"):
        suite.load([table, train, valid, tmp_path / "absent.json"])
    for content, message in (("[", "is no JSON"), ('[{"dialog": [{}]}]', "another layout"), ("[1]", "another layout")):
        test.write_text(content, "utf-8")
        with pytest.raises(RequestError, match=message):
            suite.load([table, train, valid, test])
    test.write_text(json.dumps([{"dialog": [{"text": "nobody said this"}]}]), "utf-8")
    with pytest.raises(RequestError, match=r"test\.json: dialogue 1 is not in the table"):
        suite.load([table, train, valid, test])
    with pytest.raises(RequestError, match="this suite reads one file"):
        SUITES["mesc-strategy-episodes"].load([table, train])
