"""Everyday questions for a small model: every task with every subject, each asked once."""

from __future__ import annotations

import random

_TASKS = (
    "Give me three short facts about {}.",
    "Write one sentence that a child would understand about {}.",
    "List three words that come to mind when you think of {}.",
    "Is {} something one can buy in a shop? Answer in one sentence.",
    "Write a short question a teacher could ask about {}.",
    "Describe {} to somebody who has never seen it, in two sentences.",
    "What would you warn a beginner about when it comes to {}?",
    "Write a title for a newspaper article about {}.",
    "Name one reason why people like {}.",
    "Translate the phrase 'I know about {}' into French.",
)
_SUBJECTS = (
    "bicycles", "the sea", "bread", "winter", "books", "volcanoes", "tea", "trains", "bees", "chess", "rain", "the moon",
    "gardens", "ink", "music", "salt", "mountains", "cheese", "wind", "clocks", "coffee", "bridges", "forests", "maps",
)  # fmt: skip


def questions(number: int, seed: int) -> list[str]:
    """Return `number` different questions in an order drawn from `seed`; there are 240."""
    every = [task.format(subject) for subject in _SUBJECTS for task in _TASKS]
    random.Random(f"live questions {seed}").shuffle(every)
    return every[:number]
