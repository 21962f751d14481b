"""Training changes the language model only, learns, and goes on where it was stopped."""

from pathlib import Path

import pytest
import torch

from ai_therapist.errors import ItemError
from ai_therapist.finetuning.checkpoint import trained_state
from ai_therapist.finetuning.collate import collate, encode_example
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.features import ClipFeatures
from ai_therapist.finetuning.train import Tuned, mean_loss, tune_on, with_adapter
from ai_therapist.models.local import load_videollama2
from ai_therapist.pipeline.stage import Progress, ignore_progress
from ai_therapist.records import Example, Split
from tests.finetuning.builders import QUICK, make_examples, make_features

EXAMPLES = make_examples()
FEATURES = make_features(EXAMPLES)


def _tune(
    base: Path,
    folder: Path,
    config: FinetuningConfig = QUICK,
    examples: list[Example] | None = None,
    progress: Progress = ignore_progress,
) -> Tuned:
    folder.mkdir(exist_ok=True)
    chosen = EXAMPLES if examples is None else examples
    return tune_on(chosen, make_features(chosen), base, config, folder, progress)


def _difference(one: Tuned, other: Tuned) -> float:
    mine, yours = trained_state(one.model), trained_state(other.model)
    return max(float((mine[name] - yours[name]).abs().max()) for name in mine)


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return _tune(base, tmp_path_factory.mktemp("tuned"))


def test_only_adapters_embedding_and_head_of_the_language_model_are_trained(base: Path) -> None:
    model = with_adapter(load_videollama2(base), QUICK)
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert names
    assert all("language_model" in name or "lm_head" in name for name in names)
    adapted = {name.split(".lora_")[0].rsplit(".", 1)[1] for name in names if "lora_" in name}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    whole = [name for name in names if "lora_" not in name]
    assert sorted(name.split(".modules_to_save")[0].rsplit(".", 1)[-1] for name in whole) == ["embed_tokens", "lm_head"]


def test_the_loss_falls_and_the_account_says_how(tuned: Tuned) -> None:
    account = tuned.account
    assert account["examples"] == len(EXAMPLES)
    assert account["steps"] == len(tuned.curve) == 9
    assert account["validation_loss_first"] is None
    first, last = account["loss_first"], account["loss_last"]
    assert isinstance(first, float)
    assert isinstance(last, float)
    assert first > torch.log(torch.tensor(1024.0)).item()
    assert last < 0.6 * first
    assert [point.step for point in tuned.curve] == list(range(1, 10))


def test_a_stopped_run_equals_an_undisturbed_one(base: Path, tmp_path: Path, tuned: Tuned) -> None:
    def stop_at_five(done: int, total: int, note: str) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _tune(base, tmp_path, progress=stop_at_five)
    taken: list[int] = []
    resumed = _tune(base, tmp_path, progress=lambda done, total, note: taken.append(done))
    assert taken == [5, 6, 7, 8, 9]
    assert _difference(resumed, tuned) <= 1e-5
    assert resumed.curve == tuned.curve
    assert resumed.account["loss_first"] == tuned.account["loss_first"]


def test_accumulation_equals_one_large_batch(base: Path, tmp_path: Path) -> None:
    # One step of all examples: Adam's later steps would enlarge what rounding alone makes of the first.
    large = QUICK.model_copy(update={"epochs": 1, "batch_size": 6, "accumulation": 1})
    small = large.model_copy(update={"batch_size": 2, "accumulation": 3})
    one, other = _tune(base, tmp_path / "large", large), _tune(base, tmp_path / "small", small)
    assert one.curve[0].loss == pytest.approx(other.curve[0].loss, abs=1e-5)
    assert len(one.curve) == len(other.curve) == 1


def test_accumulated_gradients_equal_those_of_one_batch(base: Path, tuned: Tuned) -> None:
    encoded = [encode_example(example, tuned.tokenizer, FEATURES, 400) for example in EXAMPLES]
    batch = [one for one in encoded if one is not None]
    targets = sum(one.targets for one in batch)
    gradients = []
    for size in (6, 2):
        model = with_adapter(load_videollama2(base, towers=False), QUICK)
        for start in range(0, len(batch), size):
            inputs = collate(batch[start : start + size], FEATURES, 0)
            model(**inputs, num_items_in_batch=targets).loss.backward()
        gradients.append({name: w.grad for name, w in model.named_parameters() if w.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.allclose(gradients[0][n], gradients[1][n], atol=1e-5) for n in gradients[0])


def test_only_the_training_split_is_learned(base: Path, tmp_path: Path, tuned: Tuned) -> None:
    held_out = make_examples(Split.VALIDATION, 1, seed=7) + make_examples(Split.TEST, 1, seed=8)
    both = [*EXAMPLES, *held_out]
    with_others = tune_on(both, FEATURES | make_features(held_out), base, QUICK, tmp_path, ignore_progress)
    assert _difference(with_others, tuned) == 0
    assert isinstance(with_others.account["validation_loss_last"], float)


def test_the_clip_is_part_of_what_is_learned_from(base: Path, tmp_path: Path, tuned: Tuned) -> None:
    blank = {
        digest: ClipFeatures(torch.zeros_like(clip.video), None if clip.audio is None else torch.zeros_like(clip.audio))
        for digest, clip in FEATURES.items()
    }
    unseen = tune_on(EXAMPLES, blank, base, QUICK, tmp_path, ignore_progress)
    assert _difference(unseen, tuned) > 1e-3


def test_no_number_and_no_room_are_clear_errors(base: Path, tmp_path: Path) -> None:
    spoiled = {digest: ClipFeatures(clip.video * torch.nan, clip.audio) for digest, clip in FEATURES.items()}
    with pytest.raises(ItemError, match="loss of step 1 is no number"):
        tune_on(EXAMPLES, spoiled, base, QUICK, tmp_path, ignore_progress)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ItemError, match=r"fits into 64 tokens; raise finetuning\.max_tokens"):
        _tune(base, tmp_path, QUICK.model_copy(update={"max_tokens": 64}))


def test_the_mean_of_no_loss_is_not_zero(tuned: Tuned) -> None:
    with pytest.raises(ValueError, match="nothing"):
        mean_loss(tuned.model, [], {}, 1)
