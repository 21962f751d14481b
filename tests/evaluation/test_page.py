"""The page: one file without requests or words that were said, whatever is missing."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ai_therapist.evaluation.audit import Leak, LeakAudit
from ai_therapist.evaluation.evidence import CurvePoint, Evidence, Training
from ai_therapist.evaluation.page import render_page, show_figure, show_percent, show_score
from ai_therapist.evaluation.report import build_report
from ai_therapist.records import Scored, Split, Unscored
from tests.evaluation.test_report import FEW, evidence
from tests.evaluation.test_worst import sure_of, with_predictions

_VOID = {"meta", "link", "br"}


class Outline(HTMLParser):
    """Collects tags, attributes and ids, and fails on a tag that is not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def page_of(found: Evidence) -> str:
    return render_page(build_report(found, FEW), found)


@pytest.fixture(scope="module")
def whole() -> str:
    training = Training(loss_first=4.0, loss_last=1.0, seconds=9.5, steps=80, parameters=1_200_000)
    curve = tuple(CurvePoint(step=step, loss=4 / step) for step in range(1, 9))
    return page_of(Evidence(**{**vars(evidence(training=training)), "curve": curve}))


def test_tags_are_balanced_and_references_resolve(whole: str) -> None:
    outline = Outline(whole)
    ids = {value for _, name, value in outline.attributes if name == "id"}
    assert {value for _, name, value in outline.attributes if name == "aria-labelledby"} <= ids
    assert outline.tags.count("h1") == 1


def test_nothing_is_asked_of_the_network(whole: str) -> None:
    outline = Outline(whole)
    links = [value for _, name, value in outline.attributes if name in {"src", "href", "action", "data"}]
    assert links == ["data:,"]
    assert "script" not in outline.tags
    assert "default-src 'none'" in whole
    assert not re.search(r"url\(|@import|https?://", whole)


def test_no_word_that_was_said_and_no_path_stands_in_it(whole: str) -> None:
    for each in evidence().sessions:
        for turn in each.turns.utterances:
            assert turn.text not in whole
    assert "/srv" not in whole
    assert "truncated.mp4: breaks off" in whole


def test_it_says_what_its_figures_are_worth(whole: str) -> None:
    assert "toy model of 1,200,000 parameters" in whole
    assert "not how good it can be" in whole
    assert "Intervals over 2 held-out sessions only hint" in whole
    assert "People: nobody was asked." in whole


def test_an_empty_held_out_split_is_explained_once() -> None:
    nothing = replace(
        evidence(),
        examples=tuple(one for one in evidence().examples if one.split is not Split.TEST),
        predictions={},
        replies={},
    )
    page = render_page(build_report(nothing, FEW), nothing)
    assert page.count("three splits need at least three groups") == 1


def test_dark_mode_and_phones_are_thought_of(whole: str) -> None:
    assert "prefers-color-scheme: dark" in whole
    assert 'name="viewport"' in whole


def test_tables_have_headers_with_a_scope(whole: str) -> None:
    outline = Outline(whole)
    headers = outline.tags.count("th")
    assert headers > 20
    assert sum(tag == "th" and name == "scope" for tag, name, _ in outline.attributes) == headers


def test_what_is_missing_is_said() -> None:
    page = page_of(evidence(measured=False))
    assert "not measured: no gold transcript was given" in page
    assert "Not run: no model was tuned in this workspace." in page
    Outline(page)


def test_a_page_of_nothing_is_still_a_page() -> None:
    page = page_of(Evidence((), (), (), {}, {}, LeakAudit(checked=0, leaks=()), None, (), {}, ()))
    Outline(page)
    assert "not run" in page


def test_a_turn_leads_to_its_clip_beside_the_page() -> None:
    found = evidence()
    first = found.sessions[0]
    turn = first.turns.utterances[0]
    link = "view/sessions/a%20b/clips/clip_001_client.mp4"
    linked = replace(first, clips={turn.id: link})
    page = page_of(replace(found, sessions=(linked, *found.sessions[1:])))
    outline = Outline(page)
    assert ("a", "href", link) in outline.attributes
    assert "1 clips at hand" not in page
    assert "1 clip at hand" in page
    assert not {"video", "audio", "source", "img"} & set(outline.tags)


def test_the_surest_errors_are_named_by_id_and_quoted_only_when_asked() -> None:
    found = with_predictions(tuned=sure_of("tuned", 0.9))
    words = next(each.client.text for each in found.examples if each.id == found.predictions["tuned"][0].example)
    report = build_report(found, FEW)
    page, quoting = render_page(report, found), render_page(report, found, quote=True)
    assert found.predictions["tuned"][0].example in page
    assert words not in page
    assert "No sentence that a person said stands here." in page
    assert words in quoting
    assert "No sentence that a person said stands here." not in quoting


def test_near_duplicates_that_are_tolerated_are_listed() -> None:
    few = Leak(kind="near-duplicates across splits", count=1, named=("exa_000000000001",))
    page = page_of(replace(evidence(), audit=LeakAudit(checked=400, leaks=(), tolerated=(few,))))
    assert "Tolerated, since so few move no figure: near-duplicates across splits: 1 (exa_000000000001)" in page


def test_names_are_escaped() -> None:
    found = evidence()
    first = found.sessions[0]
    session = first.session.model_copy(update={"name": "<script>alert(1)</script>"})
    named = type(first)(session, first.turns, first.annotations, first.gold, first.quality)
    page = page_of(Evidence(**{**vars(found), "sessions": (named, *found.sessions[1:])}))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_figures_are_written_the_same_everywhere() -> None:
    assert show_score(Scored(value=0.5, low=0.25, high=0.75, n=3)) == "0.50 (0.25 to 0.75)"
    assert show_score(Scored(value=0.5, n=3)) == "0.50"
    assert show_score(Unscored(reason="nothing")) == "not scored: nothing"
    assert (show_percent(0.123), show_percent(1.0), show_percent(None)) == ("12.3 %", "100 %", "not measured")
    assert (show_figure(0.5), show_figure(None)) == ("0.50", "–")
