"""The form in which every benchmark ends: figures, the bar, and whether it holds."""

import json
import os
import platform
from typing import NoReturn


def finish(name: str, figures: dict[str, object], bar: str, *, holds: bool) -> NoReturn:
    """Print the result as one JSON object on the last line and exit with 0 where the bar holds, else 1."""
    conditions = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    print(json.dumps({"name": name, **figures, "conditions": conditions, "bar": bar, "holds": holds}))
    raise SystemExit(0 if holds else 1)
