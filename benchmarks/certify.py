"""How many pairs a certificate takes on recorded answers, in orders drawn anew: `python -m benchmarks.certify`.

GPT-4 before and after June 2023 (the demo's data, one answer a question and model), and an open model of which one draw of
answers is compared with a second draw, with draws after fine-tuning, in another quantisation and under other settings.
Each pair is judged as `promptguard prompts certify --recorded` does, until it is known either way or the pairs are used up.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from promptguard.certifying.examination import Examination
from promptguard.certifying.values import Question, Wish, in_order
from promptguard.drift import Answer, LabelRule, PairVector, vectorise

DEMO = Path(str(resources.files("promptguard.demo").joinpath("data")))
OPEN = Path(__file__).parent / "data"
BEFORE, AFTER = "gpt-4-0314", "gpt-4-0613"
CLASSES = {"prime": LabelRule("prime", "1", {"yes": "(?i)yes", "no": r"(?i)\bno\b"})}
SETS = {
    "base_B": "the same model, drawn again",
    "serv_top_p0.5": "top_p 0.5 instead of 0.95",
    "quant_q8_0": "8 bits a weight instead of 4",
    "ft_style_8_s0.25": "fine-tuned a little",
    "serv_maxtok24": "cut at 24 tokens instead of 40",
    "ft_style_20": "fine-tuned for another style",
}
Pairs = dict[str, PairVector]


def of_gpt(task: str, first: str, second: str) -> Pairs:
    answers: dict[str, dict[str, str]] = {first: {}, second: {}}
    for line in _lines(DEMO / f"{task}.jsonl.gz"):
        if line["model"] in answers:
            answers[line["model"]][line["id"]] = line["answer"]
    return _pairs(answers[first], answers[second], CLASSES.get(task))


def of_open_model(name: str) -> Pairs:
    first, second = (
        {f"{line['prompt_id']}-{line['sample']}": line["text"] for line in _lines(OPEN / f"{each}.jsonl.gz")}
        for each in ("base_A", name)
    )
    return _pairs(first, second, None)


def _lines(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _pairs(first: dict[str, str], second: dict[str, str], labels: LabelRule | None) -> Pairs:
    return {
        key: vectorise(Answer(first[key]), Answer(second[key]), labels=labels).features_only()
        for key in first.keys() & second.keys()
    }


def judged(pairs: Pairs, tolerance: float, seed: str, labels: LabelRule | None) -> tuple[str, int]:
    """Return what one order of the pairs comes to, and after how many of them."""
    wish = Wish(tolerance, 0.05, seed)
    examination = Examination(wish, labels, with_right=False)
    for question in in_order([Question(key) for key in pairs], seed):
        examination.take(pairs[question.key], None)
        if examination.known:
            break
    return examination.known or "open", examination.pairs


def row(
    what: str, pairs: Pairs, tolerances: Sequence[float], orders: int, labels: LabelRule | None = None
) -> str:
    cells = []
    for tolerance in tolerances:
        found = [judged(pairs, tolerance, str(seed), labels) for seed in range(orders)]
        told = []
        for status, times in Counter(status for status, _ in found).most_common():
            counts = sorted(count for each, count in found if each == status)
            share = "" if times == orders else f" in {times} of {orders}"
            span = f", {counts[0]} to {counts[-1]}" if counts[0] != counts[-1] else ""
            told.append(f"{status}{share}: {statistics.median_high(counts)}{span}")
        cells.append("; ".join(told))
    return f"| {what} | {len(pairs)} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=20)
    asked = parser.parse_args()
    tolerances = (0.1, 0.2)
    print(
        "| compared with the reference | pairs there are | "
        + " | ".join(f"tolerance {each}" for each in tolerances)
        + " |"
    )
    print("|---|---|" + "---|" * len(tolerances))
    for task in ("prime", "leetcode"):
        for what, second in (("itself", BEFORE), (AFTER, AFTER)):
            found = of_gpt(task, BEFORE, second)
            print(
                row(f"{task}: {BEFORE} with {what}", found, tolerances, asked.orders, CLASSES.get(task)),
                flush=True,
            )
    for name, what in SETS.items():
        print(row(f"open model: {what}", of_open_model(name), tolerances, asked.orders), flush=True)


if __name__ == "__main__":
    main()
