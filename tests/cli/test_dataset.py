"""The command says how many examples there are, how many have a clip, and what keeps clips and splits away."""

from pathlib import Path

from ai_therapist.records import Use
from ai_therapist.store.workspace import Workspace
from tests.cli.conftest import Cli
from tests.dataset.builders import make_parts, save_with_clips, with_uses

INLINE = ("--set", "pipeline.executor=inline")


def test_the_examples_are_counted_by_split_and_clip(run_cli: Cli, tmp_path: Path) -> None:
    save_with_clips(Workspace(tmp_path / "study"), [make_parts(f"s{seed}", seed=seed) for seed in (1, 2, 3)], tmp_path)
    shown = run_cli("dataset", "-w", "study", *INLINE)
    assert shown.code == 0, shown.err
    assert "9 examples (3 train, 3 validation, 3 test), 9 with a clip" in shown.out
    assert "emotion_from_media" not in shown.out
    assert "no example in" not in shown.out


def test_sessions_without_clips_and_empty_splits_are_told(run_cli: Cli, tmp_path: Path) -> None:
    first, second = (make_parts(f"s{seed}", seed=seed) for seed in (1, 2))
    words_only = with_uses(second, Use.TRANSCRIBE, Use.ANNOTATE, Use.TRAIN)
    save_with_clips(Workspace(tmp_path / "study"), [first, words_only], tmp_path)
    shown = run_cli("dataset", "-w", "study", *INLINE)
    assert shown.code == 0, shown.err
    assert "6 examples" in shown.out
    assert "3 with a clip" in shown.out
    assert "1 of 2 sessions do not permit 'emotion_from_media': their clips are left out" in shown.out
    assert "each split needs a group of its own, so at least three" in shown.out


def test_a_dataset_without_examples_has_no_account(run_cli: Cli, tmp_path: Path) -> None:
    save_with_clips(Workspace(tmp_path / "study"), [make_parts("s1", turns=1)], tmp_path)
    shown = run_cli("dataset", "-w", "study", *INLINE)
    assert shown.code == 3
    assert "no_client_turn_before 1" in shown.out
    assert " examples (" not in shown.out
