"""Whether a consent record permits a use, said as a reason that can stand in a ledger or an error."""

from ai_therapist.errors import NotPermitted
from ai_therapist.records import Consent, Use


def refusal(consent: Consent, use: Use) -> str | None:
    """Why `use` is not permitted, or None where it is."""
    if consent.allows(use):
        return None
    permitted = ", ".join(sorted(consent.permitted_uses))
    return f"its consent record does not permit {use.value!r} (it permits: {permitted})"


def require(name: str, consent: Consent, use: Use) -> None:
    """Raises NotPermitted that names the session `name` where its consent does not permit `use`."""
    reason = refusal(consent, use)
    if reason is not None:
        raise NotPermitted(f"{name}: {reason}")
