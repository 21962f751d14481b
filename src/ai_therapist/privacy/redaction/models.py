"""Named-entity models beside the rules, for who has them: found by name, loaded when first asked, never fetched.

presidio:MODEL   Presidio with an installed spaCy model, such as presidio:en_core_web_lg
gliner:FOLDER    a GLiNER model in a folder of this machine, weights in safetensors
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from ai_therapist.errors import ConfigError
from ai_therapist.privacy.redaction.finding import Finder, Finding, Kind

KINDS: Mapping[str, Kind] = {
    "PERSON": Kind.PERSON,
    "LOCATION": Kind.PLACE,
    "GPE": Kind.PLACE,
    "ORGANIZATION": Kind.NAME,
    "NRP": Kind.NAME,
    "EMAIL_ADDRESS": Kind.EMAIL,
    "PHONE_NUMBER": Kind.PHONE,
    "US_SSN": Kind.SSN,
    "CREDIT_CARD": Kind.CARD,
    "IBAN_CODE": Kind.IBAN,
    "IP_ADDRESS": Kind.IP,
    "URL": Kind.URL,
}
"""What Presidio calls a kind, and what it is here; other kinds of it are left out."""

LABELS: Mapping[str, Kind] = {
    "person": Kind.PERSON,
    "location": Kind.PLACE,
    "organization": Kind.NAME,
    "date of birth": Kind.DATE,
    "phone number": Kind.PHONE,
    "address": Kind.STREET,
}
"""What GLiNER is asked for, in its own words."""


class PresidioFinder:
    """Presidio's analyser over a spaCy model."""

    def __init__(self, model: str) -> None:
        """Raises ConfigError where Presidio or the spaCy model is not installed: Presidio would fetch the model."""
        self._engine: Any = _package("presidio_analyzer")
        if not _package("spacy").util.is_package(model):
            raise ConfigError(f"presidio:{model}: no spaCy model of this name is installed; nothing is fetched")
        self._model = model

    @cached_property
    def _analyser(self) -> Any:
        provider = import_module("presidio_analyzer.nlp_engine").NlpEngineProvider(
            nlp_configuration={
                "nlp_engine_name": "spacy",
                "models": [{"lang_code": "en", "model_name": self._model}],
            }
        )
        return self._engine.AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=["en"])

    def find(self, text: str) -> Sequence[Finding]:
        """What the analyser finds of the kinds that are known here."""
        return [
            Finding(found.start, found.end, KINDS[found.entity_type], "presidio")
            for found in self._analyser.analyze(text=text, language="en")
            if found.entity_type in KINDS
        ]


class GlinerFinder:
    """A GLiNER model."""

    def __init__(self, folder: str) -> None:
        """Raises ConfigError where GLiNER is not installed, or the folder holds no weights in safetensors."""
        self._package = _package("gliner")
        if not (Path(folder) / "model.safetensors").is_file():
            raise ConfigError(f"gliner:{folder}: no folder with model.safetensors; pickled weights are not opened")
        self._folder = folder

    @cached_property
    def _model(self) -> Any:
        return self._package.GLiNER.from_pretrained(self._folder, local_files_only=True)

    def find(self, text: str) -> Sequence[Finding]:
        """What the model finds."""
        found = self._model.predict_entities(text, list(LABELS))
        return [Finding(each["start"], each["end"], LABELS[each["label"]], "gliner") for each in found]


_MODELS: Mapping[str, Callable[[str], Finder]] = {"presidio": PresidioFinder, "gliner": GlinerFinder}


def finder_named(spec: str) -> Finder:
    """The finder that a setting names. Raises ConfigError."""
    kind, _, where = spec.partition(":")
    if kind not in _MODELS or not where:
        raise ConfigError(f"there is no name finder {spec!r}: write presidio:MODEL or gliner:FOLDER")
    return _MODELS[kind](where)


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        install = name.replace("_", "-")
        raise ConfigError(f"the name finder needs {error.name!r}: install it with  pip install {install}") from None
