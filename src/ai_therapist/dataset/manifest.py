"""What must lie in a dataset folder before it may be given away: whose permission it rests on, what was redacted.

consent-manifest.json    every session of the folder with its rights; no name, no evidence, no address
redaction-report.json    counts of what was replaced, and rows for a person to read; absent where nothing was redacted
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

from ai_therapist.errors import NotPermitted
from ai_therapist.privacy.redaction.report import ResidualRisk
from ai_therapist.records import Basis, Session, Subject, Use
from ai_therapist.records.base import Record
from ai_therapist.records.ids import RecordId
from ai_therapist.store.codec import decode

MANIFEST = "consent-manifest.json"
REPORT = "redaction-report.json"


class SessionRights(Record):
    """What the rights record of one session says that may be shown."""

    session: RecordId
    basis: Basis
    subject: Subject | None
    permitted_uses: frozenset[Use]
    recorded_on: date
    expires_on: date | None


class ConsentManifest(Record):
    """The rights of every session in the folder."""

    sessions: tuple[SessionRights, ...]

    def without(self, use: Use) -> tuple[str, ...]:
        """Ids of the sessions that do not permit `use`."""
        return tuple(rights.session for rights in self.sessions if use not in rights.permitted_uses)


class RedactionReport(Record):
    """What was replaced in the folder, and what a person should read. It holds no text."""

    rows: int
    rows_touched: int
    replaced: dict[str, int]
    sample: tuple[str, ...]


def manifest_of(sessions: Iterable[Session]) -> ConsentManifest:
    """The manifest of these sessions, in the order of their ids."""
    rights = [
        SessionRights(
            session=session.id,
            basis=session.consent.basis,
            subject=session.consent.subject,
            permitted_uses=session.consent.permitted_uses,
            recorded_on=session.consent.recorded_on,
            expires_on=session.consent.expires_on,
        )
        for session in sessions
    ]
    return ConsentManifest(sessions=tuple(sorted(rights, key=lambda each: each.session)))


def report_of(risk: ResidualRisk) -> RedactionReport:
    """The residual risk as a file."""
    return RedactionReport(
        rows=risk.rows, rows_touched=risk.rows_touched, replaced=dict(risk.replaced), sample=risk.sample
    )


def require_papers(folder: Path) -> tuple[ConsentManifest, RedactionReport]:
    """Both papers of a folder. Raises NotPermitted for one that is missing, InvalidRecord for one that is damaged."""
    for name, remedy in (
        (MANIFEST, "make the dataset again"),
        (REPORT, "make the dataset again with dataset.redact = true"),
    ):
        if not (folder / name).is_file():
            raise NotPermitted(f"{folder} has no {name} and must not be given away: {remedy}")
    manifest = decode(ConsentManifest, (folder / MANIFEST).read_bytes(), MANIFEST)
    return manifest, decode(RedactionReport, (folder / REPORT).read_bytes(), REPORT)
