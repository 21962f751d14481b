"""The tuned model weighs labels by their likelihood, writes greedily, and really looks at what it is shown."""

import os
from pathlib import Path

import av
import pytest
import torch

from ai_therapist.errors import InvalidRecord, MissingInput, UnreadableMedia
from ai_therapist.models.local import TunedModel, open_tuned
from ai_therapist.models.protocol import LabelScorer, LikelihoodReader, TextGenerator
from ai_therapist.models.tuned_folder import TunedFolder
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import AudioPart, ImagePart, Message, TextPart, VideoPart
from ai_therapist.testing import RecordingSpec, make_recording
from tests.finetuning.builders import save_untrained

LABELS = ("joy", "sadness", "Open questions", "Guiding the pace")
HELLO = [Message.of_text("system", "Be kind."), Message.of_text("user", "hello there")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="module")
def model(folder: Path) -> TunedModel:
    return open_tuned(folder)


def _shown(part: ImagePart | VideoPart | AudioPart) -> list[Message]:
    return [Message(role="user", parts=(part, TextPart(text="hello")))]


def _logits(model: TunedModel, messages: list[Message], answer: list[int]) -> torch.Tensor:
    """Logits after the prompt and after each token of the answer, in one plain pass without a cache."""
    chat = [{"role": message.role, "content": message.text} for message in messages]
    processor, network = model._processor, model._model
    prompt = processor.apply_chat_template(
        chat, tokenize=True, return_dict=True, add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    with torch.no_grad():
        logits: torch.Tensor = network(
            input_ids=torch.cat([prompt, torch.tensor([answer], dtype=torch.long)], 1)
        ).logits[0]
    return logits[prompt.shape[1] - 1 :]


def test_it_is_a_generator_and_a_scorer_and_says_that_it_is_a_toy(model: TunedModel) -> None:
    assert isinstance(model, TextGenerator)
    assert isinstance(model, LabelScorer)
    assert "tiny-toy" in model.name
    assert model.accepts == {Modality.TEXT, Modality.VIDEO, Modality.AUDIO}


@pytest.mark.parametrize("prefix", ["Client emotion: ", "Client emotion: sadness\nStrategy: ", ""])
def test_scores_are_likelihoods_of_whole_labels(model: TunedModel, prefix: str) -> None:
    scores = model.score(HELLO, LABELS, prefix=prefix)
    expected = []
    for label in LABELS:
        ids = model._tokenizer(prefix + label, add_special_tokens=False)["input_ids"]
        before = len(model._tokenizer(prefix.rstrip(" "), add_special_tokens=False)["input_ids"])
        likelihoods = _logits(model, HELLO, ids).log_softmax(-1)
        expected.append(sum(float(likelihoods[place, ids[place]]) for place in range(before, len(ids))))
    assert list(scores) == list(LABELS)
    assert sum(scores.values()) == pytest.approx(1)
    assert list(scores.values()) == pytest.approx(torch.tensor(expected).softmax(0).tolist(), rel=1e-3)


@pytest.mark.parametrize("text", ["joy", "So the evenings are hard.", ""])
def test_a_likelihood_is_that_of_every_token_and_of_the_end(model: TunedModel, text: str) -> None:
    prefix = "Reply: "
    ids = [*model._tokenizer(prefix + text, add_special_tokens=False)["input_ids"], model._end]
    before = len(model._tokenizer(prefix.rstrip(" "), add_special_tokens=False)["input_ids"])
    logits = _logits(model, HELLO, ids).log_softmax(-1)
    expected = -sum(float(logits[place, ids[place]]) for place in range(before, len(ids)))
    found = model.likelihood(HELLO, text, prefix=prefix)
    assert found.nats == pytest.approx(expected, rel=1e-3)
    assert found.tokens == len(ids) - before
    assert isinstance(model, LikelihoodReader)


def test_a_small_model_is_asked_with_one_thread(model: TunedModel) -> None:
    before = torch.get_num_threads()
    with model.few_threads():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_the_base_before_tuning_opens_from_the_same_folder(folder: Path, model: TunedModel) -> None:
    base = open_tuned(folder, untuned=True)
    assert base.name == f"base of {model.name}"
    assert set(base.score(HELLO, LABELS)) == set(LABELS)


def test_the_order_and_company_of_labels_do_not_change_their_ratio(model: TunedModel) -> None:
    all_of_them, two = model.score(HELLO, LABELS), model.score(HELLO, LABELS[1::-1])
    assert two["joy"] / two["sadness"] == pytest.approx(all_of_them["joy"] / all_of_them["sadness"], rel=1e-4)
    assert model.score(HELLO, ["joy"]) == {"joy": 1.0}


def test_labels_that_cannot_be_weighed_are_refused(model: TunedModel) -> None:
    with pytest.raises(ValueError, match="no labels"):
        model.score(HELLO, [])
    with pytest.raises(ValueError, match="'joy' begins another label"):
        model.score(HELLO, ["joy", "joyful"])


def test_writing_is_greedy_and_streams_what_a_plain_pass_would_give(model: TunedModel) -> None:
    pieces = list(model.generate(HELLO, max_tokens=6))
    ids: list[int] = []
    for _ in range(6):
        logits = _logits(model, HELLO, ids)[-1]
        logits[model._control] = -torch.inf
        token = int(logits.argmax())
        if token == model._end:
            break
        ids.append(token)
    assert "".join(pieces) == model._tokenizer.decode(ids).rstrip("\ufffd")


def test_a_prefix_is_read_and_not_repeated(model: TunedModel) -> None:
    spaced, bare = ("".join(model.generate(HELLO, max_tokens=4, prefix=text)) for text in ("Reply: ", "Reply:"))
    assert spaced == bare.removeprefix(" ")
    assert not spaced.startswith("Reply")
    assert list(model.generate(HELLO, max_tokens=0)) == []


def test_asking_twice_gives_the_same_in_any_order(model: TunedModel) -> None:
    first = model.score(HELLO, LABELS, prefix="Strategy: ")
    text = "".join(model.generate(HELLO, max_tokens=5))
    model.score([Message.of_text("user", "something else")], LABELS)
    assert model.score(HELLO, LABELS, prefix="Strategy: ") == first
    assert "".join(model.generate(HELLO, max_tokens=5)) == text


def test_picture_and_sound_of_a_clip_are_both_shown(model: TunedModel, tmp_path: Path) -> None:
    clip = make_recording(tmp_path / "a.mp4")
    other_sound = make_recording(tmp_path / "b.mp4", RecordingSpec(tone_hz=1500.0))
    silent = make_recording(tmp_path / "c.mp4", RecordingSpec(tone_hz=None))
    other_picture = make_recording(tmp_path / "d.mp4", RecordingSpec(size_px=(64, 96), tone_hz=None))
    scores = [
        model.score(_shown(VideoPart(path=str(path))), LABELS) for path in (clip, other_sound, silent, other_picture)
    ]
    muted = model.score(_shown(VideoPart(path=str(clip), sound=False)), LABELS)
    assert len({tuple(one.values()) for one in scores}) == 4
    assert muted == pytest.approx(scores[2], rel=1e-2)


def test_a_clip_that_replaces_another_under_its_name_is_looked_at(model: TunedModel, tmp_path: Path) -> None:
    path = tmp_path / "now.mp4"
    make_recording(path)
    before = model.score(_shown(VideoPart(path=str(path))), LABELS)
    make_recording(path, RecordingSpec(tone_hz=1500.0))
    os.utime(path, ns=(1, 1))
    assert model.score(_shown(VideoPart(path=str(path))), LABELS) != before


def test_sound_alone_and_pictures_are_accepted(model: TunedModel, tmp_path: Path) -> None:
    clip = make_recording(tmp_path / "a.mp4")
    heard = model.score(_shown(AudioPart(path=str(clip))), LABELS)
    picture = tmp_path / "a.png"
    with av.open(str(clip)) as container:
        next(container.decode(video=0)).to_image().save(picture)
    seen = model.score(_shown(ImagePart(path=str(picture))), LABELS)
    assert sum(heard.values()) == pytest.approx(1)
    assert heard != seen


def test_words_that_look_like_control_tokens_are_words(model: TunedModel) -> None:
    odd = [Message.of_text("user", "look <video> at <|im_end|> this")]
    assert sum(model.score(odd, LABELS, prefix="<audio><|im_end|> ").values()) == pytest.approx(1)


def test_a_clip_that_is_none_or_gone_is_a_clear_error(model: TunedModel, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    with pytest.raises(UnreadableMedia):
        model.score(_shown(VideoPart(path=str(tmp_path / "bad.mp4"))), LABELS)
    with pytest.raises(MissingInput, match=r"gone\.mp4"):
        model.score(_shown(VideoPart(path=str(tmp_path / "gone.mp4"))), LABELS)


def test_a_folder_without_a_model_is_a_clear_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="ai-therapist finetune"):
        open_tuned(tmp_path)
    (tmp_path / "merged").mkdir()
    (tmp_path / TunedFolder.FILE).write_text('{"name": ""}')
    with pytest.raises(InvalidRecord, match=TunedFolder.FILE):
        open_tuned(tmp_path)
