"""The table of labels."""

from ai_therapist.annotation.table import render_table
from ai_therapist.records import Abstention, Label, Outcome, Task, Utterance
from ai_therapist.testing import make_session
from tests.annotation.builders import make_annotation, make_turns


def test_a_table_shows_labels_probabilities_and_reasons_but_no_words() -> None:
    session = make_session()
    turns = make_turns(session, "secret one", "secret two")
    outcomes: list[tuple[Utterance, Task, Outcome]] = [
        (turns[0], Task.EMOTION, Abstention(reason="two labels closer than 0.05")),
        (turns[0], Task.STRATEGY, Label(value="Others")),
        (turns[1], Task.EMOTION, Label(value="joy", probabilities={"joy": 0.75, "fear": 0.25})),
    ]
    annotations = [
        make_annotation(turn.id, outcome, task).model_copy(update={"utterance": turn.id})
        for turn, task, outcome in outcomes
    ]

    assert render_table(session, turns, annotations) == (
        "turn  starts  role       emotion  p     strategy  p  why not\n"
        "0     0.0 s   therapist  ?              Others       two labels closer than 0.05\n"
        "1     5.0 s   client     joy      0.75  -\n"
    )
