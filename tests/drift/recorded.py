"""The recorded answers in the repository, as pairs and as vectors."""

import gzip
import json
from functools import cache
from pathlib import Path

import numpy as np

from promptguard.drift import Answer, PairVector, vectorise

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "src/promptguard/demo/data"
SAME_MODEL = ROOT / "benchmarks/data"
FAMILIES = {
    "gpt-4": ("gpt-4-0314", "gpt-4-0613"),
    "gpt-3.5": ("gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613"),
}
TASKS = ("prime", "sensitive", "leetcode")


def lines(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@cache
def pairs(task: str, family: str) -> list[tuple[dict, dict]]:
    """Recorded (control, candidate) lines in file order."""
    found: dict[str, dict[str, dict]] = {}
    for line in lines(RECORDED / f"{task}.jsonl.gz"):
        found.setdefault(line["id"], {})[line["model"]] = line
    first, second = FAMILIES[family]
    return [(sides[first], sides[second]) for sides in found.values()]


@cache
def vectors(task: str, family: str) -> list[PairVector]:
    return [
        vectorise(Answer(first["answer"]), Answer(second["answer"]), reference=first["reference"] or None)
        for first, second in pairs(task, family)
    ]


@cache
def same_model_answers() -> dict[str, list[str]]:
    """Answers of one unchanged model at temperature 0.7, by prompt: two draws pooled."""
    found: dict[str, list[str]] = {}
    for name in ("base_A", "base_B"):
        for line in lines(SAME_MODEL / f"{name}.jsonl.gz"):
            if line.get("temperature"):
                found.setdefault(line["prompt_id"], []).append(line["text"])
    return found


@cache
def smollm2(version: str) -> dict[str, list[Answer]]:
    """Sampled answers of one version of the small model, by prompt."""
    found: dict[str, list[Answer]] = {}
    for line in lines(SAME_MODEL / f"{version}.jsonl.gz"):
        if line.get("temperature"):
            answer = Answer(line["text"], finish_reason=line["finish_reason"])
            found.setdefault(line["prompt_id"], []).append(answer)
    return found


def same_model_vectors(rng: np.random.Generator) -> list[PairVector]:
    """Pairs of two different draws of one prompt; every answer is used once; prompts in random order."""
    found = []
    for texts in same_model_answers().values():
        order = rng.permutation(len(texts))
        found += [
            vectorise(Answer(texts[order[i]]), Answer(texts[order[i + 1]]))
            for i in range(0, len(order) - 1, 2)
        ]
    return [found[place] for place in rng.permutation(len(found))]


@cache
def changed_answers(name: str) -> dict[str, list[str]]:
    """Answers of the same model after a real change (benchmarks/data/NOTICE), by prompt."""
    found: dict[str, list[str]] = {}
    for line in lines(SAME_MODEL / f"{name}.jsonl.gz"):
        if line.get("temperature"):
            found.setdefault(line["prompt_id"], []).append(line["text"])
    return found
