"""Named-entity models join the rules.

Neither Presidio nor GLiNER is installed for the tests: packages of their names with the calls that are used stand in
for them. That shows how their answers are taken in, not that the real ones find anything.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_therapist.errors import ConfigError
from ai_therapist.privacy.redaction.finding import Kind
from ai_therapist.privacy.redaction.models import finder_named
from ai_therapist.privacy.redaction.redactor import SessionRedactor

SPACY = "class util:\n    @staticmethod\n    def is_package(name): return name == 'here'\n"
PRESIDIO = """
class Result:
    def __init__(self, kind, start, end): self.entity_type, self.start, self.end = kind, start, end
class AnalyzerEngine:
    def __init__(self, nlp_engine, supported_languages): assert nlp_engine == 'here' and supported_languages == ['en']
    def analyze(self, text, language):
        at = text.find('quen')
        return [Result('PERSON', at, at + 4), Result('MEDICAL_LICENSE', 0, 1)] if at >= 0 else []
"""
ENGINE = """
class NlpEngineProvider:
    def __init__(self, nlp_configuration): self.name = nlp_configuration['models'][0]['model_name']
    def create_engine(self): return self.name
"""
GLINER = """
class GLiNER:
    @classmethod
    def from_pretrained(cls, folder, local_files_only):
        assert local_files_only
        return cls()
    def predict_entities(self, text, labels):
        at = text.find('ostrava')
        return [{'start': at, 'end': at + 7, 'label': labels[1], 'text': 'ostrava'}] if at >= 0 else []
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, code in {
        "spacy.py": SPACY,
        "presidio_analyzer/__init__.py": PRESIDIO,
        "presidio_analyzer/nlp_engine.py": ENGINE,
        "gliner.py": GLINER,
    }.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").touch()
    names = ("spacy", "presidio_analyzer", "presidio_analyzer.nlp_engine", "gliner")
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    yield tmp_path
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)


def test_what_a_model_finds_is_hidden_throughout_the_session(packages: Path) -> None:
    finders = [finder_named("presidio:here"), finder_named(f"gliner:{packages / 'weights'}")]
    redactor = SessionRedactor(["quen came late", "we went to ostrava with quen"], finders)
    assert redactor.redact("quen came late").text == "[PERSON_1] came late"
    second = redactor.redact("we went to ostrava with quen")
    assert second.text == "we went to [PLACE_1] with [PERSON_1]"
    assert second.counts == {Kind.PLACE: 1, Kind.PERSON: 1}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("presidio:absent", "nothing is fetched"),
        ("gliner:nowhere", "pickled weights are not opened"),
        ("presidio", "presidio:MODEL or gliner:FOLDER"),
        ("gliner:", "presidio:MODEL or gliner:FOLDER"),
        ("flair:x", "there is no name finder"),
    ],
)
def test_what_is_not_there_is_said_and_not_fetched(packages: Path, spec: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        finder_named(spec)


@pytest.mark.parametrize("spec", ["presidio:en_core_web_sm", "gliner:folder"])
def test_a_package_that_is_missing_is_named(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("presidio_analyzer", "gliner"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="pip install"):
        finder_named(spec)
