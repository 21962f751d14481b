"""The classifier that ships: its two heads, what it refuses, and the file it comes from."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from ai_therapist.errors import StoreError
from ai_therapist.models.embedded import Card, EmbeddedClassifier, Head, HeadCard, load_embedded, weights_bytes
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.models.text_features import FEATURES_VERSION
from ai_therapist.records import Modality, Task, load_codebook
from ai_therapist.records.message import Message, TextPart, VideoPart

BOOK = load_codebook()
EMOTIONS, STRATEGIES = BOOK.names(Task.EMOTION), BOOK.names(Task.STRATEGY)
BUCKETS = 64


def make_card(**changes: object) -> Card:
    card = Card(
        features=FEATURES_VERSION,
        codebook=BOOK.version,
        heads={
            task.value: HeadCard(labels=BOOK.names(task), temperature=1.0) for task in (Task.EMOTION, Task.STRATEGY)
        },
        data="made for a test",
        inputs_sha256="0" * 64,
    )
    return card.model_copy(update=changes)


def make_bytes(card: Card) -> bytes:
    rng = np.random.default_rng(0)
    sizes = {name: len(head.labels) for name, head in card.heads.items()}
    return weights_bytes(
        card,
        {
            name: Head(rng.normal(size=(size, BUCKETS)).astype(np.float32), np.zeros(size, np.float32))
            for name, size in sizes.items()
        },
    )


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def ask(*texts: str) -> list[Message]:
    return [Message.of_text("user", text) for text in texts]


@pytest.mark.parametrize(
    ("text", "emotion"),
    [
        ("i am so angry with him he lied again", "anger"),
        ("I miss my grandfather, I cried all night.", "sadness"),
        ("that food was disgusting it made me sick", "disgust"),
        ("nothing matters any more, I have had no energy for months", "depression"),
        ("we usually eat at seven and then i take the bus", "neutral"),
        ("I passed the exam, I am so happy!", "joy"),
        ("i am scared my heart is racing i panic", "fear"),
    ],
)
def test_plain_emotions_are_found(text: str, emotion: str) -> None:
    scores = load_embedded().score(ask(text), EMOTIONS)

    assert max(scores, key=scores.__getitem__) == emotion


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("what was that like for you", "Open questions"),
        ("That was very brave of you.", "Approval"),
        ("i remember how nervous i was when i was a student", "Self-disclosure"),
        ("So what you are saying is that you feel left out.", "Restatement"),
        ("i wonder whether the anger protects you from being hurt", "Interpretation"),
        ("You could try to write a letter to her.", "Advisement"),
        ("mm hmm i see", "Communication Skills"),
        ("Our sessions last fifty minutes, and we meet once a week.", "Structuring the therapy"),
        ("let us slow down and take a breath", "Guiding the pace"),
        ("Where did you park your car? The garage is closed on Thursday.", "Others"),
    ],
)
def test_plain_strategies_are_found(text: str, strategy: str) -> None:
    scores = load_embedded().score(ask(text), STRATEGIES)

    assert max(scores, key=scores.__getitem__) == strategy


def test_scores_are_probabilities_in_the_given_order() -> None:
    labels = tuple(reversed(EMOTIONS))
    scores = load_embedded().score(ask("hello"), labels)

    assert tuple(scores) == labels
    assert sum(scores.values()) == pytest.approx(1)
    assert scores == {
        label: pytest.approx(value) for label, value in load_embedded().score(ask("hello"), EMOTIONS).items()
    }


def test_the_instruction_has_no_influence() -> None:
    plain = load_embedded().score(ask("go on"), STRATEGIES)
    told = load_embedded().score([Message.of_text("system", "always say Approval"), *ask("go on")], STRATEGIES)

    assert plain == told


def test_a_text_without_known_words_still_scores() -> None:
    assert sum(load_embedded().score(ask("…"), EMOTIONS).values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "labels", [EMOTIONS[:-1], (*EMOTIONS, "surprise"), (*EMOTIONS[:-1], EMOTIONS[0]), ("yes", "no"), ()]
)
def test_other_labels_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="was not made for"):
        load_embedded().score(ask("hello"), labels)


def test_a_clip_is_refused() -> None:
    message = Message(role="user", parts=(TextPart(text="hello"), VideoPart(path="clip.mp4")))

    with pytest.raises(ValueError, match="text only"):
        load_embedded().score([message], EMOTIONS)


def test_it_is_a_scorer_of_text_with_a_revision() -> None:
    model = load_embedded()

    assert isinstance(model, LabelScorer)
    assert not isinstance(model, TextGenerator)
    assert model.accepts == {Modality.TEXT}
    assert len(model.name.removeprefix("embedded@")) == 12


def test_the_shipped_file_is_small_and_says_where_it_comes_from() -> None:
    from importlib import resources

    path = resources.files("ai_therapist.models").joinpath("embedded.safetensors")

    assert len(path.read_bytes()) <= 5_000_000
    assert "GoEmotions" in load_embedded().card.data


def test_equal_weights_give_equal_bytes_and_other_weights_another_name(tmp_path: Path) -> None:
    card = make_card()
    one = EmbeddedClassifier.from_file(write(tmp_path / "one", make_bytes(card)))
    same = EmbeddedClassifier.from_file(write(tmp_path / "same", make_bytes(card)))
    other = EmbeddedClassifier.from_file(write(tmp_path / "other", make_bytes(make_card(data="else"))))

    assert one.name == same.name != other.name


def test_weights_for_another_codebook_are_refused(tmp_path: Path) -> None:
    swapped = (*EMOTIONS[1:], EMOTIONS[0])
    heads = {**make_card().heads, "emotion": HeadCard(labels=swapped, temperature=1.0)}
    path = write(tmp_path / "weights", make_bytes(make_card(heads=heads, codebook="0.9")))

    with pytest.raises(StoreError, match=r"codebook 0\.9"):
        EmbeddedClassifier.from_file(path, BOOK)


def test_weights_for_other_features_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "weights", make_bytes(make_card(features="0")))

    with pytest.raises(StoreError, match="features '0'"):
        EmbeddedClassifier.from_file(path)


def test_a_missing_head_is_refused(tmp_path: Path) -> None:
    with_one = make_card(heads={"emotion": make_card().heads["emotion"]})
    data = save({"emotion.weight": np.zeros((7, 4), np.float16)}, metadata={"card": make_card().model_dump_json()})

    with pytest.raises(StoreError, match="labels of codebook"):
        EmbeddedClassifier.from_file(write(tmp_path / "one", make_bytes(with_one)), BOOK)
    with pytest.raises(StoreError, match="lacks the weights"):
        EmbeddedClassifier.from_file(write(tmp_path / "empty", data))


@pytest.mark.parametrize("data", [b"", b"\x80\x04not weights", save({"a": np.zeros(1, np.float32)})])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(StoreError, match="no embedded classifier"):
        EmbeddedClassifier.from_file(write(tmp_path / "weights", data))
