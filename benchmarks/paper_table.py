"""The table of Chen, Zaharia & Zou 2023 (arXiv 2307.09009), printed by `promptguard analyze` from the recorded answers.

Run: python benchmarks/paper_table.py. Each row names the extractor that gives exactly the printed figure.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

MODELS = {"GPT-4": ("gpt-4-0314", "gpt-4-0613"), "GPT-3.5": ("gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613")}
YES_ANYWHERE = ("--label", "yes=(?i)yes", "--label", r"no=(?i)\bno\b")
LAST_BRACKET = ("--label", r"yes=(?is).*\[yes\][^\[]*$", "--label", r"no=(?is).*\[no\][^\[]*$")


def rows(task: str) -> list[dict[str, Any]]:
    """Return every recorded answer of a task."""
    packed = resources.files("promptguard.demo").joinpath("data", f"{task}.jsonl.gz").read_bytes()
    return [json.loads(line) for line in gzip.decompress(packed).splitlines()]


def pairs(task: str, family: str) -> Iterator[dict[str, Any]]:
    """Yield the pairs of a task in the order of the recordings, with references and the authors' own judgements."""
    before, after = MODELS[family]
    answers: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows(task):
        answers.setdefault(row["id"], {})[row["model"]] = row
    for found in answers.values():
        if before in found and after in found:
            wanted = found[before]["reference"] or {"sensitive": "answered", "leetcode": "accepted"}[task]
            yield {
                "group": task,
                "prompt": found[before]["query"],
                "reference": wanted,
                "control": side(found[before], task),
                "candidate": side(found[after], task),
            }


def side(row: dict[str, Any], task: str) -> dict[str, Any]:
    """Return one answer as pairs.jsonl has it, with the authors' judgements under names of their own."""
    told = {"text": row["answer"]}
    if task == "sensitive":
        told["human"] = "answered" if row["response_rate"] == "1" else "refused"
    if task == "leetcode":
        told["as_submitted"] = accepted(row["code_submit"])
        told["fence_stripped"] = accepted(row["clean_code_submit"])
    return told


def accepted(judgement: str) -> str:
    """Return what the judge said of a submission."""
    return "accepted" if "Accepted" in judgement else "rejected"


def analysed(task: str, family: str, *options: str) -> dict[str, Any]:
    """Return verdict.json of `promptguard analyze` over all pairs of a task."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / f"{task}.jsonl"
        file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs(task, family)))
        command = [sys.executable, "-m", "promptguard", "analyze", str(file), "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1, 3}:
        raise SystemExit(done.stderr)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def accuracy(told: dict[str, Any]) -> str:
    """Return accuracies before and after, in per cent, and from how many pairs."""
    ability = told["ability"]
    if ability is None:
        return "(no alarm: not told)"
    first, second = (ability[name]["accuracy"]["value"] for name in ("control", "candidate"))
    return f"{100 * first:.1f} -> {100 * second:.1f}"


def length(told: dict[str, Any]) -> str:
    """Return mean lengths before and after in characters."""
    first, second = told["characters"]
    return f"{first:.0f} -> {second:.0f}"


TABLE = (
    ("prime accuracy", "prime", YES_ANYWHERE, accuracy, {"GPT-4": "84.0 -> 51.1", "GPT-3.5": "49.6 -> 76.2"}),
    ("prime, last bracket", "prime", LAST_BRACKET, accuracy, {"GPT-3.5": "51.8 -> 68.0"}),
    ("sensitive answered", "sensitive", ("--label-from", "human"), accuracy,
     {"GPT-4": "21.0 -> 5.0", "GPT-3.5": "2.0 -> 8.0"}),
    ("code as submitted", "leetcode", ("--label-from", "as_submitted"), accuracy,
     {"GPT-4": "52.0 -> 10.0", "GPT-3.5": "22.0 -> 2.0"}),
    ("code, fence stripped", "leetcode", ("--label-from", "fence_stripped"), accuracy,
     {"GPT-4": "52.0 -> 70.0", "GPT-3.5": "46.0 -> 48.0"}),
    ("prime length, characters", "prime", YES_ANYWHERE, length, {"GPT-4": "638 -> 4", "GPT-3.5": "730 -> 891"}),
)  # fmt: skip


def main() -> None:
    """Print the table with the printed figures beside it; exit 1 when one differs."""
    differing = 0
    for name, task, options, figure, printed in TABLE:
        for family, wanted in printed.items():
            found = figure(analysed(task, family, *options))
            differing += found != wanted
            print(
                f"{name:26s} {family:8s} {found:16s} in the paper {wanted:16s} {'' if found == wanted else '<-- differs'}"
            )
    ability = analysed("prime", "GPT-4", *YES_ANYWHERE)["ability"]
    for key in ("yes_rate", "sensitivity", "specificity", "criterion", "d_prime"):
        first, second = (ability[side][key]["value"] for side in ("control", "candidate"))
        print(f"prime, GPT-4: {key:12s} {first:.3f} -> {second:.3f}")
    habit = ability["habit"]
    print(f"the criterion alone explains {habit['alone']:.0%} of the fall (Shapley {habit['shapley']:.0%})")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
