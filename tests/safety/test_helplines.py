"""The helpline table: the world first, nothing invented, an old check counts no longer."""

import json
from datetime import date, timedelta

import pytest
from pydantic import ValidationError

from ai_therapist.safety.helplines import FRESH_DAYS, Helplines, load_helplines

TODAY = date(2026, 11, 25)


def test_the_world_directory_leads_and_has_no_country() -> None:
    assert load_helplines().world.url == "https://findahelpline.com"


def test_every_row_can_be_reached_in_some_way() -> None:
    assert all(line.phone or line.text or line.kind == "directory" for line in load_helplines().helplines)


def test_a_row_without_a_date_says_unverified_and_one_with_a_date_does_not() -> None:
    for line in load_helplines().helplines:
        assert ("(unverified)" in line.line(TODAY)) == (line.verified_on is None)


def test_hours_are_only_stated_where_the_operators_page_was_read() -> None:
    assert all(line.hours is None for line in load_helplines().helplines if line.verified_on is None)


def test_a_check_older_than_180_days_counts_no_longer() -> None:
    table = load_helplines()
    rows = {row.country: row for row in table.emergency} | {line.id: line for line in table.helplines}
    last_day = max(row.verified_on for row in rows.values() if row.verified_on is not None) + timedelta(days=FRESH_DAYS)
    assert set(table.unverified(last_day)) < set(rows)
    assert set(table.unverified(last_day + timedelta(days=1))) == set(rows)


def test_emergency_numbers_without_a_date_are_among_the_unverified() -> None:
    assert {"US", "CA"} < set(load_helplines().unverified(TODAY))
    assert not {"EU", "GB", "AU"} & set(load_helplines().unverified(TODAY))


def test_an_emergency_number_leads_its_entry_whether_verified_or_not() -> None:
    for row in load_helplines().emergency:
        mark = "" if row.is_verified(TODAY) else ", unverified"
        assert row.entry(TODAY) == f"{row.number} ({row.place}{mark})"


def test_the_build_fails_when_a_row_was_read_more_than_180_days_ago() -> None:
    """Read the operators' pages again and set verified_on, or set source and verified_on to null."""
    assert load_helplines().expired(date.today()) == ()


def test_a_row_expires_on_the_day_after_its_last() -> None:
    table = load_helplines()
    first = min(row.verified_on for row in (*table.emergency, *table.helplines) if row.verified_on is not None)
    assert table.expired(first + timedelta(days=FRESH_DAYS)) == ()
    assert "AU" in table.expired(first + timedelta(days=FRESH_DAYS + 1))
    assert "gb-samaritans" in table.expired(first + timedelta(days=FRESH_DAYS + 1))


def test_a_country_gets_its_own_numbers_and_the_unions_emergency_number() -> None:
    table = load_helplines()
    assert {line.country for line in table.of_country("GB")} == {"GB"}
    assert [row.number for row in table.emergency_of("DE")] == ["112"]
    assert [row.number for row in table.emergency_of("US")] == ["911"]
    assert table.emergency_of("JP") == ()
    assert len(table.emergency_of(None)) >= 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": None}, "source and verified_on come together"),
        ({"phone": "call me"}, "phone"),
        ({"url": "http://plain.example"}, "url"),
        ({"country": "US"}, "first helpline must be the world directory"),
    ],
)
def test_a_broken_table_is_refused(change: dict[str, str | None], message: str) -> None:
    table = load_helplines().model_dump(mode="json")
    table["helplines"][0] |= change
    with pytest.raises(ValidationError, match=message):
        Helplines.model_validate_json(json.dumps(table))


def test_one_id_twice_is_refused() -> None:
    table = load_helplines().model_dump(mode="json")
    table["helplines"].append(table["helplines"][1])
    with pytest.raises(ValidationError, match="two helplines share an id"):
        Helplines.model_validate_json(json.dumps(table))
