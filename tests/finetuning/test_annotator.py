"""Training the embedded classifier on labels of one's own: heads, files, tables, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_therapist.errors import MissingInput, RequestError, StoreError
from ai_therapist.finetuning.annotator import LabelledTurn, Trained, classifier_bytes, measure, train_head
from ai_therapist.finetuning.labelled_rows import read_rows
from ai_therapist.models.catalogue import open_model
from ai_therapist.models.embedded import Card, EmbeddedClassifier, load_embedded
from ai_therapist.models.protocol import LabelScorer
from ai_therapist.models.turn_lines import TurnLine
from ai_therapist.records import Role
from ai_therapist.records.message import Message

ASKED = ("what happened then", "how was that", "when did it begin", "who was with you", "why do you think so")
TOLD = ("you could go for a walk", "try to write it down", "call your sister", "take the morning off", "eat first")
LABELS = ("advice", "question")


def turn(text: str, label: str, group: str) -> LabelledTurn:
    return LabelledTurn((TurnLine(Role.THERAPIST, text),), label, group)


def rows(groups: int = 5) -> list[LabelledTurn]:
    return [
        turn(f"{text} {'today' if number % 2 else 'now'}", label, f"g{number % groups}")
        for label, texts in zip(LABELS, (TOLD, ASKED), strict=True)
        for number, text in enumerate(texts)
    ]


def written(path: Path, **heads: Trained) -> Path:
    path.write_bytes(classifier_bytes(heads, "made for a test", "none", [b"rows"]))
    return path


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_head(rows(), LABELS)


def test_a_trained_head_labels_what_it_saw_and_is_a_model_by_its_spec(trained: Trained, tmp_path: Path) -> None:
    model = open_model(f"embedded:{written(tmp_path / 'mine.safetensors', label=trained)}")

    assert isinstance(model, LabelScorer)
    for row in rows():
        scores = model.score([Message.of_text("user", row.turns[-1].text)], LABELS)
        assert max(scores, key=scores.__getitem__) == row.label
        assert sum(scores.values()) == pytest.approx(1)


def test_the_kept_head_gives_what_its_file_gives(trained: Trained, tmp_path: Path) -> None:
    model = EmbeddedClassifier.from_file(written(tmp_path / "one", label=trained))

    assert measure(model, rows(), LABELS) == (10, 1.0, 1.0)
    assert trained.card.inherits == load_embedded().name
    assert trained.held_out is not None and trained.held_out.n == 10


def test_equal_rows_give_equal_bytes(trained: Trained, tmp_path: Path) -> None:
    again = train_head(rows(), LABELS)

    assert written(tmp_path / "a", label=trained).read_bytes() == written(tmp_path / "b", label=again).read_bytes()


def test_too_few_groups_are_not_split_and_nothing_is_claimed_of_them() -> None:
    few = train_head(rows(groups=4), LABELS)

    assert few.held_out is None
    assert few.card.temperature == 1.0


def test_a_label_without_rows_is_as_good_as_never_given(tmp_path: Path) -> None:
    names = (*LABELS, "silence")
    model = EmbeddedClassifier.from_file(written(tmp_path / "one", label=train_head(rows(), names)))

    assert model.score([Message.of_text("user", "what happened then")], names)["silence"] < 1e-3


@pytest.mark.parametrize(
    ("given_rows", "labels", "message"),
    [
        ([], LABELS, "at least two labels; found 0"),
        ([turn("why", "question", "g")], LABELS, "at least two labels; found 1"),
        ([turn("why", "other", "g"), turn("go", "advice", "g")], LABELS, "the label 'other', which is none of"),
        (
            [turn("why", "question", "a"), *(turn(f"go {n}", "advice", f"g{n}") for n in range(6))],
            LABELS,
            "a label stands in one group only",
        ),
    ],
)
def test_rows_that_teach_nothing_are_refused(
    given_rows: list[LabelledTurn], labels: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        train_head(given_rows, labels)


def test_a_file_that_builds_on_another_shipped_classifier_is_refused(trained: Trained, tmp_path: Path) -> None:
    other = Trained(trained.card.model_copy(update={"inherits": "embedded@other"}), trained.head, 1, 1, None)
    path = written(tmp_path / "old", label=other)

    with pytest.raises(StoreError, match=r"builds on embedded@other.*train it again"):
        EmbeddedClassifier.from_file(path)
    bare = Trained(trained.card.model_copy(update={"inherits": None}), trained.head, 1, 1, None)
    with pytest.raises(StoreError, match="does not say what it builds on"):
        EmbeddedClassifier.from_file(written(tmp_path / "bare", label=bare))
    with pytest.raises(MissingInput, match="there is no such file"):
        EmbeddedClassifier.from_file(tmp_path / "none")


def test_the_card_says_what_was_read(trained: Trained, tmp_path: Path) -> None:
    card: Card = EmbeddedClassifier.from_file(written(tmp_path / "one", label=trained)).card

    assert card.data == "made for a test"
    assert len(card.inputs_sha256) == 64


def table(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_a_table_gives_rows_with_their_context(tmp_path: Path) -> None:
    found = read_rows(
        table(
            tmp_path / "rows.csv",
            "split,transcript_id,interlocutor,text,label\n"
            "train,1,client,i slept badly,\n"
            "train,1,therapist,what kept you awake,question\n"
            "train,2,therapist,try to rest,advice\n"
            "dev,3,therapist,how so,question\n",
        )
    )

    assert [row.turns for row in found.train] == [
        (TurnLine(Role.CLIENT, "i slept badly"), TurnLine(Role.THERAPIST, "what kept you awake")),
        (TurnLine(Role.THERAPIST, "try to rest"),),
    ]
    assert [row.group for row in found.train] == ["1", "2"]
    assert [row.label for row in found.held_out] == ["question"]
    assert (found.labels, found.without_label) == (("advice", "question"), 1)


def test_without_roles_the_row_before_is_no_context(tmp_path: Path) -> None:
    found = read_rows(table(tmp_path / "rows.csv", "group,text,label\n1,go on,other\n1,why,question\n"))

    assert [len(row.turns) for row in found.train] == [1, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,kind\nwhy,question\n", "lacks the column 'label'"),
        ("words,label\nwhy,question\n", "lacks the column 'text'"),
        ("text,label\n,question\n", "row 1 has a label and no text"),
        ("text,label,role\nwhy,question,barber\n", "row 1: the role is none of"),
        ("text,label,split\nwhy,question,test\n", "no labelled row of the split train"),
        ("text,label\n", "no labelled row"),
    ],
)
def test_other_tables_are_refused_with_the_layout(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(RequestError, match=f"{message}.*expected a UTF-8 CSV|{message}"):
        read_rows(table(tmp_path / "rows.csv", content))


def test_a_missing_or_binary_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="expected a UTF-8 CSV"):
        read_rows(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"text,label\n\xff\xfe,\x00\n")
    with pytest.raises(RequestError, match="no UTF-8 table"):
        read_rows(tmp_path / "binary.csv")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=3))
def test_any_text_gets_probabilities(texts: list[str]) -> None:
    turns = [TurnLine(None, text) for text in texts]
    powers = np.exp(load_embedded().log_probabilities(turns))

    assert powers[:7].sum() == pytest.approx(1, abs=1e-4)
    assert powers[7:].sum() == pytest.approx(1, abs=1e-4)
