"""A training in several processes, as torchrun starts it: python -m torch.distributed.run ... BASE FOLDER SETTINGS."""

import json
import os
import sys
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[2]))

from ai_therapist.finetuning.checkpoint import trained_state
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.run import finetune
from ai_therapist.finetuning.train import tune_on
from ai_therapist.pipeline.driver import Unobserved
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.store.workspace import Workspace
from tests.finetuning.builders import ignore_step, make_examples, make_features


def train_as_one_of_two(rank: int, port: int, base: Path, folder: Path, config: FinetuningConfig) -> None:
    """Train with the environment that torchrun gives process `rank` of two."""
    become_one_of_two(rank, port)
    train(base, folder, config)


def finetune_as_one_of_two(rank: int, port: int, root: Path, config: FinetuningConfig) -> None:
    """The whole run as process `rank` of two; leaves beside the workspace which stages it ran and what it recorded."""
    become_one_of_two(rank, port)
    workspace = Workspace(root)
    ran: list[str] = []

    class Watch(Unobserved):
        def finished(self, stage: str, item: str, *, reused: bool) -> None:
            ran.append(stage)

    record = finetune(workspace, config, InlineExecutor(workspace.store), Watch())
    told = {"ran": ran, "done": len(record.done), "read": record.read}
    (root.parent / f"rank-{rank}.json").write_text(json.dumps(told))
    torch.distributed.destroy_process_group()


def forget_accelerator() -> None:
    """Clear what accelerate remembers of this process."""
    states = import_module("accelerate.state")
    for state in (states.AcceleratorState, states.GradientState, states.PartialState):
        state._shared_state.clear()


def become_one_of_two(rank: int, port: int) -> None:
    """Set what torchrun sets."""
    # A forked process inherits what accelerate knows of the one it comes from.
    forget_accelerator()
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }


def train(base: Path, folder: Path, config: FinetuningConfig) -> None:
    """Train; the first process leaves weights and curve in `folder`."""
    torch.set_num_threads(1)
    examples = make_examples()
    tuned = tune_on(examples, make_features(examples), base, config, folder, ignore_step)
    if torch.distributed.get_rank() == 0:
        weights = {name: each.contiguous() for name, each in trained_state(tuned.loss).items()}
        save_file(weights, folder / "trained.safetensors")
        (folder / "curve.json").write_text(json.dumps([point.model_dump() for point in tuned.curve]))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]), FinetuningConfig.model_validate_json(sys.argv[3]))
