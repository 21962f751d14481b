"""The tuned model is asked through the one renderer and never sees a gold label."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ai_therapist.dataset.render import Field
from ai_therapist.evaluation.opened import reads_cues
from ai_therapist.evaluation.predictions import Reply
from ai_therapist.evaluation.tuned import Tuned
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.models.local import open_tuned
from ai_therapist.models.tuned_folder import TunedFolder
from ai_therapist.records import Abstention, Example, Label, Modality
from ai_therapist.records.message import Message
from ai_therapist.testing import RecordingSpec, make_recording
from tests.evaluation.arc import make_examples, make_gold
from tests.finetuning.builders import save_untrained

EXAMPLE = make_examples([make_gold("one")], test=1)[-1]
TEXT = frozenset({Modality.TEXT})


class Recorder:
    """A model that prefers the last label and remembers what it was asked."""

    name = "recorder"

    def __init__(self, accepts: frozenset[Modality] = TEXT, reply: str = "  Go on. ") -> None:
        self.accepts = accepts
        self.asked: list[tuple[Sequence[Message], str]] = []
        self._reply = reply

    def score(self, messages: Sequence[Message], labels: Sequence[str], *, prefix: str = "") -> dict[str, float]:
        self.asked.append((messages, prefix))
        return {label: 0.5 if label == labels[-1] else 0.5 / (len(labels) - 1) for label in labels}

    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        self.asked.append((messages, prefix))
        yield self._reply[:max_tokens]


def predict(model: Recorder, example: Example = EXAMPLE, tokens: int = 20) -> dict[Field, Label | Reply | Abstention]:
    return dict(Tuned(model, lambda asked: Path("clip.mp4"), tokens).predict(example))


def test_its_own_answers_condition_the_next_ones() -> None:
    model = Recorder()
    found = predict(model)
    prefixes = [prefix for _, prefix in model.asked]
    assert prefixes == [
        "Client emotion: ",
        "Client emotion: fear\nStrategy: ",
        "Client emotion: fear\nStrategy: Others\nTherapist emotion: ",
        "Client emotion: fear\nStrategy: Others\nTherapist emotion: fear\nReply: ",
    ]
    assert found[Field.REPLY] == Reply(text="Go on.")
    first = found[Field.CLIENT_EMOTION]
    assert isinstance(first, Label)
    assert first.value == "fear"
    assert first.probabilities is not None


def test_no_gold_label_and_no_word_of_the_reply_enters_a_prompt() -> None:
    model = Recorder()
    predict(model)
    labels = EXAMPLE.labels.model_copy(update={"client_emotion": "disgust", "strategy": None})
    reply = EXAMPLE.reply.model_copy(update={"text": "zebra"})
    other = Recorder()
    predict(other, EXAMPLE.model_copy(update={"labels": labels, "reply": reply}))
    assert model.asked == other.asked


def test_only_a_model_that_sees_and_hears_is_shown_the_clip() -> None:
    blind, sighted = Recorder(), Recorder(frozenset(Modality))
    predict(blind)
    predict(sighted)
    assert Modality.VIDEO not in blind.asked[0][0][-1].modalities
    assert Modality.VIDEO in sighted.asked[0][0][-1].modalities


def test_a_model_whose_targets_were_apart_is_asked_for_each_without_the_others() -> None:
    model = Recorder()
    tuned = Tuned(model, lambda asked: None, 20, chained=False)
    found = tuned.predict(EXAMPLE)
    assert [prefix for _, prefix in model.asked] == ["Client emotion: ", "Strategy: ", "Therapist emotion: ", "Reply: "]
    assert len(found) == 4


def test_cues_are_told_to_a_model_that_was_trained_on_them() -> None:
    told = EXAMPLE.model_copy(update={"cues": "looks away"})
    for cues in (True, False):
        model = Recorder()
        Tuned(model, lambda asked: None, 20, cues=cues).predict(told)
        assert all(messages[-1].text.endswith("\nSeen and heard: looks away") is cues for messages, _ in model.asked)
    config = FinetuningConfig(cues=True)
    folder = TunedFolder(name="one", config=config.model_dump(mode="json"), config_sha256="a" * 64)
    for about, expected in ((folder, True), (folder.model_copy(update={"config": {}}), False)):
        assert reads_cues(about) is expected


def test_an_empty_reply_is_an_abstention_and_no_tokens_ask_for_none() -> None:
    assert predict(Recorder(reply=" "))[Field.REPLY] == Abstention(reason="the reply is empty")
    assert Field.REPLY not in predict(Recorder(), tokens=0)


def test_sound_and_pictures_are_shown_apart_to_a_real_model(tmp_path: Path) -> None:
    model = open_tuned(save_untrained(tmp_path / "model"))
    clip = make_recording(tmp_path / "clip.mp4", RecordingSpec(duration_ms=1000))
    weights = [
        Tuned(model, lambda asked: clip, 0, keeps=keeps).predict(EXAMPLE)[Field.CLIENT_EMOTION]
        for keeps in (None, Modality.AUDIO, Modality.VIDEO)
    ]
    weights.append(Tuned(model, lambda asked: None, 0).predict(EXAMPLE)[Field.CLIENT_EMOTION])
    shown = [outcome.probabilities for outcome in weights if isinstance(outcome, Label)]
    assert len(shown) == 4
    assert all(one != other for at, one in enumerate(shown) for other in shown[:at])


def test_one_part_of_a_clip_is_left() -> None:
    parts = {}
    for keeps in (Modality.AUDIO, Modality.VIDEO):
        model = Recorder(frozenset(Modality))
        Tuned(model, lambda asked: Path("clip.mp4"), 0, keeps=keeps).predict(EXAMPLE)
        parts[keeps] = model.asked[0][0][-1].modalities
    assert parts == {keeps: {Modality.TEXT, keeps} for keeps in parts}
