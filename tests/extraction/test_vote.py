"""A model is asked who the therapist is: what it sees, what counts as an answer, and when it is not asked."""

from pathlib import Path

import pytest

from ai_therapist.errors import ConfigError, RequestError
from ai_therapist.extraction import vote
from ai_therapist.extraction.config import ResolvedRoles, RolesConfig
from ai_therapist.extraction.roles import Vote
from ai_therapist.models import catalogue
from ai_therapist.records import Use
from ai_therapist.store.codec import canonical_json
from ai_therapist.testing import make_consent, make_session, make_transcript

TALK = make_transcript(make_session())


def scripted(folder: Path, answer: str) -> RolesConfig:
    path = folder / "answers.json"
    path.write_bytes(canonical_json({"replies": [answer], "repeat": True}))
    return vote.resolve(RolesConfig(model=f"scripted:{path}"))


@pytest.mark.parametrize(
    ("answer", "label"),
    [("A", "A"), (" b.\n", "B"), ("Speaker B", "B"), ("unclear", None), ("A or B", None), ("", None)],
)
def test_only_a_label_is_a_vote(tmp_path: Path, answer: str, label: str | None) -> None:
    found = vote.ask(TALK, make_consent(), scripted(tmp_path, answer))
    assert (found.therapist if found is not None else None) == label


def test_the_model_enters_the_settings_by_its_revision_not_by_its_path(tmp_path: Path) -> None:
    config = scripted(tmp_path, "A")
    assert isinstance(config, ResolvedRoles)
    assert str(tmp_path) not in str(config.model_dump())
    found = vote.ask(TALK, make_consent(), config)
    assert found == Vote("A", config.revision)


def test_without_a_model_or_with_one_voice_nobody_is_asked(tmp_path: Path) -> None:
    assert vote.resolve(RolesConfig()) == RolesConfig()
    assert vote.ask(TALK, make_consent(), RolesConfig()) is None
    alone = make_transcript(make_session(), turns=1)
    assert vote.ask(alone, make_consent(), scripted(tmp_path, "A")) is None


def test_words_go_to_another_computer_only_with_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = scripted(tmp_path, "A")
    kind = catalogue.KINDS["scripted"]
    away = catalogue.Kind(kind.where, kind.summary, kind.open, sends_away=lambda: True)
    monkeypatch.setitem(catalogue.KINDS, "scripted", away)
    assert vote.ask(TALK, make_consent(Use.TRANSCRIBE), config) is None
    assert vote.ask(TALK, make_consent(Use.TRANSCRIBE, Use.ANNOTATE_CLOUD), config) is not None


def test_a_model_that_cannot_answer_is_refused_before_any_work() -> None:
    with pytest.raises(RequestError, match="cannot say who the therapist is"):
        vote.resolve(RolesConfig(model="embedded"))
    with pytest.raises(ConfigError, match="there is no model"):
        vote.resolve(RolesConfig(model="nothing"))


def test_a_long_talk_is_cut_to_its_beginning_and_its_middle() -> None:
    long = make_transcript(make_session(), turns=600)
    excerpt = vote._excerpt(long.utterances)
    assert len(excerpt) < 8000
    assert excerpt.startswith(f"A: {long.utterances[0].text}")
    assert long.utterances[300].text in excerpt
