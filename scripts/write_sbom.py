"""Write docs/sbom.json, a CycloneDX 1.5 list of every pinned distribution: python scripts/write_sbom.py [--print]."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)")


def bill_of_materials(constraints: str) -> dict[str, object]:
    """The pins of a constraints file as a CycloneDX document; it holds no time, so equal pins give equal bytes."""
    pins = sorted(match.groups() for line in constraints.splitlines() if (match := PIN.match(line)))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "ai-therapist"}},
        "components": [
            {
                "type": "library",
                "name": name.lower(),
                "version": version,
                "purl": f"pkg:pypi/{re.sub('[._]', '-', name.lower())}@{version}",
            }
            for name, version in pins
        ],
    }


if __name__ == "__main__":
    text = json.dumps(bill_of_materials((ROOT / "constraints.txt").read_text("utf-8")), indent=1) + "\n"
    if "--print" in sys.argv:
        sys.stdout.write(text)
    else:
        (ROOT / "docs" / "sbom.json").write_text(text, "utf-8")
