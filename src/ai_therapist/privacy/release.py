"""What stands between a dataset and its release to other people."""

from collections.abc import Mapping

from ai_therapist.errors import NotPermitted
from ai_therapist.privacy.consent import refusal
from ai_therapist.records import Consent, Use


def withheld(consents: Mapping[str, Consent]) -> tuple[str, ...]:
    """Names of the sessions that may be trained on here but not given away, sorted."""
    return tuple(sorted(name for name, consent in consents.items() if refusal(consent, Use.PUBLISH) is not None))


def require_release(consents: Mapping[str, Consent]) -> None:
    """Raises NotPermitted unless every session may be published; a dataset is released whole or not at all."""
    names = withheld(consents)
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        ways = ["ask them, change the consent records and run  ai-therapist extract, annotate and dataset  again"]
        if len(names) < len(consents):
            ways.append("leave them out with  ai-therapist dataset --set dataset.permitted_for=publish")
        raise NotPermitted(
            f"{len(names)} of {len(consents)} sessions do not permit 'publish': {shown}: {', or '.join(ways)}; "
            "a model must then be tuned and evaluated again"
        )
