"""Gives a tuned model away: to a private repository, with its card, where every session behind it permits that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ai_therapist.dataset.hub import PRIVATE, Access, Pushed, push_folder
from ai_therapist.dataset.read import dataset_item, read_examples, sessions_today
from ai_therapist.errors import NotPermitted
from ai_therapist.finetuning.card import read_evidence, render_card
from ai_therapist.finetuning.run import RUN, model_digest
from ai_therapist.models.tuned_folder import ADAPTER, BASE, MERGED, PROCESSOR, BaseReference, TunedFolder
from ai_therapist.privacy.release import require_release
from ai_therapist.records import Split
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.codec import encode
from ai_therapist.store.workspace import Workspace

STAGED = "hub-model"
"""Name of the folder, among the exports, that is sent."""


def publish_model(
    workspace: Workspace,
    repository: str,
    safety_report: Path | None,
    *,
    merged: bool = False,
    access: Access = PRIVATE,
) -> Pushed:
    """Send the tuned model and its card; returns what had to be done. Raises as `stage_model` and `push_folder`."""
    folder = stage_model(workspace, safety_report, merged=merged)
    sessions = sorted({example.session for example in read_examples(workspace)})
    return push_folder(
        repository,
        folder,
        kind="model",
        workspace=workspace,
        sessions=sessions,
        access=access,
        message="Model made with ai-therapist",
    )


def stage_model(workspace: Workspace, safety_report: Path | None, *, merged: bool = False) -> Path:
    """The folder that would be sent: the adapter, its tokenizer, its card and reports; the whole model if `merged`.

    A merged model is one of 16 bits that vLLM and llama.cpp's converter read. Raises MissingInput without a model,
    its evaluation or a safety report, and NotPermitted where it was tuned on another dataset than the one of today,
    where a session does not permit 'publish' today, where the evaluation is marked, or where an adapter would name a
    folder of this machine as its base.
    """
    digest = model_digest(workspace)
    (item,) = workspace.load_run(RUN, "finetune").done
    if item.artefacts["examples"] != dataset_item(workspace).artefacts["examples"]:
        # It may have learned from sessions that are not asked for their permission here.
        raise NotPermitted("the model was tuned on another dataset than the one of today: finetune and evaluate again")
    evidence = read_evidence(workspace.report_json, safety_report)
    examples = read_examples(workspace)
    sessions = list(sessions_today(workspace, {example.session for example in examples}))
    require_release({session.name: session.consent for session in sessions})
    folder = workspace.exports / STAGED
    shutil.rmtree(folder, ignore_errors=True)
    workspace.store.checkout(digest, folder)
    about = TunedFolder.model_validate_json((folder / TunedFolder.FILE).read_bytes())
    if not (folder / BASE / BaseReference.FILE).is_file():
        raise NotPermitted(f"{about.name} is a toy: its vocabulary was learned from what people said, so it stays here")
    base: dict[str, str] = json.loads((folder / BASE / BaseReference.FILE).read_bytes())
    if not merged and base["language_revision"].startswith("files:"):
        raise NotPermitted("the base is a folder of this machine, which nobody else has: publish with --merged")
    if merged:
        if not (folder / MERGED).is_dir():
            _merge(folder)
        # What it is merged from is told by the card; the name of a folder of this machine is nobody's business.
        shutil.rmtree(folder / BASE)
        shutil.rmtree(folder / ADAPTER)
        _forget_folders(folder, about, base)
    else:
        shutil.rmtree(folder / MERGED, ignore_errors=True)
    training = json.loads(workspace.store.read(item.artefacts["training"]))
    splits = {split.value: sum(example.split is split for example in examples) for split in Split}
    data = {
        "dataset": f"sha256 {dataset_item(workspace).artefacts['examples']}",
        "sessions": f"{len(sessions)}, each permitting training and publishing on the day of upload",
        "examples": ", ".join(f"{number} {split}" for split, number in splits.items()),
    }
    write_atomically(folder / "README.md", render_card(about, training, base, data, evidence).encode())
    write_atomically(folder / "evaluation.json", workspace.report_json.read_bytes())
    write_atomically(folder / "safety.json", json.dumps(evidence.safety, indent=2).encode())
    return folder


def _forget_folders(folder: Path, about: TunedFolder, base: dict[str, str]) -> None:
    """Put what the files of the base are in the place of their folder's name, in the settings that go along."""
    own = dict(about.config)
    named = own.get("base")
    if isinstance(named, dict):
        for part in ("language", "media"):
            revision = base.get(f"{part}_revision")
            if revision is not None and revision.startswith("files:"):
                named = named | {part: revision}
        own["base"] = named
    write_atomically(folder / TunedFolder.FILE, encode(about.model_copy(update={"config": own})))


def _merge(folder: Path) -> None:
    import torch

    from ai_therapist.finetuning.saved_model import save_merged
    from ai_therapist.models.local import load_processor

    save_merged(folder, folder / MERGED, load_processor(folder / PROCESSOR), torch.bfloat16)
