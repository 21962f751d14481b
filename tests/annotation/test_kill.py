"""Killed at any moment, a run repeats no call whose answer it had: the server counts."""

import json
import multiprocessing
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from ai_therapist.records import Annotation, Task, Transcript, load_codebook
from ai_therapist.store.codec import decode, decode_all
from ai_therapist.store.workspace import Status
from tests.annotation import killed_run
from tests.annotation.builders import make_extraction
from tests.annotation.faults import truth
from tests.annotation.test_storm import honest
from tests.loopback_models import Asked, ModelServer, Said, openai_says, serving


def kill_again_and_again(root: Path, server: ModelServer, kills: int, turns: int, seed: int) -> None:
    """Start runs and kill each after a few more answers, then let one come to its end, and look at what was asked."""
    rng = random.Random(seed)
    workspace = make_extraction(root, "one", texts=[f"and then, number {place}" for place in range(turns)])
    questions = turns + turns // 2
    context = multiprocessing.get_context("spawn")
    for _ in range(kills):
        target = len(server.asked) + rng.randint(0, max(1, 2 * questions // (kills + 1)))
        child = context.Process(target=killed_run.run, args=(root,))
        child.start()
        while len(server.asked) < target and child.is_alive():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        child.kill()
        child.join()
        # A run sets aside what it was at work on each of five times that it was killed; people let it be tried again.
        for bad in list(workspace.store.quarantines()):
            workspace.store.release(bad.key)
    killed_run.run(root)
    for bad in list(workspace.store.quarantines()):
        workspace.store.release(bad.key)
        killed_run.run(root)
    record = workspace.find_run("annotation")
    assert record is not None
    (item,) = record.items
    assert item.status is Status.DONE, item.reason
    annotations = decode_all(Annotation, workspace.store.read(item.artefacts["annotations"]), "annotations")
    words = {
        turn.id: turn.text
        for turn in decode(Transcript, workspace.store.read(item.artefacts["utterances"]), "x").utterances
    }
    assert len(annotations) == questions
    for annotation in annotations:
        assert annotation.label == truth(words[annotation.utterance], load_codebook().names(Task(annotation.task)))
    asked = Counter(request.body for request in server.asked)
    assert len(asked) == questions
    # A kill loses the one call under way; every other answer was written down before it was used.
    assert len(server.asked) - questions <= kills
    assert list((workspace.store.root / "work").iterdir()) == []


def answer(asked: Asked) -> Said:
    return openai_says(honest(asked), usage=(10, 5)) if json.loads(asked.body) else Said(400)


def test_a_killed_run_repeats_no_answered_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        kill_again_and_again(tmp_path / "w", server, kills=3, turns=24, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_fifty_kills_repeat_no_answered_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        kill_again_and_again(tmp_path / "w", server, kills=50, turns=200, seed=2)
