"""croissant.json: the dataset folder described for programs, as Croissant 1.1 with its extension for responsible AI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ai_therapist.dataset.contents import Contents, Filled, agreed, answered
from ai_therapist.dataset.tables import Feature
from ai_therapist.records import load_codebook
from ai_therapist.store.blobs import hash_file
from ai_therapist.store.codec import canonical_json

CROISSANT = "croissant.json"

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification gives; tools compare it."""

_TYPES = {"string": "sc:Text", "int64": "sc:Integer", "int32": "sc:Integer", "float64": "sc:Float"}


def render_croissant(contents: Contents) -> bytes:
    """The description: files with their sha256, a record set for every table and split, and the RAI fields."""
    distribution, record_sets = [], []
    for filled in contents.tables:
        for split, path in filled.files.items():
            name = f"{filled.table.name}-{split.value}"
            distribution.append(
                {
                    "@type": "cr:FileObject",
                    "@id": f"{name}-file",
                    "name": f"{name}-file",
                    "contentUrl": path.relative_to(contents.folder).as_posix(),
                    "encodingFormat": "application/x-parquet",
                    "sha256": hash_file(path),
                }
            )
            record_sets.append(_record_set(filled, name))
    return canonical_json(
        {
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": [
                "http://mlcommons.org/croissant/1.1",
                "http://mlcommons.org/croissant/RAI/1.0",
            ],
            "name": "counselling-dialogue",
            "description": "Counselling dialogue with emotions and therapeutic strategies: replies to predict, turns "
            "with labels, sessions with rights, every vote. Research data, not a medical device.",
            "license": "The rights records of the sessions decide: see consent-manifest.json",
            "keywords": ["counselling", "dialogue", "emotion recognition", "therapeutic strategy"],
            "inLanguage": "en",
            "version": "1.0.0",
            "isLiveDataset": False,
            "distribution": distribution,
            "recordSet": record_sets,
            **_responsible(contents),
        }
    )


def _record_set(filled: Filled, name: str) -> dict[str, Any]:
    fields = [
        _field(f"{name}/{column}", column, kind, f"{name}-file") for column, kind in filled.table.features.items()
    ]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": filled.table.about, "field": fields}


def _field(path: str, column: str, kind: Feature, file: str) -> dict[str, Any]:
    """A column; what is nested in it is described as its content, since a path into a parquet struct has no form."""
    repeated = not isinstance(kind, str | Mapping)
    inner = kind[0] if not isinstance(kind, str | Mapping) else kind
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": path,
        "name": path,
        "dataType": _TYPES[inner] if isinstance(inner, str) else "sc:Text",
        "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
    }
    if isinstance(inner, Mapping):
        field["description"] = f"{'A list of objects' if repeated else 'An object'} with {', '.join(inner)}"
    if repeated:
        field |= {"isArray": True, "arrayShape": "-1"}
    return field


def _responsible(contents: Contents) -> dict[str, Any]:
    """The fields of the RAI extension, from the figures of this very folder."""
    lineage = contents.lineage
    people = sorted({each.annotator for each in answered(contents) if each.annotator.startswith("person:")})
    models = sorted({each.annotator for each in answered(contents)} - set(people))
    return {
        "rai:dataCollection": "Recorded counselling conversations that entered with a rights record each; words by "
        + ", ".join(lineage.transcribers),
        "rai:dataCollectionType": ["Observations", "Others"],
        "rai:dataCollectionMissingData": "Where annotators abstained or differ there is no label; no label is made up.",
        "rai:dataPreprocessingProtocol": list(_preprocessing(contents)),
        "rai:dataAnnotationProtocol": [
            f"Codebook {load_codebook().version}: 7 emotions and 10 strategies with definitions.",
            lineage.rule,
        ],
        "rai:dataAnnotationAnalysis": [
            *(
                f"{each.task}: {each.annotator} abstained on {each.abstained} of {each.asked} questions"
                for each in answered(contents)
            ),
            *(
                f"{task}, {side}: {same} of {several} questions that several labelled have one label"
                for (task, side), (several, same) in agreed(contents).items()
            ),
        ],
        "rai:annotatorDemographics": [
            f"{len(people)} people, known by pseudonym only" if people else "no people: models only"
        ],
        "rai:machineAnnotationTools": models,
        "rai:dataBiases": [
            "Emotion labels depend on culture, language and codebook; models repeat what they learned on.",
            "Recordings are those that somebody permitted, which is no sample of any population.",
        ],
        "rai:dataLimitations": ["Labels are no clinical judgement. Words hold the recogniser's errors."],
        "rai:dataUseCases": ["Offline research on emotion and strategy in dialogue, people in charge of conclusions."],
        "rai:dataSocialImpact": "Misuse could watch or sort people by emotion; the card prohibits it.",
        "rai:personalSensitiveInformation": [
            "Talk about mental health: sensitive even where nobody is named.",
            "Names, places and numbers were replaced by rules that miss some; see redaction-report.json."
            if lineage.redaction is not None
            else "The words are as they were said and may name people.",
        ],
        "rai:dataReleaseMaintenancePlan": "A session whose consent is withdrawn is removed and the dataset made anew.",
    }


def _preprocessing(contents: Contents) -> Iterator[str]:
    yield "Adjacent utterances of one speaker joined to turns; roles decided from content; times in milliseconds."
    yield "Split by a hash of client or channel; near-duplicates of held-out rows left out of training."
    if contents.lineage.redaction is not None:
        yield "Identifiers replaced by stand-ins, consistent within a session."
