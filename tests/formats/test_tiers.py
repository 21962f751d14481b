"""Tiers through TextGrid and ELAN, read back by us and by other programs' readers."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid as praat
from pydantic import ValidationError
from pympi import Elan

from ai_therapist.errors import InvalidRecord
from ai_therapist.formats.elan import read_elan, write_elan
from ai_therapist.formats.textgrid import read_textgrid, write_textgrid
from ai_therapist.formats.tiers import Interval, Tier, make_tier
from ai_therapist.records import TimeSpan
from tests.formats.strategies import LABELS, SAID

TALK = make_tier("A", [(500, 1750, 'he said "so"'), (2000, 2001, "ä")], "x", participant="A")
EMOTION = make_tier("A - emotion", [(500, 1750, "sadness")], "x", ("anger", "sadness"), "A", "rater 1")
BOTH = (TALK, EMOTION)


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    made = []
    for name in draw(st.lists(LABELS, min_size=1, max_size=3, unique=True)):
        ends = draw(st.lists(st.integers(1, 90_000_000), max_size=8, unique=True).map(sorted))
        pieces = [(a, b, draw(SAID)) for a, b in zip(ends[::2], ends[1::2], strict=False)]
        vocabulary = draw(st.one_of(st.none(), st.lists(SAID, max_size=3).map(tuple)))
        made.append(make_tier(name, pieces, "x", vocabulary, draw(st.one_of(st.none(), LABELS)), draw(SAID)))
    return tuple(made)


@settings(deadline=None, max_examples=60)
@given(given_tiers=tiers())
def test_elan_gives_back_tiers_with_vocabularies_and_people(given_tiers: tuple[Tier, ...]) -> None:
    assert read_elan(write_elan(given_tiers), "x") == given_tiers


@settings(deadline=None, max_examples=60)
@given(given_tiers=tiers())
def test_textgrid_gives_back_names_and_intervals(given_tiers: tuple[Tier, ...]) -> None:
    bare = {"vocabulary": None, "participant": None, "annotator": None}
    assert read_textgrid(write_textgrid(given_tiers), "x") == tuple(one.model_copy(update=bare) for one in given_tiers)


def test_praatio_reads_our_textgrid_and_we_read_its_two_forms(tmp_path: Path) -> None:
    path = tmp_path / "one.TextGrid"
    path.write_bytes(write_textgrid(BOTH, 10_000))
    grid = praat.openTextgrid(str(path), includeEmptyIntervals=False)
    assert grid.maxTimestamp == 10
    assert [(round(e.start * 1000), round(e.end * 1000), e.label) for e in grid.getTier("A").entries] == [
        (500, 1750, 'he said "so"'),
        (2000, 2001, "ä"),
    ]
    for form in ("short_textgrid", "long_textgrid"):
        grid.save(str(path), form, includeBlankSpaces=True)
        assert [(one.name, one.intervals) for one in read_textgrid(path.read_bytes(), "x")] == [
            (one.name, one.intervals) for one in BOTH
        ]


def test_pympi_reads_our_elan_document_and_we_read_its(tmp_path: Path) -> None:
    path = tmp_path / "one.eaf"
    path.write_bytes(write_elan(BOTH, "one.mp4"))
    document = Elan.Eaf(str(path))
    assert document.get_annotation_data_for_tier("A") == [(500, 1750, 'he said "so"'), (2000, 2001, "ä")]
    assert document.get_parameters_for_tier("A - emotion")["ANNOTATOR"] == "rater 1"
    assert set(document.get_controlled_vocabulary_names()) == {"labels-emotion"}
    assert [entry[0][0][0] for entry in document.get_cv_entries("labels-emotion").values()] == ["anger", "sadness"]
    document.to_file(str(tmp_path / "two.eaf"))
    assert read_elan((tmp_path / "two.eaf").read_bytes(), "x") == BOTH


def test_points_and_annotations_that_hang_on_others_are_read(tmp_path: Path) -> None:
    document = Elan.Eaf()
    document.add_linguistic_type("hangs", constraints="Symbolic_Association", timealignable=False)
    document.add_tier("talk")
    document.add_tier("gloss", "hangs", parent="talk")
    document.add_annotation("talk", 100, 900, "yes")
    document.add_ref_annotation("gloss", "talk", 500, "agreement")
    document.to_file(str(tmp_path / "one.eaf"))
    found = {one.name: one.intervals for one in read_elan((tmp_path / "one.eaf").read_bytes(), "x")}
    assert found["gloss"] == (Interval(span=TimeSpan(start_ms=100, end_ms=900), text="agreement"),)
    grid = praat.Textgrid()
    grid.addTier(praat.IntervalTier("A", [(0.1, 0.9, "yes")], 0, 2))
    grid.addTier(praat.PointTier("clicks", [(0.5, "click")], 0, 2))
    grid.save(str(tmp_path / "one.TextGrid"), "long_textgrid", includeBlankSpaces=True)
    assert [one.name for one in read_textgrid((tmp_path / "one.TextGrid").read_bytes(), "x")] == ["A"]


ELAN = write_elan(BOTH).decode()
GRID = write_textgrid(BOTH).decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ELAN.replace('TIME_VALUE="2001"', 'TIME_VALUE="-1"'), "not a time"),
        (ELAN.replace('TIME_VALUE="2001"', 'TIME_VALUE="NaN"'), "not a time"),
        (ELAN.replace('TIME_VALUE="2001"', ""), "has no time of its own"),
        (ELAN.replace('TIME_VALUE="2001"', 'TIME_VALUE="1999"'), "does not end after its start"),
        (ELAN.replace('TIME_VALUE="1750"', 'TIME_VALUE="2001"'), "overlap"),
        (ELAN.replace('TIER_ID="A"', 'TIER_ID=""'), "name of the tier is empty"),
        (ELAN[: len(ELAN) // 2], "not valid XML"),
        ("<html/>", "not an ELAN document"),
        (
            '<ANNOTATION_DOCUMENT><TIER TIER_ID="a"><ANNOTATION>'
            '<REF_ANNOTATION ANNOTATION_ID="a1" ANNOTATION_REF="a2"/></ANNOTATION><ANNOTATION>'
            '<REF_ANNOTATION ANNOTATION_ID="a2" ANNOTATION_REF="a1"/></ANNOTATION></TIER></ANNOTATION_DOCUMENT>',
            "in a circle",
        ),
    ],
)
def test_a_broken_elan_document_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InvalidRecord, match=message):
        read_elan(text.encode(), "one.eaf")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GRID[: len(GRID) // 2], "breaks off"),
        (GRID.replace("xmax = 1.750", "xmax = nan"), "should stand here"),
        (GRID.replace("xmin = 0.500", "xmin = -5"), "not a time"),
        (GRID.replace("xmin = 2.000", "xmin = 1.000"), "overlap"),
        (GRID.replace("size = 2\nitem", "size = 1e9\nitem"), "not a count"),
        (GRID.replace('"IntervalTier"', '"OtherTier"'), "no kind of tier"),
        (GRID.replace('"TextGrid"', '"PitchTier"'), "not a TextGrid"),
    ],
)
def test_a_broken_textgrid_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InvalidRecord, match=message):
        read_textgrid(text.encode(), "one.TextGrid")


def test_a_tier_says_whose_talk_it_is_about() -> None:
    assert (TALK.kind, TALK.speaker) == (None, "A")
    assert (EMOTION.kind, EMOTION.speaker) == ("emotion", "A")
    assert make_tier("B - words", [], "x").speaker == "B"


def test_what_a_format_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidRecord, match="without text"):
        write_textgrid([make_tier("A", [(0, 5, "")], "x")])
    with pytest.raises(InvalidRecord, match="share a name"):
        write_elan([TALK, TALK])
    with pytest.raises(InvalidRecord, match="more than 100,000"):
        make_tier("A", [(0, 5, "x" * 100_001)], "x")
    with pytest.raises(ValidationError, match="overlap"):
        Tier(name="A", intervals=(TALK.intervals[1], TALK.intervals[0]))


def test_two_vocabularies_of_one_kind_stay_apart() -> None:
    other = make_tier("B - emotion", [], "x", ("joy",))
    assert read_elan(write_elan([EMOTION, other]), "x") == (EMOTION, other)
