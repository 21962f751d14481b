"""What the store and the driver cost beside the work: python benchmarks/store.py [--quick].

Warm no-op: 10,000 items through five stages, everything finished, from a warm index to the last item record.
Durable task: stages that do nothing but keep ten bytes, synced to the disk, in two worker processes.
Start: from the making of the executor to the first finished task, in a new process each time, the median of five;
beside it a second start in the same process, for which the server that workers are forked from is there.
Recompute: a real recording is extracted, then min_clip_ms and the annotator's prompt version change.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from reporting import finish

from ai_therapist.pipeline.driver import Item, Unobserved, drive
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.pipeline.stage import Job, Stage, StageConfig
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.store.actions import ActionRecord
from ai_therapist.store.codec import encode
from ai_therapist.store.workspace import Workspace

NOOP_US, TASK_MS, START_S = 60.0, 6.0, 0.5
STAGES, WORKERS = 5, 2
SAMPLES = Path(__file__).parents[1] / "samples" / "recordings"


class Plain(StageConfig):
    """A few settings, as a real stage has."""

    number: int = 3
    factor: float = 1.5
    name: str = "plain"


def chain(count: int) -> list[Stage]:
    """Stages of which each needs what the one before gives."""
    names = ["start", *(f"part{number}" for number in range(count))]
    return [
        Stage(f"stage{number}", 1, pass_on, (names[number],), (names[number + 1],), Plain(), ("av", "numpy"))
        for number in range(count)
    ]


def pass_on(job: Job) -> None:
    """The input with one sign more, under the name of the next part."""
    (name,) = job.names()
    number = -1 if name == "start" else int(name.removeprefix("part"))
    job.give(f"part{number + 1}", job.read(name)[:60] + b"+")


def digest(text: str) -> str:
    """A sha256 that follows from a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_finished(workspace: Workspace, items: int) -> list[Item]:
    """A store in which every stage of every item is finished, written unsynced; only what a no-op reads counts."""
    made, store, stages = [], workspace.store, chain(STAGES)
    for number in range(items):
        item = Item(f"item{number}", f"item {number}", {"start": digest(f"start {number}")})
        before = item.artefacts
        for place, stage in enumerate(stages):
            outputs = {f"part{place}": digest(f"{number} {place}")}
            record = ActionRecord(
                key=stage.key(before),
                stage=stage.name,
                version=1,
                item=item.id,
                config=stage.semantic_config(),
                tools={},
                inputs=before,
                outputs=outputs,
                records={},
                counts={"bytes": place},
            )
            for path, data in (
                (store.path(outputs[f"part{place}"]), b"x"),
                (store.record_path("act", record.key), encode(record)),
            ):
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
            before = outputs
        made.append(item)
    workspace.index.rebuild()
    return made


class Refusing(InlineExecutor):
    """An executor that nothing may be sent to."""

    def submit(self, task: object) -> None:
        """Fails: the run was to be a no-op."""
        raise AssertionError("a finished action was run again")


def noop_us(folder: Path, items: int) -> tuple[float, float]:
    """Microseconds per finished action by the clock and of the processor, best of three runs over a finished store."""
    workspace = Workspace(folder)
    made, times, busy = write_finished(workspace, items), [], []
    for _ in range(3):
        start, worked = time.perf_counter(), time.process_time()
        records = drive(workspace, chain(STAGES), made, Refusing(workspace.store))
        times.append(time.perf_counter() - start)
        busy.append(time.process_time() - worked)
        assert all(len(record.actions) == STAGES for record in records)
    workspace.index.close()
    return min(times) / (items * STAGES) * 1e6, min(busy) / (items * STAGES) * 1e6


def task_ms(folder: Path, items: int) -> float:
    """Milliseconds per durable task in worker processes, after the start."""
    workspace = Workspace(folder)
    made = [Item(f"i{n}", f"i{n}", {"start": workspace.store.put_bytes(str(n).encode())}) for n in range(items)]
    executor = LocalExecutor(workspace.store, WORKERS)
    watch = FirstTask()
    drive(workspace, chain(STAGES), made, executor, watch)
    workspace.index.close()
    return (time.perf_counter() - watch.first) / (watch.done - 1) * 1e3


class FirstTask(Unobserved):
    """Remembers when the first task was finished, and counts."""

    first = 0.0
    done = 0

    def finished(self, stage: str, item: str, *, reused: bool) -> None:
        """One more."""
        self.first = self.first or time.perf_counter()
        self.done += 1


def starts_s(folder: Path) -> tuple[float, float]:
    """The first and the second `start_s` of a new process."""
    call = f"from store import *; print(start_s(Path({str(folder / 'one')!r})), start_s(Path({str(folder / 'two')!r})))"
    done = subprocess.run([sys.executable, "-c", call], cwd=Path(__file__).parent, capture_output=True, check=True)
    first, second = map(float, done.stdout.split())
    return first, second


def start_s(folder: Path) -> float:
    """Seconds from making an executor to the first finished task."""
    workspace = Workspace(folder)
    item = Item("i", "i", {"start": workspace.store.put_bytes(b"x")})
    start, watch = time.perf_counter(), FirstTask()
    drive(workspace, chain(1), [item], LocalExecutor(workspace.store, WORKERS), watch)
    workspace.index.close()
    return watch.first - start


class Worked(Unobserved):
    """Names of the stages that ran."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def finished(self, stage: str, item: str, *, reused: bool) -> None:
        """A stage is finished, by work or by reuse."""
        if not reused:
            self.stages.append(stage)


def recomputed(folder: Path) -> tuple[Sequence[str], Sequence[str]]:
    """Stages that run again when min_clip_ms changes, and when what the annotator is told changes."""
    # Not at the top: worker processes import this file, and the start is what is measured.
    from ai_therapist.annotation.config import AnnotationConfig
    from ai_therapist.annotation.run import annotate
    from ai_therapist.extraction.config import ClipsConfig, ExtractionConfig
    from ai_therapist.extraction.run import extract

    (folder / "in").mkdir(parents=True)
    for name in ("exams.mp4", "exams.consent.json"):
        (folder / "in" / name).write_bytes((SAMPLES / name).read_bytes())
    workspace, config, labels = Workspace(folder / "study"), ExtractionConfig(), AnnotationConfig()
    extract(workspace, config, folder / "in", InlineExecutor(workspace.store))
    annotate(workspace, labels, InlineExecutor(workspace.store))
    longer, prompt = Worked(), Worked()
    clips = config.model_copy(update={"clips": ClipsConfig(min_clip_ms=4000)})
    extract(workspace, clips, folder / "in", InlineExecutor(workspace.store), longer)
    extract(workspace, config, folder / "in", InlineExecutor(workspace.store))
    other = labels.model_copy(update={"context_turns": labels.context_turns + 1})
    extract(workspace, config, folder / "in", InlineExecutor(workspace.store), prompt)
    annotate(workspace, other, InlineExecutor(workspace.store), prompt)
    workspace.index.close()
    return longer.stages, prompt.stages


def main() -> None:
    """Measure and compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 items, 40 for the tasks, no recording")
    quick = parser.parse_args().quick
    items, tasks = (1000, 40) if quick else (10_000, 200)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        starts, again = zip(*(starts_s(folder / f"start{number}") for number in range(5)), strict=True)
        durable = task_ms(folder / "tasks", tasks)
        noop, noop_cpu = noop_us(folder / "noop", items)
        longer, prompt = ([], []) if quick else recomputed(folder / "real")
    media = {"probe", "audio", "transcribe", "standardise", "cut"}
    figures: dict[str, object] = {
        "noop_us_per_action": round(noop, 1),
        "noop_cpu_us_per_action": round(noop_cpu, 1),
        "actions": items * STAGES,
        "durable_task_ms": round(durable, 2),
        "tasks": tasks * STAGES,
        "start_to_first_task_s": round(statistics.median(starts), 2),
        "second_start_to_first_task_s": round(statistics.median(again), 2),
        "starts": len(starts),
        "stages_after_min_clip_ms": sorted(set(longer)),
        "stages_after_a_prompt_change": sorted(set(prompt)),
        "load_at_start": round(load, 1),
    }
    holds = noop <= NOOP_US and durable <= TASK_MS and statistics.median(starts) <= START_S
    holds = holds and "standardise" not in longer and not media & set(prompt)
    finish(
        "store",
        figures,
        f"at most {NOOP_US:g} µs per finished action, {TASK_MS:g} ms per durable task, {START_S:g} s to the first "
        "task; min_clip_ms encodes nothing, a prompt runs no media stage",
        holds=holds and (quick or (bool(longer) and bool(prompt))),
    )


if __name__ == "__main__":
    main()
