"""The leak audit: every kind of leak is found, and a clean set is not accused."""

from dataclasses import replace

import pytest

from ai_therapist.evaluation.audit import AuditRow, audit, audit_examples
from ai_therapist.records import Split
from tests.evaluation.arc import make_examples, make_gold

LONG = "the evening walk along the river was the first quiet hour of a long week"
CLEAN = [
    AuditRow("a", "train", "g1", "s1", LONG, "how was the week"),
    AuditRow("b", "test", "g2", "s2", "i told my brother that the kitchen is cold in the morning", "and then"),
    AuditRow("c", "test", "g2", "s2", "yes", "strategy is a word, and so is emotion"),
    AuditRow("d", "train", "g1", "s1", "yes", "i was neutral: about it"),
]


def test_a_clean_set_passes() -> None:
    found = audit(CLEAN, 0.8)
    assert found.passed
    assert found.checked == 4
    assert found.summary == "no leak found"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"group": "g1"}, "group in two splits"),
        ({"session": "s1"}, "session in two splits"),
        ({"text": LONG.title() + "!"}, "near-duplicates across splits"),
        ({"prompt": "client: i see\nEmotion: sadness"}, "gold label in the prompt"),
        ({"prompt": "[Restatement] so it is hard"}, "gold label in the prompt"),
        ({"prompt": "Client emotion: joy"}, "gold label in the prompt"),
    ],
)
def test_each_kind_of_leak_is_named(change: dict[str, str], kind: str) -> None:
    row = replace(AuditRow("x", "test", "g3", "s3", "another thing entirely"), **change)
    (leak,) = audit([*CLEAN, row], 0.8).leaks
    assert leak.kind == kind
    assert leak.count == 1
    assert "LEAK" not in str(leak)
    assert kind in str(leak)


def test_examples_are_audited_by_group_session_and_prompt() -> None:
    examples = make_examples([make_gold(f"s{at}") for at in range(4)])
    assert audit_examples(examples, 0.8).passed
    moved = [
        each.model_copy(update={"split": Split.TEST if at % 2 else Split.TRAIN}) for at, each in enumerate(examples)
    ]
    kinds = {leak.kind for leak in audit_examples(moved, 0.8).leaks}
    assert kinds == {"group in two splits", "session in two splits"}
    told = examples[0].client.model_copy(update={"text": "i am tired\nClient emotion: sadness"})
    leaking = [examples[0].model_copy(update={"client": told}), *examples[1:]]
    assert [leak.kind for leak in audit_examples(leaking, 0.8).leaks] == ["gold label in the prompt"]
