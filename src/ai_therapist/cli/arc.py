"""The stages of the arc as the command line runs them: one function each, with progress and timing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ai_therapist.cli.console import RunWatch
from ai_therapist.cli.options import make_executor
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.codec import canonical_json
from ai_therapist.store.workspace import RunRecord, Workspace

if TYPE_CHECKING:
    from ai_therapist.cli.settings import Settings
    from ai_therapist.extraction.sources.recording import Source


class Arc:
    """Runs stage packages over one workspace and remembers how long each took when it last did any work."""

    def __init__(self, workspace: Workspace, settings: Settings) -> None:
        self.workspace = workspace
        self._settings = settings

    def extract(self, source: Source | Path) -> RunRecord:
        """Recordings to sessions, utterances and clips."""
        from ai_therapist.extraction.run import extract

        return self._timed(
            "extract",
            lambda watch: extract(
                self.workspace,
                self._settings.extraction,
                source,
                make_executor(self._settings, self.workspace.store),
                watch,
            ),
        )

    def annotate(self) -> RunRecord:
        """Utterances to annotations."""
        from ai_therapist.annotation.run import annotate

        return self._timed(
            "annotate",
            lambda watch: annotate(
                self.workspace,
                self._settings.annotation,
                make_executor(self._settings, self.workspace.store),
                watch,
            ),
        )

    def build_dataset(self) -> RunRecord:
        """Annotations to examples, splits and a dataset folder."""
        from ai_therapist.dataset.run import build_dataset

        return self._timed(
            "dataset",
            lambda watch: build_dataset(
                self.workspace, self._settings.dataset, make_executor(self._settings, self.workspace.store), watch
            ),
        )

    def train_annotator(self) -> RunRecord:
        """Labels of the training split to a classifier."""
        from ai_therapist.finetuning.annotator_run import train_annotator

        executor = make_executor(self._settings, self.workspace.store)
        return self._timed("annotator", lambda watch: train_annotator(self.workspace, executor, watch))

    def finetune(self, start: str | None = None) -> RunRecord:
        """Training examples to a tuned model, from `start` on; in this process, so that progress is seen."""
        from ai_therapist.finetuning.run import finetune
        from ai_therapist.pipeline.executors import InlineExecutor

        return self._timed(
            "finetune",
            lambda watch: finetune(
                self.workspace,
                self._settings.finetuning,
                InlineExecutor(self.workspace.store, watch.progress),
                watch,
                start,
            ),
        )

    def evaluate(self, gold: Path | None) -> RunRecord:
        """Everything before to a report."""
        from ai_therapist.evaluation.run import evaluate
        from ai_therapist.pipeline.executors import InlineExecutor

        return self._timed(
            "evaluate",
            lambda watch: evaluate(
                self.workspace,
                self._settings.evaluation,
                InlineExecutor(self.workspace.store, watch.progress),
                gold,
                self.seconds(),
                watch,
            ),
        )

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage package when it last did any work, and `total`."""
        path = self._timings_path
        timings: dict[str, float] = json.loads(path.read_bytes()) if path.exists() else {}
        return timings | {"total": round(sum(timings.values()), 1)} if timings else {}

    @property
    def _timings_path(self) -> Path:
        return self.workspace.root / "runs" / "seconds.json"

    def _timed(self, name: str, run: Callable[[RunWatch], RunRecord]) -> RunRecord:
        start_s = time.perf_counter()
        with RunWatch(name) as watch:
            record = run(watch)
        # A rerun that found everything in the store says nothing about how long the work takes.
        if watch.worked:
            timings = {key: value for key, value in self.seconds().items() if key != "total"}
            timings[name] = round(time.perf_counter() - start_s, 1)
            write_atomically(self._timings_path, canonical_json(timings))
        return record
