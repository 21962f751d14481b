"""Whether a consent record permits a use, said as a reason that can stand in a ledger or an error."""

from collections.abc import Iterable
from datetime import date

from ai_therapist.errors import NotPermitted
from ai_therapist.records import Consent, Use


def refusal(consent: Consent, use: Use, today: date | None = None) -> str | None:
    """Why `use` is not permitted on the day `today` (the present one where none is given), or None where it is."""
    day = today or date.today()
    if consent.revoked_on is not None:
        return f"its consent was revoked on {consent.revoked_on}, so {use.value!r} is not permitted: forget the session"
    if consent.expires_on is not None and day > consent.expires_on:
        return f"its consent expired on {consent.expires_on}, so {use.value!r} is not permitted any more"
    if not consent.allows(use):
        permitted = ", ".join(sorted(consent.permitted_uses))
        return f"its consent record does not permit {use.value!r} (it permits: {permitted})"
    return None


def first_refusal(consent: Consent, uses: Iterable[Use], today: date | None = None) -> str | None:
    """Why the first of `uses` that is not permitted is not, or None where all are."""
    return next((reason for use in uses if (reason := refusal(consent, use, today)) is not None), None)


def transcription_uses(*, leaves: bool) -> tuple[Use, ...]:
    """What a transcriber needs permission for: one that `leaves` sends the sound to another computer."""
    return (Use.TRANSCRIBE, *((Use.TRANSCRIBE_CLOUD,) if leaves else ()))


def annotation_uses(*, watches: bool, leaves: bool) -> tuple[Use, ...]:
    """What an annotator needs permission for: one that `watches` sees faces or hears voices, one that `leaves`
    sends what was said to another computer."""
    return (
        Use.ANNOTATE,
        *((Use.ANNOTATE_CLOUD,) if leaves else ()),
        *((Use.EMOTION_FROM_MEDIA,) if watches else ()),
    )


def require(name: str, consent: Consent, use: Use, today: date | None = None) -> None:
    """Raises NotPermitted that names the session `name` where its consent does not permit `use`."""
    reason = refusal(consent, use, today)
    if reason is not None:
        raise NotPermitted(f"{name}: {reason}")
