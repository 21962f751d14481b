"""One recording, what may be done with it, and who speaks in it."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest, RecordId, content_id


class Role(StrEnum):
    """What a speaker is in the session. UNKNOWN is an answer: nothing is guessed from a label."""

    THERAPIST = "therapist"
    CLIENT = "client"
    OTHER = "other"
    UNKNOWN = "unknown"


class VideoStream(Record):
    """Picture stream of a recording."""

    width_px: Annotated[int, Field(gt=0)]
    height_px: Annotated[int, Field(gt=0)]
    fps: Annotated[str, Field(pattern=r"^[1-9]\d*/[1-9]\d*$")]
    """Average frame rate as an exact fraction, such as "30000/1001"."""
    codec: str

    @property
    def rate(self) -> Fraction:
        """Frames per second as an exact number."""
        return Fraction(self.fps)


class AudioStream(Record):
    """Sound stream of a recording."""

    rate_hz: Annotated[int, Field(gt=0)]
    channels: Annotated[int, Field(gt=0)]


class Media(Record):
    """A media file by content: where it lies relative to its root, its sha256 and its streams."""

    path: Annotated[str, Field(min_length=1)]
    sha256: Digest
    duration_ms: Annotated[int, Field(gt=0)]
    video: VideoStream | None
    audio: AudioStream | None

    @model_validator(mode="after")
    def _has_a_stream(self) -> Self:
        if self.video is None and self.audio is None:
            raise ValueError("a recording needs at least one stream")
        return self


class Basis(StrEnum):
    """On what ground a recording may be used at all."""

    OWN_SIGNED_CONSENT = "own_recording_signed_consent"
    LICENCE_CC_BY = "licence_cc_by"
    LICENCE_CC0 = "licence_cc0"
    WRITTEN_PERMISSION = "written_permission"
    FICTIONAL_ROLE_PLAY = "fictional_role_play"


class Use(StrEnum):
    """What may be done with a recording; every use needs its own permission."""

    TRANSCRIBE = "transcribe"
    TRANSCRIBE_CLOUD = "transcribe_cloud"
    """Sending the sound to a transcriber on somebody else's computer: a transfer of personal data, voices included."""
    ANNOTATE = "annotate"
    ANNOTATE_CLOUD = "annotate_cloud"
    """Sending what was said to an annotator on somebody else's computer: a transfer of personal data."""
    EMOTION_FROM_MEDIA = "emotion_from_media"
    """Inferring emotion from face or voice, which the law treats apart from inferring it from words."""
    TRAIN = "train"
    PUBLISH = "publish"


class Subject(StrEnum):
    """Who speaks as the client."""

    ROLE_PLAY = "role_play"
    REAL_CLIENT = "real_client"


_PERSONAL_BASES = frozenset({Basis.OWN_SIGNED_CONSENT, Basis.WRITTEN_PERMISSION})
"""Grounds that a person gave for this recording; a licence on the open web is none."""


class Consent(Record):
    """The rights record of a session. One that leaves a question open, or is refused in law, cannot be made."""

    basis: Basis
    permitted_uses: frozenset[Use]
    evidence: Annotated[str, Field(min_length=1)]
    """Where the permission can be checked: a document, a licence page, a statement."""
    recorded_on: date
    expires_on: date | None = None
    """Last day on which the permission holds; None where it has no end."""
    revocation_contact: Annotated[str, Field(min_length=1)] | None = None
    """Where the people recorded can take the permission back; a real client always needs one."""
    revoked_on: date | None = None
    """The day the permission was taken back; nothing may be done from then on."""
    subject: Subject | None = None
    """Only a fictional role-play, in which nobody real speaks, may leave it open."""
    adults_only: bool | None = None
    """Whether everyone recorded was of age; only a fictional role-play may leave it open."""

    @field_validator("permitted_uses")
    @classmethod
    def _allows_something(cls, uses: frozenset[Use]) -> frozenset[Use]:
        if not uses:
            raise ValueError("permitted_uses is empty")
        return uses

    @field_validator("evidence", "revocation_contact")
    @classmethod
    def _says_something(cls, text: str | None) -> str | None:
        if text is not None and not text.strip():
            raise ValueError("it is blank")
        return text

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.basis is not Basis.FICTIONAL_ROLE_PLAY and None in (self.subject, self.adults_only):
            raise ValueError("subject and adults_only must be said for this basis")
        if self.adults_only is False:
            raise ValueError("recordings of minors are not accepted")
        if self.expires_on is not None and self.expires_on < self.recorded_on:
            raise ValueError("expires_on lies before recorded_on")
        if self.subject is Subject.REAL_CLIENT:
            if self.basis not in _PERSONAL_BASES:
                raise ValueError("a real client needs a signed consent or a written permission, not a public licence")
            if self.revocation_contact is None:
                raise ValueError("a real client needs a revocation_contact")
        return self

    def allows(self, use: Use) -> bool:
        """Whether `use` is among the permitted ones, whatever the day."""
        return use in self.permitted_uses


class SourceRecord(Record):
    """A recording as it entered: readable name, group and consent, before anything was measured."""

    name: Annotated[str, Field(min_length=1)]
    """Readable name, unique in its source: the file's stem."""
    sha256: Digest
    group: Annotated[str, Field(min_length=1)]
    """Who must not be split apart: the client, the pair or the channel."""
    consent: Consent

    @property
    def session_id(self) -> str:
        """Id of the session that this recording becomes."""
        return content_id("ses", self.sha256)


class Speaker(Record):
    """One voice of a session: the label of the diarisation and the role that evidence gave it."""

    label: Annotated[str, Field(min_length=1)]
    role: Role
    decided_by: Annotated[str, Field(min_length=1)]
    """The rule, model or person that decided the role."""
    confidence: Annotated[float, Field(ge=0, le=1)] | None


class Session(Record):
    """A recording with its rights and its speakers."""

    id: RecordId
    name: str
    media: Media
    consent: Consent
    group: str
    speakers: tuple[Speaker, ...]

    @field_validator("speakers")
    @classmethod
    def _labels_differ(cls, speakers: tuple[Speaker, ...]) -> tuple[Speaker, ...]:
        if len({speaker.label for speaker in speakers}) != len(speakers):
            raise ValueError("two speakers share a label")
        return speakers

    def role_of(self, label: str) -> Role:
        """Role of the speaker with this label; UNKNOWN for a label that the session does not list."""
        return next((speaker.role for speaker in self.speakers if speaker.label == label), Role.UNKNOWN)
