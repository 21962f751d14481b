"""Settings of models: what they refuse and what tokens cost."""

import pytest
from pydantic import ValidationError

from ai_therapist.models.options import ModelOptions


def test_a_ceiling_without_prices_is_refused() -> None:
    with pytest.raises(ValidationError, match="usd_per_million_in"):
        ModelOptions(max_spend_usd=1.0, usd_per_million_in=1.0)


def test_tokens_cost_what_the_prices_say() -> None:
    options = ModelOptions(usd_per_million_in=0.5, usd_per_million_out=4.0)
    assert options.cost_usd(1_000_000, 500_000) == pytest.approx(2.5)
    assert ModelOptions().cost_usd(1_000_000, 1_000_000) == 0
