"""The form in which every benchmark ends: figures, the bar, and whether it holds."""

import json
import os
import platform
from typing import NoReturn


def finish(name: str, figures: dict[str, object], bar: str, *, holds: bool | None) -> NoReturn:
    """Print the result as one JSON object on the last line; exit with 1 where the bar does not hold, else with 0.

    `holds` is None where nothing was measured, which is neither.
    """
    conditions = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    print(json.dumps({"name": name, **figures, "conditions": conditions, "bar": bar, "holds": holds}))
    raise SystemExit(1 if holds is False else 0)
