"""The card says what is in the dataset, from whom, and what it must not be used for."""

import importlib
from pathlib import Path

from ai_therapist.dataset.card import yaml_features
from ai_therapist.dataset.rows import REPLIES
from ai_therapist.records import Use
from tests.dataset.builders import with_uses
from tests.dataset.test_tables import make_examples, make_folder, make_sessions


def _card(folder: Path, *withheld: str) -> str:
    sessions = [with_uses(parts, Use.TRAIN) if parts.session.name in withheld else parts for parts in make_sessions()]
    return (make_folder(folder, sessions) / "README.md").read_text("utf-8")


def test_features_have_the_form_that_datasets_writes_itself() -> None:
    import datasets

    yaml = importlib.import_module("yaml")
    features = REPLIES.features
    turn = {name: datasets.Value(str(kind)) for name, kind in features["client"].items()}  # type: ignore[union-attr]
    ours = yaml.safe_load("\n".join(yaml_features({"client": features["client"], "context": features["context"]}, 0)))
    theirs = datasets.Features({"client": turn, "context": datasets.List(turn)})._to_yaml_list()
    assert ours == theirs


def test_the_header_is_what_the_hub_reads(tmp_path: Path) -> None:
    yaml = importlib.import_module("yaml")
    header = yaml.safe_load(_card(tmp_path).split("---\n")[1])
    assert [config["config_name"] for config in header["configs"]] == ["default", "clips", "sessions", "labels"]
    assert "Purpose" in header["extra_gated_fields"]
    assert header["size_categories"] == ["n<1K"]


def test_the_card_names_annotators_consent_uses_and_limits(tmp_path: Path) -> None:
    card = _card(tmp_path)
    for text in ("annotator-1", "person:ada", "fictional_role_play, 2 session(s)", "2 of 2 sessions permit"):
        assert text in card
    for heading in ("## Splits", "## Labels", "## Provenance", "## Intended use", "## Prohibited use", "## Limits"):
        assert heading in card
    assert "not a medical device" in card


def test_the_card_counts_labels_and_those_that_are_missing(tmp_path: Path) -> None:
    card = _card(tmp_path)
    assert "| train | 3 | 8 | 1 | 1 | 2 |" in card
    assert "| validation | 0 | 0 | 0 | 0 | 0 |" in card
    assert "| (no label) | 1 | 0 | 0 | 1 |" in card


def test_the_card_tells_whose_the_labels_are_and_who_abstained(tmp_path: Path) -> None:
    card = _card(tmp_path)
    assert "Where a person decided, only people count" in card
    assert "| client_emotion | 1 | 4 | 1 |" in card
    assert "| emotion | person:ada | 2 | 1 (50.0%) |" in card
    assert "| emotion | annotator-1 | 16 | 0 (0.0%) |" in card


def test_a_card_with_withheld_sessions_warns(tmp_path: Path) -> None:
    assert "must not be given away" in _card(tmp_path, "s1")
    assert "1 of 2 sessions permit it" in _card(tmp_path, "s1")


def test_the_card_quotes_nobody(tmp_path: Path) -> None:
    card = _card(tmp_path)
    assert all(example.reply.text not in card and example.client.text not in card for example in make_examples())
