"""ELAN's annotation documents (.eaf, format 3.0): a tier per speaker or kind, controlled vocabularies, times in ms.

Read with entities, DTDs and external references refused. Annotations that hang on another one take its time, and
several that hang on the same one are read as one, since they have no times of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

from ai_therapist.errors import InvalidRecord, MissingExtra
from ai_therapist.formats.text import checked_ms, clean, decode_text
from ai_therapist.formats.tiers import Tier, make_tier
from ai_therapist.records import TimeSpan

_Labels = tuple[str, ...] | None

_FREE = "free-text"
"""Linguistic type of tiers without a vocabulary."""

_UNDETERMINED = "http://cdb.iso.org/lg/CDB-00130975-001"
"""ELAN's name for "no language in particular", in which controlled vocabularies are written."""

_DATE = "1970-01-01T00:00:00+00:00"
"""ELAN demands a date; a fixed one keeps equal content equal in bytes."""

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"


def read_elan(data: bytes, where: str) -> tuple[Tier, ...]:
    """The tiers of an EAF document in its order.

    Raises InvalidRecord for what is no such document, refers to what is not there, or holds a DTD; MissingExtra
    without defusedxml.
    """
    root = _parse(data, where)
    slots = {
        slot.get("TIME_SLOT_ID", ""): checked_ms(_whole(slot.get("TIME_VALUE")), f"{where}, a time slot")
        for slot in root.iterfind("TIME_ORDER/TIME_SLOT")
        if slot.get("TIME_VALUE") is not None
    }
    spans = _Spans(root, slots, where)
    vocabulary_of = _vocabularies(root)
    tiers = []
    for element in root.iterfind("TIER"):
        name = element.get("TIER_ID", "")
        tiers.append(
            make_tier(
                name,
                _pieces(element, spans),
                f"{where}, tier {name!r}",
                vocabulary_of.get(element.get("LINGUISTIC_TYPE_REF", "")),
                clean(element.get("PARTICIPANT", "")),
                clean(element.get("ANNOTATOR", "")),
            )
        )
    return tuple(tiers)


def write_elan(tiers: Sequence[Tier], media: str | None = None) -> bytes:
    """Tiers as an EAF document; `media` is the path of the recording as ELAN shall look for it.

    Equal tiers give equal bytes. Raises InvalidRecord where two tiers share a name.
    """
    names = [tier.name for tier in tiers]
    if len(set(names)) != len(names):
        raise InvalidRecord("two tiers share a name, which ELAN forbids")
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": _DATE,
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if media is not None:
        kind = "audio/x-wav" if media.lower().endswith(".wav") else "video/mp4"
        ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=media, RELATIVE_MEDIA_URL=media, MIME_TYPE=kind)
    types = _types(tiers)
    _add_tiers(root, tiers, types)
    for vocabulary, name in types.items():
        kind_of_tier = ElementTree.SubElement(
            root, "LINGUISTIC_TYPE", GRAPHIC_REFERENCES="false", LINGUISTIC_TYPE_ID=name, TIME_ALIGNABLE="true"
        )
        if vocabulary is not None:
            kind_of_tier.set("CONTROLLED_VOCABULARY_REF", name)
    ElementTree.SubElement(root, "LANGUAGE", LANG_DEF=_UNDETERMINED, LANG_ID="und", LANG_LABEL="undetermined (und)")
    for vocabulary, name in types.items():
        if vocabulary is not None:
            _add_vocabulary(root, name, vocabulary)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, "unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _parse(data: bytes, where: str) -> ElementTree.Element:
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import fromstring
    except ImportError:
        raise MissingExtra("reading ELAN files", "defusedxml", "formats") from None
    text = decode_text(data, where)
    try:
        root: ElementTree.Element = fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        raise InvalidRecord(f"{where}: holds a DTD or entities, which no ELAN document needs") from None
    except ElementTree.ParseError as error:
        raise InvalidRecord(f"{where}, line {error.position[0]}: not valid XML") from None
    if root.tag != "ANNOTATION_DOCUMENT":
        raise InvalidRecord(f"{where}: not an ELAN document: its root is no ANNOTATION_DOCUMENT")
    return root


class _Spans:
    """The time of every annotation: its own, or that of the one it hangs on."""

    def __init__(self, root: ElementTree.Element, slots: Mapping[str, int], where: str) -> None:
        self.where = where
        self._slots = slots
        self._elements = {element.get("ANNOTATION_ID", ""): element for element in root.iterfind("TIER/ANNOTATION/*")}

    def of(self, element: ElementTree.Element) -> tuple[int, int]:
        """Start and end in milliseconds. Raises InvalidRecord where there are none."""
        for _ in range(len(self._elements) + 1):
            here = f"{self.where}, annotation {element.get('ANNOTATION_ID')!r}"
            if element.tag == "ALIGNABLE_ANNOTATION":
                ends = [self._slots.get(element.get(name, "")) for name in ("TIME_SLOT_REF1", "TIME_SLOT_REF2")]
                if ends[0] is None or ends[1] is None:
                    raise InvalidRecord(f"{here} has no time of its own: align it in ELAN")
                return ends[0], ends[1]
            parent = self._elements.get(element.get("ANNOTATION_REF", ""))
            if parent is None:
                raise InvalidRecord(f"{here} hangs on an annotation that is not there")
            element = parent
        raise InvalidRecord(f"{self.where}: annotations hang on each other in a circle")


def _pieces(tier: ElementTree.Element, spans: _Spans) -> Iterator[tuple[int, int, str]]:
    found: dict[tuple[int, int], list[str]] = {}
    for element in tier.iterfind("ANNOTATION/*"):
        span = spans.of(element)
        found.setdefault(span, []).append(element.findtext("ANNOTATION_VALUE") or "")
    for (start_ms, end_ms), texts in found.items():
        yield start_ms, end_ms, " ".join(texts)


def _vocabularies(root: ElementTree.Element) -> dict[str, tuple[str, ...]]:
    """Labels of each linguistic type that has a controlled vocabulary."""
    labels = {
        vocabulary.get("CV_ID", ""): tuple(
            # Documents before 2.8 have CV_ENTRY with the label as its text.
            (entry.findtext("CVE_VALUE") or entry.text or "").strip()
            for entry in vocabulary
            if entry.tag in {"CV_ENTRY_ML", "CV_ENTRY"}
        )
        for vocabulary in root.iterfind("CONTROLLED_VOCABULARY")
    }
    return {
        kind.get("LINGUISTIC_TYPE_ID", ""): labels[reference]
        for kind in root.iterfind("LINGUISTIC_TYPE")
        if (reference := kind.get("CONTROLLED_VOCABULARY_REF")) in labels
    }


def _add_tiers(root: ElementTree.Element, tiers: Sequence[Tier], types: Mapping[_Labels, str]) -> None:
    order = ElementTree.SubElement(root, "TIME_ORDER")
    times = sorted({time for tier in tiers for one in tier.intervals for time in (one.span.start_ms, one.span.end_ms)})
    slots = {time_ms: f"ts{number}" for number, time_ms in enumerate(times, start=1)}
    for time_ms, slot in slots.items():
        ElementTree.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(time_ms))
    number = 0
    for tier in tiers:
        attributes = {"LINGUISTIC_TYPE_REF": types[tier.vocabulary], "TIER_ID": tier.name}
        attributes |= {"PARTICIPANT": tier.participant} if tier.participant else {}
        attributes |= {"ANNOTATOR": tier.annotator} if tier.annotator else {}
        element = ElementTree.SubElement(root, "TIER", attributes)
        for interval in tier.intervals:
            number += 1
            holder = ElementTree.SubElement(element, "ANNOTATION")
            aligned = ElementTree.SubElement(holder, "ALIGNABLE_ANNOTATION", _aligned(interval.span, slots, number))
            ElementTree.SubElement(aligned, "ANNOTATION_VALUE").text = interval.text


def _aligned(span: TimeSpan, slots: Mapping[int, str], number: int) -> dict[str, str]:
    return {
        "ANNOTATION_ID": f"a{number}",
        "TIME_SLOT_REF1": slots[span.start_ms],
        "TIME_SLOT_REF2": slots[span.end_ms],
    }


def _add_vocabulary(root: ElementTree.Element, name: str, labels: Sequence[str]) -> None:
    vocabulary = ElementTree.SubElement(root, "CONTROLLED_VOCABULARY", CV_ID=name)
    ElementTree.SubElement(vocabulary, "DESCRIPTION", LANG_REF="und")
    for number, label in enumerate(labels):
        entry = ElementTree.SubElement(vocabulary, "CV_ENTRY_ML", CVE_ID=f"{name}-{number}")
        ElementTree.SubElement(entry, "CVE_VALUE", DESCRIPTION="", LANG_REF="und").text = label


def _types(tiers: Sequence[Tier]) -> dict[_Labels, str]:
    """Name of the linguistic type for each vocabulary: tiers with the same labels share one."""
    types: dict[_Labels, str] = {None: _FREE}
    for tier in tiers:
        name = f"labels-{tier.kind or tier.name}"
        while tier.vocabulary not in types and name in types.values():
            name += "+"
        types.setdefault(tier.vocabulary, name)
    return types


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
