"""The matrix: every SDK beside every instrumentation, each in a process and an environment of its own.

python -m benchmarks.telemetry --plain VENV --genai VENV --plain-previous VENV --genai-previous VENV [--json FILE]

`plain` environments have no util-genai, `genai` ones have it and what is built on it; `previous` ones have openai 2 and the
major of google-genai before. Writes the second half of docs/reference/telemetry.md. Exit code 1 where a cell is wrong.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.telemetry import table

GENAI = ("util-genai", "official")
COLUMNS = (
    ("openai 3", "openai", ""),
    ("openai 2", "openai", "previous"),
    ("anthropic 2", "anthropic", ""),
    ("google-genai 3", "google-genai", ""),
    ("google-genai 2", "google-genai", "previous"),
)
ROWS = ("nothing", "util-genai", "official", "traceloop", "openinference", "logfire", "langfuse", "langsmith")
SECONDS = 300


def run(python: Path, beside: str, sdk: str, how: str) -> dict[str, Any]:
    """Run one cell; what goes wrong in its process is told as its result."""
    command = [python, "-m", "benchmarks.telemetry.cell", beside, sdk, how]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"not there": f"takes longer than {SECONDS} seconds"}
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"not there": f"ends with {last[:150]}"}
    return found


def main() -> int:
    """Run what has an environment; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("plain", "genai", "plain-previous", "genai-previous"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument(
        "--json", type=Path, help="keep everything that was found here, and take what is there already"
    )
    parser.add_argument("--only", nargs="*", default=ROWS)
    told = parser.parse_args()
    known = json.loads(told.json.read_text("utf-8")) if told.json and told.json.exists() else {}
    for row in told.only:
        for column, sdk, which in COLUMNS:
            kind = "genai" if row in GENAI or (row == "logfire" and sdk == "google-genai") else "plain"
            place = getattr(told, f"{kind}_{which}" if which else kind)
            key = f"{row}|{column}"
            if place is None or key in known:
                continue
            python = place / "bin" / "python"
            known[key] = {how: run(python, row, sdk, how) for how in ("bare", "wrapped")}
            cell = table.judged(known[key])
            print(f"{row:14} {column:16} {cell.short}", flush=True)
            if told.json:
                told.json.write_text(json.dumps(known, indent=1), "utf-8")
    text, wrong = table.page(known, ROWS, [column for column, _, _ in COLUMNS])
    table.write(text)
    print(f"{wrong} cells are wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
