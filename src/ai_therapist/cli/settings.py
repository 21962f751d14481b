"""Settings from defaults, `ai-therapist.toml` and `--set`, each value with the place it comes from."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from ai_therapist.annotation.config import AnnotationConfig
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.errors import ConfigError
from ai_therapist.evaluation.config import EvaluationConfig
from ai_therapist.extraction.config import ExtractionConfig
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.inference.config import InferenceConfig
from ai_therapist.pipeline.stage import StageConfig
from ai_therapist.serving.config import ServingConfig
from ai_therapist.store.codec import describe

CONFIG_FILE = "ai-therapist.toml"

CREDENTIALS = (
    "LOCATION",
    "PROJECT_ID",
    "MODEL_NAME",
    "DATA_BUCKET_NAME",
    "DATA_REPO_NAME",
    "MODEL_REPO_NAME",
    "HF_TOKEN",
    "YOUTUBE_API_KEY",
    "ASSEMBLYAI_API_KEY",
    "GEMINI_API_KEY",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "SERVE_PASSWORD",
)
"""Names read from the environment or from `.env`; never from the settings file, never stored."""


class PipelineConfig(StageConfig):
    """How stages are run; nothing here changes a result."""

    executor: Literal["local", "inline", "ray"] = "local"
    """local: worker processes of this machine. inline: one after the other in this process. ray: the cluster that
    RAY_ADDRESS names; all nodes must see the workspace at the same path."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Worker processes, 1 or more; 0 takes one per core. With ray: one per core of the whole cluster."""
    network: Literal["auto", "closed", "open"] = "auto"
    """Whether other computers may be reached. auto: not where every part in use runs on this machine; a worker
    process then cannot either. closed: never. open: always."""
    store: str = ""
    """Where a new workspace keeps its blobs and records: gs://BUCKET/FOLDER or s3://BUCKET/FOLDER; without it in its
    own folder. The workspace remembers it."""


class Settings(StageConfig):
    """All settings, one table per stage package."""

    pipeline: PipelineConfig = PipelineConfig()
    extraction: ExtractionConfig = ExtractionConfig()
    annotation: AnnotationConfig = AnnotationConfig()
    dataset: DatasetConfig = DatasetConfig()
    finetuning: FinetuningConfig = FinetuningConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    inference: InferenceConfig = InferenceConfig()
    serving: ServingConfig = ServingConfig()


@dataclass(frozen=True)
class Resolved:
    """Settings in force, and the place that each changed value comes from."""

    settings: Settings
    origins: dict[str, str]

    def rows(self) -> Iterator[tuple[str, object, str, str]]:
        """Dotted key, value, origin and description of every setting."""
        for key, value, text in _leaves(self.settings):
            yield key, value, self.origins.get(key, "default"), text


def resolve(config: Path | None, assignments: Sequence[str]) -> Resolved:
    """The settings in force: defaults, then the file, then `KEY=VALUE` assignments.

    Without `config`, ai-therapist.toml of the current folder is read where there is one. Raises ConfigError for an
    unreadable file, an unknown key (with the nearest known one) or a value that does not fit.
    """
    merged: dict[str, object] = {}
    origins: dict[str, str] = {}
    path = config or (Path(CONFIG_FILE) if Path(CONFIG_FILE).exists() else None)
    if path is not None:
        _merge(merged, _read_toml(path), origins, path.name)
    for assignment in assignments:
        _merge(merged, _assignment(assignment), origins, f"--set {assignment.split('=')[0]}")
    _refuse_unknown(Settings(), merged, origins)
    try:
        # JSON, because strict Python input would refuse a list for a tuple and a string for an enum.
        settings = Settings.model_validate_json(json.dumps(merged, default=str))
    except ValidationError as error:
        raise ConfigError(f"settings: {describe(error)}; see  ai-therapist config show") from None
    return Resolved(settings, origins)


def load_dotenv(path: Path = Path(".env")) -> None:
    """Put the known names of a `.env` file into the environment; what is set there already wins.

    Raises ConfigError for a file that cannot be read or is no UTF-8, and for a line that is not NAME=VALUE; the message
    shows its number, never its content.
    """
    try:
        content = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise ConfigError(f"{path}: {reason}: it must be a file of NAME=VALUE lines that you may read") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8: save it as UTF-8 text") from None
    if "\0" in content:
        raise ConfigError(f"{path}: not UTF-8: save it as UTF-8 text")
    for number, line in enumerate(content.splitlines(), start=1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{path}, line {number}: write NAME=VALUE")
        if name.strip() in CREDENTIALS:
            os.environ.setdefault(name.strip(), value.strip().strip("'\""))


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8: save it as UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _assignment(text: str) -> dict[str, object]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {text!r}: write it as --set TABLE.KEY=VALUE")
    try:
        parsed: object = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    for part in reversed(key.split(".")):
        parsed = {part: parsed}
    return parsed if isinstance(parsed, dict) else {key: parsed}


def _merge(
    into: dict[str, object], new: Mapping[str, object], origins: dict[str, str], origin: str, prefix: str = ""
) -> None:
    for key, value in new.items():
        dotted = f"{prefix}{key}"
        known = into.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            _merge(known, value, origins, origin, f"{dotted}.")
            continue
        into[key] = value
        for leaf in _dotted(value, dotted):
            origins[leaf] = origin


def _dotted(value: object, prefix: str) -> Iterator[str]:
    yield prefix
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _dotted(inner, f"{prefix}.{key}")


def _refuse_unknown(
    model: BaseModel, given: Mapping[str, object], origins: Mapping[str, str], prefix: str = ""
) -> None:
    known = list(type(model).model_fields)
    for key, value in given.items():
        dotted = f"{prefix}{key}"
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {prefix + near[0]!r}?" if near else f"known here: {', '.join(known)}"
            raise ConfigError(f"{origins.get(dotted, 'settings')}: unknown setting {dotted!r}; {hint}")
        inner = getattr(model, key)
        if isinstance(inner, BaseModel):
            if not isinstance(value, dict):
                raise ConfigError(f"{origins.get(dotted, 'settings')}: {dotted!r} is a table of settings, not a value")
            _refuse_unknown(inner, value, origins, f"{dotted}.")


def _leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, object, str]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, " ".join((field.description or "").split())
