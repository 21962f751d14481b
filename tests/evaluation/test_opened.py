"""Systems open by what they can do, clips are shuffled so that none stays, and replies are counted without a word."""

from pathlib import Path

import pytest

from ai_therapist.dataset.render import Field
from ai_therapist.evaluation.opened import clips_for, rate_replies, system_of
from ai_therapist.evaluation.predictions import Prediction, Reply, predictions_of
from ai_therapist.evaluation.tuned import Listening, Writing
from ai_therapist.models.catalogue import open_model
from ai_therapist.models.scripted import ScriptedGenerator
from ai_therapist.records import Abstention, Example, Label
from ai_therapist.testing import RecordingSpec, make_digest, make_recording
from tests.evaluation.arc import make_examples, make_gold, write_clip

EXAMPLES = make_examples([make_gold(f"s{at}") for at in range(3)], test=3)
SEEN = [
    each.model_copy(update={"clip": f"clp_{at:012x}", "clip_sha256": make_digest(each.id)})
    for at, each in enumerate(EXAMPLES)
]


def shown(clips: str, examples: list[Example]) -> list[Path | None]:
    clip_of = clips_for(clips, Path, examples)
    return [clip_of(example) for example in examples]


def test_shuffling_gives_every_example_the_clip_of_another() -> None:
    own = shown("own", SEEN)
    assert own == [Path(str(each.clip_sha256)) for each in SEEN]
    other = shown("shuffled", SEEN)
    assert sorted(map(str, other)) == sorted(map(str, own))
    assert all(one != two for one, two in zip(own, other, strict=True))
    assert set(shown("none", SEEN)) == {None}
    assert shown("shuffled", SEEN[:1]) == [None]
    assert set(shown("own", EXAMPLES)) == {None}


def test_only_a_clip_with_sound_is_shown_for_its_sound(tmp_path: Path) -> None:
    write_clip(tmp_path / str(SEEN[0].clip_sha256), 8)
    make_recording(tmp_path / "sounding.mp4", RecordingSpec(duration_ms=1000))
    (tmp_path / "sounding.mp4").rename(tmp_path / str(SEEN[1].clip_sha256))
    clip_of = clips_for("sounding", lambda digest: tmp_path / digest, SEEN[:2])
    assert [clip_of(example) for example in SEEN[:2]] == [None, tmp_path / str(SEEN[1].clip_sha256)]


def test_a_model_that_only_writes_is_read_strictly() -> None:
    answer = "Client emotion: fear\nStrategy: Cheering up\nTherapist emotion: neutral\nReply: Go on."
    system = system_of(ScriptedGenerator([answer, "I would rather not."]), lambda example: None, 20)
    assert isinstance(system, Writing)
    found = system.predict(EXAMPLES[0])
    assert found[Field.CLIENT_EMOTION] == Label(value="fear")
    assert found[Field.STRATEGY] == Abstention(reason="not in the answer")
    assert found[Field.REPLY] == Reply(text="Go on.")
    refused = system.predict(EXAMPLES[0])
    assert set(refused) == set(Field)
    assert all(isinstance(outcome, Abstention) for outcome in refused.values())


def test_a_classifier_of_what_was_said_predicts_nothing_that_is_still_to_come() -> None:
    system = system_of(open_model("embedded"), lambda example: None, 20)
    assert isinstance(system, Listening)
    assert set(system.predict(EXAMPLES[0])) == {Field.CLIENT_EMOTION}


@pytest.mark.parametrize(("strategy", "consistent"), [("Open questions", True), ("Advisement", False), (None, None)])
def test_a_reply_is_held_to_the_strategy_that_was_stated(strategy: str | None, consistent: bool | None) -> None:
    example = EXAMPLES[0]
    lines = [] if strategy is None else [f"Strategy: {strategy}"]
    answer = "\n".join([*lines, "Reply: What was that like for you?"])
    system = system_of(ScriptedGenerator([answer]), lambda each: None, 20)
    rows: list[Prediction] = predictions_of("writer", system, example)
    table = rate_replies({example.id: example}, rows)
    (row,) = table.rows
    assert row.consistent is consistent
    assert row.asks
    assert table.distinct == ((6, 6), (5, 5))
    assert "like for" not in table.model_dump_json()
