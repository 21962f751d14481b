"""A run in a process of its own, which a test kills."""

from pathlib import Path

from ai_therapist.annotation.config import AnnotationConfig
from ai_therapist.annotation.run import annotate
from ai_therapist.models.options import ModelOptions
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.store.workspace import Workspace

CONFIG = AnnotationConfig(
    annotator="openai:mortal", model=ModelOptions(requests_per_minute=60_000, timeout_s=20), context_turns=1
)


def run(root: Path) -> None:
    """Annotate the workspace."""
    workspace = Workspace(root)
    annotate(workspace, CONFIG, InlineExecutor(workspace.store))
