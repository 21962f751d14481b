"""Gold files are read strictly, and complaints never quote what was said."""

import json
from pathlib import Path

import pytest

from ai_therapist.errors import InvalidRecord, MissingInput
from ai_therapist.evaluation.gold import GoldSession, gold_files
from ai_therapist.records import Role, Task
from ai_therapist.store.codec import decode, encode
from tests.evaluation.arc import make_gold

SAMPLES = Path(__file__).parents[2] / "samples" / "gold"


def spoiled(**changes: object) -> bytes:
    data = json.loads(encode(make_gold("one")))
    data["utterances"][0] |= changes
    return json.dumps(data).encode()


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_the_gold_of_every_sample_can_be_read(path: Path) -> None:
    gold = decode(GoldSession, path.read_bytes(), path.name)
    assert gold.session == path.stem
    assert {Role.THERAPIST, Role.CLIENT} <= {utterance.role for utterance in gold.utterances}


def test_roles_may_be_spelled_in_any_case() -> None:
    gold = decode(GoldSession, spoiled(role="THERAPIST"), "gold")
    assert gold.utterances[0].role is Role.THERAPIST


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"emotion": "gloom"}, "the emotion is not in the codebook"),
        ({"strategy": "Shouting"}, "the strategy is not in the codebook"),
        ({"end_ms": 0}, "end_ms must be greater than start_ms"),
        ({"words": [{"text": "secret", "start_ms": 9, "end_ms": 9}]}, "a word's end_ms"),
        ({"role": "client"}, "a speaker has two roles"),
        ({"mood": "secret"}, "mood"),
    ],
)
def test_a_wrong_gold_file_is_refused_in_words_that_quote_nothing(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(InvalidRecord, match=complaint) as refused:
        decode(GoldSession, spoiled(**changes), "gold of one")
    assert "gold of one" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_therapist_has_a_label_for_each_task_and_a_client_no_strategy() -> None:
    therapist, client = make_gold("one").utterances[:2]
    assert therapist.label(Task.STRATEGY) is not None
    assert client.label(Task.STRATEGY) is None
    assert client.label(Task.EMOTION) is not None


def test_clean_is_a_trait() -> None:
    assert make_gold("one").clean
    assert not make_gold("one", traits=["overlap"]).clean


def test_files_are_found_by_the_name_of_the_recording(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    assert gold_files(tmp_path) == {"one": tmp_path / "one.json"}


def test_a_folder_without_gold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="holds no gold transcript"):
        gold_files(tmp_path)
