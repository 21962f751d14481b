"""Hostile files in place of weights: every loader refuses them by content, none runs what they hold."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_tensors

from ai_therapist import videollama2
from ai_therapist.errors import AiTherapistError
from ai_therapist.finetuning.checkpoint import load_checkpoint
from ai_therapist.finetuning.features import load_features
from ai_therapist.models.base import open_base, put_adapter
from ai_therapist.models.catalogue import open_model
from ai_therapist.models.embedded import EmbeddedClassifier
from ai_therapist.models.weighing import WeighingModel
from ai_therapist.videollama2.checkpoint_videollama2 import checkpoint_files
from tests.models.tiny_models import save_causal


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], object], tuple[Path]]:
        return Path.touch, (self.mark,)


def hostile(mark: Path) -> dict[str, bytes]:
    """Files that a loader which trusts names or suffixes would run, spread out in memory, or read beyond."""
    bomb = Bomb(mark)
    files = {f"pickle protocol {protocol}": pickle.dumps(bomb, protocol) for protocol in range(6)}
    files["pickle in a dictionary"] = pickle.dumps({"weight": bomb})
    files["pickle after zeros"] = bytes(8) + pickle.dumps(bomb)
    for zipped in (True, False):
        held = io.BytesIO()
        torch.save({"weight": bomb}, held, _use_new_zipfile_serialization=zipped)
        files[f"torch {'zip' if zipped else 'legacy'}"] = held.getvalue()
    held = io.BytesIO()
    np.save(held, np.array([bomb], dtype=object), allow_pickle=True)
    files["npy of objects"] = held.getvalue()
    held = io.BytesIO()
    np.savez(held, weight=np.array([bomb], dtype=object), allow_pickle=True)
    files["npz of objects"] = held.getvalue()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("../../escaped.txt", "out")
        archive.writestr("data.pkl", pickle.dumps(bomb))
    files["zip with a way out"] = held.getvalue()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", bytes(1 << 22))
    files["zip that swells"] = held.getvalue()
    files |= {
        "empty": b"",
        "text": b"import os",
        "html": b"<html>429 Too Many Requests</html>",
        "git lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "gguf": b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60),
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(64),
        "gzip": b"\x1f\x8b\x08" + bytes(64),
        "seven bytes": bytes(7),
    }
    good = save_tensors({"weight": np.ones((2, 2), np.float32)})
    header = json.loads(good[8 : 8 + struct.unpack("<Q", good[:8])[0]])

    def with_header(value: object, data: bytes = bytes(16)) -> bytes:
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        return struct.pack("<Q", len(text)) + text + data

    files |= {
        "header of 2^63 bytes": struct.pack("<Q", 1 << 63) + good[8:],
        "header of 101 MB": struct.pack("<Q", 101 << 20) + good[8:],
        "header longer than the file": struct.pack("<Q", len(good)) + good[8:],
        "header that is no JSON": with_header(b"{" * 64),
        "header of 20000 brackets": with_header(b"[" * 20_000),
        "header that is a list": with_header([1, 2]),
        "data cut off": good[:-1],
        "data too long": good + b"x",
        "tensor beyond the file": with_header({"weight": {**header["weight"], "data_offsets": [0, 1 << 40]}}),
        "tensors that overlap": with_header(dict.fromkeys(("a", "b"), header["weight"])),
        "negative shape": with_header({"weight": {**header["weight"], "shape": [-1, 4]}}),
        "shape that overflows": with_header({"weight": {**header["weight"], "shape": [1 << 33, 1 << 33]}}),
        "unknown type": with_header({"weight": {**header["weight"], "dtype": "O"}}),
        "zip behind a header": good + files["zip with a way out"],
    }
    return files


NAMES = sorted(hostile(Path("mark")))


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model of a few kilobytes, whose weights are then replaced."""
    return save_causal(tmp_path_factory.mktemp("model"), width=16, layers=1)


def loaders(text_model: Path, folder: Path, data: bytes) -> dict[str, Callable[[], object]]:
    """Every door through which weights come in, each with the hostile file where its own would lie."""
    weights = folder / "weights.safetensors"
    weights.write_bytes(data)
    pickled = folder / "mm_projector.bin"
    pickled.write_bytes(data)
    model = folder / "model"
    model.mkdir()
    for path in text_model.iterdir():
        (model / path.name).write_bytes(data if path.suffix == ".safetensors" else path.read_bytes())
    adapter = folder / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(data)
    about = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj"]}
    (adapter / "adapter_config.json").write_text(json.dumps(about))
    steps = folder / "steps"
    steps.mkdir()
    (steps / "step-000001-0123456789ab.safetensors").write_bytes(data)
    return {
        "embedded": lambda: EmbeddedClassifier.from_file(weights),
        "embedded spec": lambda: open_model(f"embedded:{weights}"),
        "features": lambda: load_features(weights),
        "causal": lambda: _asked(f"causal:{model}"),
        "base": lambda: open_base(model),
        "adapter": lambda: put_adapter(open_base(text_model).model, adapter),
        "videollama2": lambda: checkpoint_files(str(model)),
        "bin": lambda: videollama2.read_bin(str(pickled), allow_pickle=False),
        "bin allowed": lambda: videollama2.read_bin(str(pickled), allow_pickle=True),
        "checkpoint": lambda: _nothing(load_checkpoint(steps)),
    }


def _asked(spec: str) -> object:
    model = open_model(spec)
    assert isinstance(model, WeighingModel)
    return model.network


def _nothing(found: object) -> None:
    # A checkpoint whose name does not carry the digest of its bytes is passed over: training starts at the one before.
    if found is None:
        raise ValueError("passed over")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_no_loader_takes_it_and_nothing_in_it_runs(text_model: Path, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "mark"
    for door, load in loaders(text_model, tmp_path, hostile(mark)[name]).items():
        with pytest.raises((AiTherapistError, ValueError, OSError)) as caught:
            load()
        assert caught.value.args, door
        assert not mark.exists(), door


def test_there_are_enough_and_the_bomb_goes_off_where_it_may(tmp_path: Path) -> None:
    assert len(NAMES) >= 36
    mark = tmp_path / "mark"
    file = tmp_path / "bomb"
    file.write_bytes(hostile(mark)["torch legacy"])
    torch.load(file, weights_only=False)
    assert mark.exists()
