"""What prompts cost beside rendering: `python -m benchmarks.prompts`.

1. Recognition: how long a call of 20 messages takes to be told its prompt. Target 15 us.
2. A folder of 10,000 prompt files: names and versions, in Python and by `promptguard prompts list`. Target 1 s.
3. Rollouts: what they add to a rendering and to a call, where none is under way and where one is. Target, where none is:
   1 us a call, 2 us a rendering.

Times are of the thread's CPU, medians of rounds in turn; the command's is of the clock.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.rollout import GUARDS, rollout

from promptguard.core.rollouts import Table
from promptguard.following import Following
from promptguard.templates.library import PromptLibrary, open_library
from promptguard.templates.rendered import PROCESS

ROUNDS, TIMES = 15, 1_000
MESSAGES, FILES = 20, 10_000
MOST_RECOGNITION_US, MOST_LIST_SECONDS, MOST_IDLE_US = 15.0, 1.0, 1.0
Work = Callable[[], object]


def microseconds(works: dict[str, Work]) -> dict[str, float]:
    """Return how long a call of each takes; every round runs all of them."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            began = time.thread_time()
            for _ in range(TIMES):
                work()
            taken[name].append((time.thread_time() - began) / TIMES * 1e6)
    return {name: statistics.median(each) for name, each in taken.items()}


def write(folder: Path, name: str, version: int, text: str) -> None:
    path = folder / name / f"{version}.prompty"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def recognition(folder: Path) -> bool:
    """Ask for the prompt of requests of 20 messages, rendered from a prompt or not."""
    write(folder, "long", 1, "system:\nYou answer.\n\nuser:\n{{ question }}\n")
    rendered = open_library(folder).get("long").render(question="What is it?" * 20).messages
    turns = [
        {"role": "assistant" if number % 2 else "user", "content": f"turn {number}, " * 30 + "."}
        for number in range(MESSAGES - len(rendered))
    ]
    followed, foreign = [*rendered[:1], *turns, *rendered[1:]], [{"role": "system", "content": "x"}, *turns]
    assert len(followed) == MESSAGES
    assert PROCESS.recognise(followed) is not None
    assert PROCESS.recognise(foreign) is None
    taken = microseconds(
        {"recognised": lambda: PROCESS.recognise(followed), "foreign": lambda: PROCESS.recognise(foreign)}
    )
    print(
        f"a call of {MESSAGES} messages: recognised in {taken['recognised']:.1f} us, found foreign in "
        f"{taken['foreign']:.1f} us"
    )
    return max(taken.values()) <= MOST_RECOGNITION_US


def listing(folder: Path) -> bool:
    """List 10,000 prompt files, three times."""
    for number in range(FILES):
        write(folder, f"team{number // 100}/prompt{number // 4}", number % 4 + 1, "user:\nhi {{ name }}\n")
    seconds = []
    for _ in range(3):
        library, began = open_library(folder), time.perf_counter()
        found = library.all_versions()
        seconds.append(time.perf_counter() - began)
        assert sum(map(len, found.values())) == FILES
    command = [sys.executable, "-m", "promptguard", "prompts", "list", "--prompts", str(folder), "--json"]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole = time.perf_counter() - began
    print(
        f"{FILES:,} prompt files: listed in {min(seconds):.2f} s; the whole command `prompts list --json` {whole:.2f} s"
    )
    return min(seconds) <= MOST_LIST_SECONDS


def staged(folder: Path) -> bool:
    """Render with and without rollouts, and look at what is rolled out as a call does."""
    for version, word in ((1, "Sort"), (2, "File")):
        write(folder, "triage", version, f"system:\n{word} it.\n\nuser:\n{{{{ ticket }}}}\n")
    plain = open_library(folder)
    plain.label("triage@1", "production")
    table = Table()
    begun = replace(rollout(0, GUARDS), subject="triage", before="1", to="2", label="production")
    table.rollouts, table.prompts = {1: begun}, {"triage": begun}
    time.sleep(3.5)  # as in an application: the folder did not change a moment ago
    nowhere = Following(folder / "no ledger")
    idle, live = PromptLibrary(folder, rollouts=nowhere.table), PromptLibrary(folder, rollouts=lambda: table)
    taken = microseconds(
        {
            "get and render": lambda: plain.get("triage@production").render(ticket="x" * 200),
            "render": lambda: idle.render("triage@production", ticket="x" * 200),
            "render, unit": lambda: live.render("triage@production", unit="user 17", ticket="x" * 200),
            "look": nowhere.table,
        }
    )
    print(
        f"get().render() {taken['get and render']:.1f} us; library.render(), nothing rolled out "
        f"{taken['render'] - taken['get and render']:+.2f} us, for a unit of a rollout "
        f"{taken['render, unit'] - taken['get and render']:+.2f} us; a call's look at rollouts {taken['look']:.2f} us"
    )
    return taken["render"] - taken["get and render"] <= 2 * MOST_IDLE_US and taken["look"] <= MOST_IDLE_US


def main() -> int:
    """Print all figures; returns 1 where one misses its target."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for name in ("a", "b", "c"):
            (root / name).mkdir()
        return 0 if all([recognition(root / "a"), listing(root / "b"), staged(root / "c")]) else 1


if __name__ == "__main__":
    sys.exit(main())
