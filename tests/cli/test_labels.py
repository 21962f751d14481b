"""Labels out to people's tools and back in, as the command line does it."""

from pathlib import Path

import pytest

from ai_therapist.store.workspace import Workspace
from tests.cli.conftest import Cli
from tests.dataset.builders import make_parts, save_annotated

PARTS = make_parts("talk", turns=6)


@pytest.fixture
def study(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "study")
    save_annotated(workspace, [PARTS])
    return workspace


def test_a_filled_sheet_comes_back_and_the_rest_is_refused_with_its_row(
    run_cli: Cli, study: Workspace, tmp_path: Path
) -> None:
    shown = run_cli("labels", "export", "csv", "-w", "study", "--rater", "ada", "--blind")
    assert (shown.code, "1 files, 6 turns" in shown.out) == (0, True)
    lines = (study.exports / "labels-csv" / "talk.csv").read_text().splitlines()
    lines[1] = lines[1].removesuffix(",,") + ",joy,"
    lines[2] = lines[2].removesuffix(",,") + ",very glad,"
    (tmp_path / "talk.csv").write_text("\n".join(lines) + "\n")
    shown = run_cli("labels", "import", "talk.csv", "-w", "study")
    assert shown.code == 3
    assert "refused: talk.csv, row 3: its value is no emotion" in shown.out
    assert "very glad" not in shown.out
    assert "talk.csv: 1 new, 0 as before, 1 refused" in shown.out


def test_a_person_is_named_as_number_and_pseudonym(run_cli: Cli, study: Workspace, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text("[]")
    shown = run_cli("labels", "import", "export.json", "-w", "study", "--person", "ada")
    assert (shown.code, "NUMBER=ID" in shown.err) == (2, True)
    assert run_cli("labels", "import", "export.json", "-w", "study", "--person", "4=ada").code == 0


def test_the_dataset_is_spoken_of_only_where_something_is_new(run_cli: Cli, study: Workspace, tmp_path: Path) -> None:
    (tmp_path / "talk.csv").write_text(f"utterance,emotion,rater\n{PARTS.transcript.utterances[0].id},joy,ada\n")
    first = run_cli("labels", "import", "talk.csv", "-w", "study")
    assert (first.code, "Make the dataset again" in first.out) == (0, True)
    again = run_cli("labels", "import", "talk.csv", "-w", "study")
    assert (again.code, "1 as before" in again.out) == (0, True)
    assert "Make the dataset again" not in again.out


def test_a_sheet_without_a_rater_is_refused_once_and_the_next_file_is_taken(
    run_cli: Cli, study: Workspace, tmp_path: Path
) -> None:
    turn = PARTS.transcript.utterances[0].id
    (tmp_path / "bare.csv").write_text(f"utterance,emotion\n{turn},joy\n")
    (tmp_path / "talk.csv").write_text(f"utterance,emotion,rater\n{turn},joy,ada\n")
    shown = run_cli("labels", "import", "bare.csv", "talk.csv", "-w", "study")
    assert shown.code == 3
    assert "refused: bare.csv: no row says who answered: fill its column rater, or add --rater ID" in shown.out
    assert "talk.csv: 1 new" in shown.out
    assert run_cli("labels", "import", "bare.csv", "-w", "study", "--rater", "ben").code == 0
