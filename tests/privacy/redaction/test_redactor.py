"""One person is one stand-in within a session, and no rule's stand-in lets the identifier through."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.privacy.redaction.finding import Finding, Kind, without_overlaps
from ai_therapist.privacy.redaction.redactor import SessionRedactor
from ai_therapist.privacy.redaction.report import residual_risk


def redact(*texts: str) -> list[str]:
    redactor = SessionRedactor(texts)
    return [redactor.redact(text).text for text in texts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail anna.b+x@mail.example.org now", "mail [EMAIL] now"),
        ("write to anna dot b at gmail dot com", "write to [EMAIL]"),
        ("call (555) 123-4567 today", "call [PHONE] today"),
        ("call +44 20 7946 0958", "call [PHONE]"),
        ("ssn 219-09-9999.", "ssn [SSN]."),
        ("card 4111 1111 1111 1111 ok", "card [CARD] ok"),
        ("pay GB82 WEST 1234 5698 7654 32", "pay [IBAN]"),
        ("pay gb82west12345698765432", "pay [IBAN]"),
        ("at 192.168.0.12 or 2001:db8::1", "at [IP] or [IP]"),
        ("see https://example.org/a?b=c and shop.example.com", "see [URL] and [URL]"),
        ("on 2021-03-04, 3/4/21 and March 4th, 2021", "on [DATE], [DATE] and [DATE]"),
        ("on the third of may nineteen eighty four", "on [DATE]"),
        ("at 12 Oak Street it began", "at [STREET] it began"),
        ("zip 90210-1234", "zip [ZIP]"),
        ("my number is five five five one two three four", "my number is [NUMBER]"),
        ("my zip code is nine oh two one oh", "my zip code is [NUMBER]"),
        ("she is 93 years old", "she is [AGE] years old"),
        ("my name is zovari and i am tired", "my name is [PERSON_1] and i am tired"),
        ("my sister clara moved to boston", "my sister [RELATIVE_1] moved to [PLACE_1]"),
        ("my brother mark he left", "my brother [RELATIVE_1] he left"),
        ("I saw Dr. Vokeli on Friday", "I saw Dr. [PERSON_1] on Friday"),
        ("We met Ingrid K. Tovaldsen in Quinta de Molar", "We met [PERSON_1] in [PLACE_1]"),
    ],
)
def test_identifiers_are_replaced(text: str, expected: str) -> None:
    assert redact(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "i will go and may be late",
        "my brother will not talk to me",
        "there were two or three of us and it took ten years",
        "I hope you can rest. Will you come? May I ask why?",
        "the rose in the garden and the joy it brings",
        "it cost 250 dollars, 3.5 times more",
        "On Monday we talked about English and God.",
    ],
)
def test_ordinary_talk_stays(text: str) -> None:
    assert redact(text) == [text]


def test_a_person_is_the_same_throughout_and_family_is_called_family() -> None:
    texts = ("Clara Novak called.", "my sister clara is kind", "I told Clara and Ms. Novak about Peter.")
    assert redact(*texts) == [
        "[RELATIVE_1] called.",
        "my sister [RELATIVE_1] is kind",
        "I told [RELATIVE_1] and Ms. [RELATIVE_1] about [PERSON_1].",
    ]


def test_a_name_that_only_one_turn_gives_away_is_hidden_in_all() -> None:
    assert redact("my name is zovari", "zovari said so") == ["my name is [PERSON_1]", "[PERSON_1] said so"]


def test_a_model_can_join_the_rules() -> None:
    class Model:
        def find(self, text: str) -> Sequence[Finding]:
            place = text.find("the lighthouse")
            return [Finding(place, place + 14, Kind.PLACE, "model")] if place >= 0 else []

    assert SessionRedactor(["by the lighthouse"], [Model()]).redact("by the lighthouse").text == "by [PLACE_1]"


@given(st.text(max_size=80))
def test_any_text_can_be_redacted_and_loses_only_what_was_found(text: str) -> None:
    redactor = SessionRedactor([text])
    findings = redactor.findings(text)
    assert all(0 <= one.start < one.end <= len(text) for one in findings)
    assert all(one.end <= other.start for one, other in pairwise(findings))
    redacted = redactor.redact(text)
    assert sum(redacted.counts.values()) == len(findings)
    if not findings:
        assert redacted.text == text


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=8))
def test_findings_without_overlaps_cover_what_they_covered(places: list[tuple[int, int]]) -> None:
    findings = [Finding(start, start + length, Kind.NUMBER, "test") for start, length in places]
    merged = without_overlaps(findings)
    assert {p for one in merged for p in range(one.start, one.end)} == {
        p for one in findings for p in range(one.start, one.end)
    }
    assert all(one.end <= other.start for one, other in pairwise(merged))


def test_the_report_counts_and_samples_by_id_without_a_word() -> None:
    redactor = SessionRedactor(["my name is anna", "nothing here"])
    rows = {f"exm_{n:012x}": [redactor.redact("my name is anna" if n % 2 else "nothing here")] for n in range(60)}
    risk = residual_risk(rows)
    assert (risk.rows, risk.rows_touched, dict(risk.replaced)) == (60, 30, {"PERSON": 30})
    assert len(risk.sample) == 20
    assert sum(int(row[4:], 16) % 2 for row in risk.sample) == 10
    assert risk == residual_risk(dict(reversed(rows.items())))
