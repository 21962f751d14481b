"""transformers' Trainer over forests: its devices, precision, optimisers and schedules; our data, loss, checkpoints."""

# mypy: allow-untyped-calls

from __future__ import annotations

import math
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from ai_therapist.errors import ItemError
from ai_therapist.finetuning.attention import Forest, plant
from ai_therapist.finetuning.checkpoint import Checkpoint, load_checkpoint, restore_weights, save_checkpoint
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.curve import Point
from ai_therapist.finetuning.features import ClipFeatures
from ai_therapist.finetuning.loss import ForestLoss
from ai_therapist.finetuning.packing import Pass
from ai_therapist.finetuning.tree import Tree

_OPTIMIZERS = {"adamw": "adamw_torch", "adamw_8bit": "adamw_8bit", "paged_adamw_8bit": "paged_adamw_8bit"}
_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


class _Item(NamedTuple):
    forest: Forest
    planned: Pass
    tokens: int


class Passes(Dataset[_Item]):
    """The forward passes of one process."""

    def __init__(self, trees: Sequence[Tree], passes: Sequence[Pass]) -> None:
        self._trees = trees
        self._passes = passes

    def __len__(self) -> int:
        return len(self._passes)

    def __getitem__(self, place: int) -> _Item:
        planned = self._passes[place]
        trees = [self._trees[at] for at in planned.trees]
        return _Item(plant(trees), planned, sum(tree.tokens for tree in trees))


StepSeen = Callable[[Point, int, float], None]
"""Told every optimiser step, how many there will be, and how many seconds it took."""


class ForestTrainer(Trainer):
    """Trains a ForestLoss on planned passes; goes on from the newest whole checkpoint of its folder."""

    def __init__(
        self,
        model: ForestLoss,
        passes: Passes,
        features: Mapping[str, ClipFeatures],
        config: FinetuningConfig,
        folder: Path,
        seen: StepSeen,
    ) -> None:
        """`folder` keeps the checkpoints. `seen` is called on every process."""
        self._features = features
        self._config = config
        self._folder = folder
        self._resumed: Checkpoint | None = None
        self._sums: list[tuple[Tensor, int, int]] = []
        self.curve: list[Point] = []
        self.last_norm = 0.0
        """Norm of the last step's gradient before it was scaled down."""
        self.stopped = False
        """Whether a signal ended the run before its last step."""
        super().__init__(
            model=model,
            args=_arguments(config, folder),
            data_collator=_only,
            train_dataset=passes,
            callbacks=[_EveryStep(self, seen)],
        )
        self.remove_callback(PrinterCallback)
        # Each pass is divided by the tokens of its whole step already.
        self.loss_is_scaled_for_ga = True

    def run(self) -> list[Point]:
        """Train to the end; returns the whole curve, the steps of earlier attempts included.

        Raises ItemError where the loss is no number, KeyboardInterrupt after SIGTERM and StoreError where the disk
        fails; the last checkpoint stays in each case.
        """
        self._resumed = load_checkpoint(self._folder)
        resume = None
        if self._resumed is not None:
            self.curve = list(self._resumed.curve)
            # Trainer reads from a file how far it was.
            resume = self._folder / "resumed"
            resume.mkdir(exist_ok=True)
            state = TrainerState(
                global_step=len(self.curve),
                train_batch_size=self.args.per_device_train_batch_size,
            )
            # Declared as a list, read back as this.
            state.stateful_callbacks = cast(Any, {"TrainerControl": TrainerControl().state()})
            state.compute_steps(self.args, 0)
            state.save_to_json(str(resume / "trainer_state.json"))
        with _stopped_by_signals(self), warnings.catch_warnings():
            # The first step of a resumed run restores a schedule that has not been stepped yet.
            warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*before.*optimizer.step.*")
            self.train(resume_from_checkpoint=None if resume is None else str(resume))
        if self.stopped:
            # As after Ctrl-C: no other attempt may follow, and the command line tells how to go on.
            raise KeyboardInterrupt
        return self.curve

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The passes of this process, in their planned order."""
        return DataLoader(self._passes(), batch_size=1, shuffle=False, collate_fn=_only)

    def _passes(self) -> Passes:
        assert isinstance(self.train_dataset, Passes)
        return self.train_dataset

    def _prepare_inputs(self, inputs: Any) -> Any:
        item: _Item = inputs
        moved = {name: value.to(self.args.device) for name, value in item.forest._asdict().items() if _is_tensor(value)}
        return {"item": item._replace(forest=item.forest._replace(**moved))}

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The pass's share of the mean loss of its optimiser step."""
        item: _Item = inputs["item"]
        features = {clip: self._features[clip].to(self.args.device) for clip in item.forest.clips}
        nats = model(item.forest, features) * (1 if item.planned.counts else 0)
        loss = nats / item.planned.step_learned
        self._sums.append((loss.detach(), item.tokens if item.planned.counts else 0, item.planned.step_learned))
        # Gradients of several processes are averaged, while the step's mean is their sum.
        return loss * self.accelerator.num_processes

    def step_sums(self) -> tuple[float, int, int]:
        """Mean loss, tokens read and tokens learned of the step whose passes are done, over all processes."""
        loss = torch.stack([one[0] for one in self._sums]).sum()
        tokens = torch.tensor(float(sum(one[1] for one in self._sums)), device=loss.device)
        learned = self._sums[-1][2]
        self._sums.clear()
        both = self.accelerator.reduce(torch.stack([loss.float(), tokens]), reduction="sum")
        return float(both[0]), int(both[1]), learned

    def floating_point_ops(self, inputs: Any) -> int:
        """Nothing: plan.py counts them."""
        return 0

    def _track_num_input_tokens(self, inputs: Any) -> None:
        """Nothing: the curve has them."""

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        self.last_norm = float(norm)
        return norm

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.accelerator.is_main_process and self.optimizer is not None and self.lr_scheduler is not None:
            save_checkpoint(
                self._folder,
                self.accelerator.unwrap_model(self.model_wrapped),
                self.optimizer.state_dict(),
                self.lr_scheduler.state_dict(),
                self.curve,
            )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self._resumed is not None:
            restore_weights(self.accelerator.unwrap_model(self.model), self._resumed.weights)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and self._resumed is not None:
            assert self.optimizer is not None
            assert self.lr_scheduler is not None
            self.optimizer.load_state_dict(self._resumed.optimizer)
            self.lr_scheduler.load_state_dict(self._resumed.schedule)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Nothing: every step begins with random numbers of its own."""


class _EveryStep(TrainerCallback):
    """Seeds a step, refuses one whose loss is no number, and notes what it was."""

    def __init__(self, trainer: ForestTrainer, seen: StepSeen) -> None:
        self._trainer = trainer
        self._seen = seen
        self._started_s = 0.0
        self._measured = (0.0, 0, 0)
        self._rate = 0.0

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Dropout of a step depends on the seed, the step and the process alone, so a resumed run draws the same."""
        self._started_s = time.perf_counter()
        set_seed(args.seed + 1_000_003 * (state.global_step + 1) + args.process_index)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Stop before a step that would spoil the weights."""
        self._measured = self._trainer.step_sums()
        self._rate = self._trainer._get_learning_rate()
        if not math.isfinite(self._measured[0]):
            raise ItemError(
                f"finetuning: the loss of step {state.global_step + 1} is no number; lower finetuning.learning_rate"
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Note the step, and leave after it where a signal asked for that."""
        loss, tokens, learned = self._measured
        point = Point(
            step=state.global_step,
            loss=loss,
            learning_rate=self._rate,
            gradient_norm=self._trainer.last_norm,
            tokens=tokens,
            learned=learned,
        )
        self._trainer.curve.append(point)
        # Trackers that the settings name hear of every step from here; transformers would tell them a loss of its own.
        measured = point.model_dump(exclude={"step", "gradient_norm"})
        self._trainer.log(measured | {"grad_norm": point.gradient_norm})
        self._seen(point, state.max_steps, time.perf_counter() - self._started_s)
        if self._trainer.stopped:
            control.should_save = True
            control.should_training_stop = True


@contextmanager
def _stopped_by_signals(trainer: ForestTrainer) -> Iterator[None]:
    """SIGTERM lets the step finish and saves; where signals cannot be taken, in a thread, nothing changes."""

    def stop(number: int, frame: FrameType | None) -> None:
        trainer.stopped = True

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _arguments(config: FinetuningConfig, folder: Path) -> TrainingArguments:
    # Only a GPU's memory can be paged out; the numbers are the same.
    optimizer = config.optimizer if torch.cuda.is_available() else config.optimizer.removeprefix("paged_")
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=config.accumulation,
        num_train_epochs=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=_SCHEDULES[config.schedule],
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim=_OPTIMIZERS[optimizer],
        bf16=config.precision == "bf16",
        seed=config.seed,
        save_strategy="steps",
        save_steps=config.checkpoint_steps,
        logging_strategy="no",
        report_to=list(config.trackers) or "none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _only(items: list[Any]) -> Any:
    return items[0]


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)
