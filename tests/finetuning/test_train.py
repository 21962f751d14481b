"""Training changes the language model only, learns, and goes on where it was stopped."""

import json
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from ai_therapist.errors import ItemError, StoreError
from ai_therapist.finetuning.adapter import with_adapter
from ai_therapist.finetuning.checkpoint import trained_state
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.curve import Point
from ai_therapist.finetuning.features import ClipFeatures
from ai_therapist.finetuning.loss import ForestLoss
from ai_therapist.finetuning.packing import plan_passes
from ai_therapist.finetuning.train import (
    Tuned,
    attention_of,
    encode_examples,
    mean_loss,
    needs_recomputing,
    runs_out_of_memory,
    tune_on,
)
from ai_therapist.finetuning.trainer import ForestTrainer, Passes, StepSeen
from ai_therapist.models.base import open_base
from ai_therapist.records import Example, Split
from tests.finetuning.builders import (
    QUICK,
    TEXT_ONLY,
    ignore_step,
    make_chat,
    make_examples,
    make_features,
    save_base,
)
from tests.finetuning.train_in_processes import train_as_one_of_two

EXAMPLES = make_examples()
FEATURES = make_features(EXAMPLES)


def tune(
    base: Path,
    folder: Path,
    config: FinetuningConfig = QUICK,
    examples: list[Example] | None = None,
    seen: StepSeen = ignore_step,
) -> Tuned:
    folder.mkdir(exist_ok=True)
    chosen = EXAMPLES if examples is None else examples
    return tune_on(chosen, make_features(chosen), base, config, folder, seen)


def difference(one: Tuned, other: Tuned) -> float:
    mine, yours = trained_state(one.model), trained_state(other.model)
    return max(float((mine[name] - yours[name]).abs().max()) for name in mine)


def test_answers_of_their_own_are_learned_too(base: Path, tmp_path: Path) -> None:
    together, apart = (
        cast(Any, tune(base, tmp_path / targets, QUICK.model_copy(update={"targets": targets})).account)
        for targets in ("together", "apart")
    )
    assert apart["loss_last"] < 0.7 * apart["loss_first"]
    assert apart["examples"] == together["examples"] == len(EXAMPLES)
    ratios = [one["tokens_one_by_one"] / one["tokens"] for one in (together, apart)]
    assert ratios[1] > 2 * ratios[0]


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return tune(base, tmp_path_factory.mktemp("tuned"))


def test_only_adapters_embedding_and_head_of_the_language_model_are_trained(base: Path) -> None:
    model = with_adapter(open_base(base).model, QUICK)
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
    assert account["steps"] == len(tuned.curve) == 8
    assert account["validation_loss_first"] is None
    first, last = account["loss_first"], account["loss_last"]
    assert isinstance(first, float)
    assert isinstance(last, float)
    assert first > torch.log(torch.tensor(1024.0)).item()
    assert last < 0.7 * first
    assert [point.step for point in tuned.curve] == list(range(1, 9))
    assert sum(point.tokens for point in tuned.curve) == 4 * int(str(account["tokens"]))
    assert int(str(account["tokens_one_by_one"])) > int(str(account["tokens"]))
    rates = [point.learning_rate for point in tuned.curve]
    assert rates[0] == 0
    assert rates[1:] == sorted(rates[1:], reverse=True)


@pytest.mark.parametrize("config", [QUICK, QUICK.model_copy(update={"lora_dropout": 0.3, "optimizer": "adamw_8bit"})])
def test_a_stopped_run_equals_an_undisturbed_one_bit_for_bit(
    base: Path, tmp_path: Path, config: FinetuningConfig
) -> None:
    def stop_at_five(point: Point, steps: int, seconds: float) -> None:
        if point.step == 5:
            raise KeyboardInterrupt

    whole = tune(base, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        tune(base, tmp_path / "stopped", config, seen=stop_at_five)
    taken: list[int] = []
    resumed = tune(base, tmp_path / "stopped", config, seen=lambda point, steps, seconds: taken.append(point.step))
    assert taken == [5, 6, 7, 8]
    assert difference(resumed, whole) == 0
    assert resumed.curve == whole.curve
    assert resumed.account["loss_last"] == whole.account["loss_last"]


def test_sigterm_saves_the_step_and_ends(base: Path, tmp_path: Path, tuned: Tuned) -> None:
    def terminate(point: Point, steps: int, seconds: float) -> None:
        if point.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        tune(base, tmp_path, seen=terminate)
    assert signal.getsignal(signal.SIGTERM) is before
    taken: list[int] = []
    resumed = tune(base, tmp_path, seen=lambda point, steps, seconds: taken.append(point.step))
    assert taken[0] in (4, 5)
    assert difference(resumed, tuned) == 0


def test_a_full_disk_is_a_clear_error_and_the_last_good_checkpoint_stays(base: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_up(point: Point, steps: int, seconds: float) -> None:
        if point.step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))

    try:
        with pytest.raises(StoreError, match=r"cannot write.*then run the same command again"):
            tune(base, tmp_path, seen=fill_up)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (kept,) = tmp_path.glob("step-*")
    assert kept.name.startswith("step-000002")
    taken: list[int] = []
    tune(base, tmp_path, seen=lambda point, steps, seconds: taken.append(point.step))
    assert taken[0] == 3


def test_every_step_is_told_to_trackers(base: Path, tmp_path: Path) -> None:
    """A tracker hears what transformers' own ones hear: each step, with the loss of the curve."""

    class Tracker(TrainerCallback):
        def __init__(self) -> None:
            self.heard: list[tuple[int, dict[str, float]]] = []

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            self.heard.append((state.global_step, logs))

    loss = ForestLoss(with_adapter(open_base(base, towers=False).model, QUICK).get_base_model(), "segments", 64)
    trees = encode_examples(
        EXAMPLES, make_chat(EXAMPLES), {d: c.placeholders for d, c in FEATURES.items()}, QUICK
    ).trees
    config = QUICK.model_copy(update={"epochs": 1})
    (passes,) = plan_passes(trees, config)
    trainer = ForestTrainer(loss, Passes(trees, passes), FEATURES, config, tmp_path, ignore_step)
    tracker = Tracker()
    trainer.add_callback(tracker)
    curve = trainer.run()
    steps = [(step, logs) for step, logs in tracker.heard if "learned" in logs]
    assert [step for step, _ in steps] == [point.step for point in curve]
    assert [logs["loss"] for _, logs in steps] == [point.loss for point in curve]
    assert [logs["grad_norm"] for _, logs in steps] == [point.gradient_norm for point in curve]


def test_accumulation_equals_one_large_batch(base: Path, tmp_path: Path) -> None:
    large = QUICK.model_copy(update={"epochs": 2, "batch_tokens": 2048, "warmup_steps": 0})
    small = large.model_copy(update={"batch_tokens": 512, "accumulation": 2})
    one, other = tune(base, tmp_path / "large", large), tune(base, tmp_path / "small", small)
    assert len(one.curve) == len(other.curve) == 2
    for mine, yours in zip(one.curve, other.curve, strict=True):
        assert mine.loss == pytest.approx(yours.loss, rel=1e-5)
        assert mine.gradient_norm == pytest.approx(yours.gradient_norm, rel=1e-4)


def test_one_turn_per_example_starts_from_the_same_loss(base: Path, tmp_path: Path, tuned: Tuned) -> None:
    apart = tune(base, tmp_path, QUICK.model_copy(update={"layout": "turn", "epochs": 1}))
    assert apart.account["loss_first"] == pytest.approx(tuned.account["loss_first"], rel=1e-5)
    assert apart.account["trees"] == len(EXAMPLES)
    assert apart.account["tokens"] == tuned.account["tokens_one_by_one"]


def test_only_the_training_split_is_learned(base: Path, tmp_path: Path, tuned: Tuned) -> None:
    held_out = make_examples(Split.VALIDATION, 1, seed=7) + make_examples(Split.TEST, 1, seed=8)
    both = [*EXAMPLES, *held_out]
    with_others = tune_on(both, FEATURES | make_features(held_out), base, QUICK, tmp_path, ignore_step)
    assert difference(with_others, tuned) == 0
    assert isinstance(with_others.account["validation_loss_last"], float)


def test_the_clip_is_part_of_what_is_learned_from(base: Path, tmp_path: Path, tuned: Tuned) -> None:
    blank = {
        digest: ClipFeatures(torch.zeros_like(clip.video), None if clip.audio is None else torch.zeros_like(clip.audio))
        for digest, clip in FEATURES.items()
    }
    unseen = tune_on(EXAMPLES, blank, base, QUICK, tmp_path, ignore_step)
    assert difference(unseen, tuned) > 1e-3


def test_a_base_of_text_alone_learns_without_clips(tmp_path: Path) -> None:
    config = FinetuningConfig.model_validate({**QUICK.model_dump(), "base": TEXT_ONLY.model_dump()})
    learned = tune_on(EXAMPLES, {}, save_base(tmp_path / "base", TEXT_ONLY), config, tmp_path, ignore_step)
    assert learned.account["with_clip"] == 0
    assert float(str(learned.account["loss_last"])) < float(str(learned.account["loss_first"]))


def test_no_number_and_no_room_are_clear_errors(base: Path, tmp_path: Path) -> None:
    spoiled = {digest: ClipFeatures(clip.video * torch.nan, clip.audio) for digest, clip in FEATURES.items()}
    with pytest.raises(ItemError, match="loss of step 1 is no number"):
        tune_on(EXAMPLES, spoiled, base, QUICK, tmp_path, ignore_step)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ItemError, match=r"fits into 64 tokens; raise finetuning\.max_tokens"):
        tune(base, tmp_path, QUICK.model_copy(update={"max_tokens": 64}))


def test_memory_decides_about_recomputing_only_where_it_can_run_out(tuned: Tuned) -> None:
    def too_much() -> None:
        raise torch.OutOfMemoryError("no room")

    assert runs_out_of_memory(too_much)
    assert not runs_out_of_memory(lambda: None)
    choices = {choice: QUICK.model_copy(update={"recompute": choice}) for choice in ("auto", "on", "off")}
    found = {choice: needs_recomputing(config, tuned.loss, [], {}) for choice, config in choices.items()}
    assert found == {"auto": False, "on": True, "off": False}
    assert attention_of(QUICK) == "segments"
    assert attention_of(QUICK.model_copy(update={"attention": "dense"})) == "dense"


def test_the_mean_of_no_loss_is_not_zero(tuned: Tuned) -> None:
    with pytest.raises(ValueError, match="nothing"):
        mean_loss(tuned.loss, [], {}, 1)


@pytest.mark.soak
def test_two_processes_of_torchrun_equal_one_that_accumulates_twice(base: Path, tmp_path: Path) -> None:
    """Real torchrun, which only sets the environment that the next test sets itself, and takes half a minute more."""
    script = Path(__file__).with_name("train_in_processes.py")
    together = HALVED.model_dump_json()
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--rdzv-backend=c10d",
         "--rdzv-endpoint=127.0.0.1:0", str(script), str(base), str(tmp_path), together],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert_equal_to_one(base, tmp_path)


def test_two_processes_equal_one_that_accumulates_twice(base: Path, tmp_path: Path) -> None:
    """Two real processes that average their gradients over gloo."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Forked, since each would otherwise import torch, transformers and peft again.
    context = multiprocessing.get_context("fork")
    started = [
        context.Process(target=train_as_one_of_two, args=(rank, port, base, tmp_path, HALVED)) for rank in range(2)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        if process.is_alive():
            process.kill()
    assert [process.exitcode for process in started] == [0, 0]
    assert_equal_to_one(base, tmp_path)


HALVED = QUICK.model_copy(update={"accumulation": 1, "epochs": 2})


def assert_equal_to_one(base: Path, folder: Path) -> None:
    """What two processes left in `folder` is what one process gives that accumulates twice."""
    alone = tune(base, folder / "alone", HALVED.model_copy(update={"accumulation": 2}))
    curve = [Point.model_validate(point) for point in json.loads((folder / "curve.json").read_bytes())]
    assert [point.tokens for point in curve] == [point.tokens for point in alone.curve]
    assert [point.loss for point in curve] == pytest.approx([point.loss for point in alone.curve], rel=1e-5)
    mine, yours = trained_state(alone.loss), load_file(folder / "trained.safetensors")
    assert max(float((mine[name] - yours[name]).norm() / mine[name].norm()) for name in mine) <= 1e-5
