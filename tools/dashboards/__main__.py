"""Write what the wheel carries: the dashboards' JSON, and the runbooks that docs/ has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from tools.dashboards.pages import PAGES

ROOT = Path(__file__).parents[2]
FILES = ROOT / "src" / "promptguard" / "monitoring" / "files"
RUNBOOKS = ROOT / "docs" / "runbooks"


def made() -> dict[str, str]:
    """Return file name → what it holds."""
    return {
        f"promptguard-{name}.json": f"{json.dumps(_plain(page().build()), indent=1)}\n"
        for name, page in PAGES.items()
    }


def _plain(page: Dashboard) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(page), object_hook=_shown)
    return found


def _shown(value: dict[str, Any]) -> dict[str, Any]:
    """Leave out where links are: the builder's default hides them in a menu."""
    return {name: part for name, part in value.items() if (name, part) != ("placement", "inControlsMenu")}


def main() -> None:
    """Write all of them."""
    for name, text in made().items():
        (FILES / "grafana" / name).write_text(text, "utf-8")
    for path in RUNBOOKS.glob("*.md"):
        shutil.copyfile(path, FILES / "runbooks" / path.name)


if __name__ == "__main__":
    main()
