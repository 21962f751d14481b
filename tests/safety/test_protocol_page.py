"""The protocol says what the code does, rule by rule, and that no clinician has reviewed it."""

from ai_therapist.inference.gated import FIXED_FAILED
from ai_therapist.inference.reply import FIXED_IMMINENT
from ai_therapist.safety import disclosures
from ai_therapist.safety.context import load_context_rules
from ai_therapist.safety.crisis_rules import load_rules
from ai_therapist.safety.helplines import load_helplines
from ai_therapist.safety.output import REPLACEMENTS, load_output_rules
from ai_therapist.safety.protocol_page import protocol_page
from ai_therapist.safety.states import load_states

PAGE = protocol_page(FIXED_IMMINENT, FIXED_FAILED)


def test_it_says_plainly_that_no_clinician_has_reviewed_it() -> None:
    assert "**No clinician has reviewed this protocol" in PAGE
    assert "not a medical device" in PAGE
    assert "No telemetry" in PAGE


def test_every_rule_text_and_helpline_stands_on_the_page() -> None:
    ids = [rule.id for rule in load_rules().rules]
    ids += [rule.id for rule in load_context_rules().all]
    ids += [rule.id for rule in load_output_rules().rules]
    ids += [rule.id for rule in load_states().states]
    assert [name for name in ids if f"| {name} |" not in PAGE] == []
    texts = [*REPLACEMENTS.values(), *FIXED_IMMINENT, *FIXED_FAILED, disclosures.reminder()]
    assert [text for text in texts if text not in PAGE] == []
    assert [line.name for line in load_helplines().helplines if line.name not in PAGE] == []


def test_unverified_rows_say_so() -> None:
    rows = [row for row in PAGE.splitlines() if row.startswith("| India")]
    assert len(rows) == 1
    assert "unverified" in rows[0]
