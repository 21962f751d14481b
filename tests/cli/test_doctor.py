"""doctor names what the extras of pyproject.toml bring."""

import re
import tomllib
from pathlib import Path

from ai_therapist.cli.doctor import _PARTS

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_all_that_the_crisis_gate_s_encoders_need_is_looked_for() -> None:
    extra = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]["safety"]
    listed = {package for name, needed in _PARTS.values() if name == "safety" for package in needed}
    assert listed == {re.split(r"[<>=]", requirement)[0] for requirement in extra}
