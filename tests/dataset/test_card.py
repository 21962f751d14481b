"""The card says what is in the dataset, from whom, and what it must not be used for."""

import importlib
from pathlib import Path

from ai_therapist.dataset.card import Lineage, render_card, yaml_features
from ai_therapist.dataset.publish import FEATURES, write_tables
from ai_therapist.records import Use
from ai_therapist.testing import make_consent
from tests.dataset.test_publish import make_examples


def _card(folder: Path, *withheld: str) -> str:
    examples = make_examples()
    consents = {"one": make_consent(), "two": make_consent(Use.TRAIN)}
    lineage = Lineage(consents, ("linear-1", "person-7"), ("heard-2",), withheld)
    return render_card(examples, write_tables(examples, folder), lineage)


def test_features_have_the_form_that_datasets_writes_itself() -> None:
    import datasets

    yaml = importlib.import_module("yaml")
    turn = {name: datasets.Value(str(kind)) for name, kind in FEATURES["client"].items()}  # type: ignore[union-attr]
    ours = yaml.safe_load("\n".join(yaml_features({"client": FEATURES["client"], "context": FEATURES["context"]}, 0)))
    theirs = datasets.Features({"client": turn, "context": datasets.List(turn)})._to_yaml_list()
    assert ours == theirs


def test_the_card_names_annotators_consent_uses_and_limits(tmp_path: Path) -> None:
    card = _card(tmp_path)
    for text in ("linear-1", "person-7", "heard-2", "fictional_role_play, 2 session(s)", "2 of 2 sessions permit"):
        assert text in card
    for heading in ("## Splits", "## Labels", "## Provenance", "## Intended use", "## Prohibited use", "## Limits"):
        assert heading in card
    assert "not a medical device" in card


def test_the_card_counts_labels_and_those_that_are_missing(tmp_path: Path) -> None:
    card = _card(tmp_path)
    assert "| train | 3 | 1 | 1 | 2 |" in card
    assert "| validation | 0 | 0 | 0 | 0 |" in card
    assert "| (no label) | 1 | 0 | 0 | 1 |" in card


def test_a_card_with_withheld_sessions_warns(tmp_path: Path) -> None:
    assert "must not be given away" in _card(tmp_path, "two")
    assert "1 of 2 sessions permit it" in _card(tmp_path, "two")


def test_the_card_quotes_nobody(tmp_path: Path) -> None:
    card = _card(tmp_path)
    assert all(example.reply.text not in card and example.client.text not in card for example in make_examples())
