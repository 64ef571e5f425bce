"""What rendering a prompt costs beside jinja2's own sandbox with the same templates.

    python -m benchmarks.templates [--previous REVISION]

Everything runs in one process, in turns, by its CPU time, so that a busy machine slows all of them alike.
`--previous` adds the same work by the package as it was at a revision of this repository. "bare" is
SandboxedEnvironment, compiled beforehand.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment

ROOT = Path(__file__).resolve().parent.parent
TARGET = 1.5
ROUNDS, SECONDS_A_ROUND = 25, 0.01
Work = Callable[[], object]

DOCUMENT = "The customer says that the parcel arrived late, and that nobody answered the telephone. "


@dataclass(frozen=True)
class Shape:
    """A prompt of one kind: the templates of its messages, and the variables."""

    name: str
    system: str
    user: str
    variables: dict[str, Any]


SHAPES = (
    Shape(
        "plain",
        "You answer in {{ language }} for {{ company }}. Be brief.",
        "Ticket:\n{{ ticket }}",
        {"language": "English", "company": "Acme", "ticket": DOCUMENT * 4},
    ),
    Shape(
        "long text",
        "You summarise.",
        "<document>{{ document }}</document>\nIn {{ sentences }} sentences.",
        {"document": DOCUMENT * 500, "sentences": 3},
    ),
    Shape(
        "loop",
        "Rules:\n{% for rule in rules %}{{ loop.index }}. {{ rule }}\n{% endfor %}",
        "{% for turn in turns %}{{ turn.who }}: {{ turn.text }}\n{% endfor %}",
        {
            "rules": [f"Rule number {number}" for number in range(8)],
            "turns": [{"who": "user", "text": DOCUMENT} for _ in range(12)],
        },
    ),
    Shape(
        "filters",
        "{{ company|upper }}: {{ topics|join(', ') }}. {{ note|default('no note')|trim }}",
        "{{ rows|map(attribute='title')|join('; ') }}\n{{ meta|tojson }}\n"
        "{{ rows|length }} rows. {{ ticket|truncate(80) }}",
        {
            "company": "Acme",
            "topics": ["parcels", "bills", "returns"],
            "note": "  keep it short ",
            "rows": [{"title": f"Title {number}", "text": DOCUMENT} for number in range(10)],
            "meta": {"id": 7, "open": True, "tags": ["a", "b"]},
            "ticket": DOCUMENT,
        },
    ),
    Shape(
        "loop, filters, conditions",
        "{% for r in rules %}{{ loop.index }}. {{ r.text|trim }}{% if r.weight > 2 %} (important){% endif %}\n{% endfor %}",
        "{% for d in documents if d.score >= 0.5 %}<doc title='{{ d.title|upper }}'>"
        "{% if d.lang == 'en' %}{{ d.text }}{% else %}{{ d.text|lower }}{% endif %}</doc>\n{% endfor %}",
        {
            "rules": [{"text": f" Rule {number} ", "weight": number % 4} for number in range(8)],
            "documents": [
                {"title": f"t{n}", "text": DOCUMENT * 3, "score": n / 10, "lang": "en" if n % 2 else "de"}
                for n in range(10)
            ],
        },
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--previous", metavar="REVISION", help="compare with the package as it was then")
    previous = parser.parse_args().previous
    with tempfile.TemporaryDirectory() as directory:
        prompts = Path(directory) / "prompts"
        for shape in SHAPES:
            _write(prompts, shape)
        libraries = {"ours": _package(ROOT / "src")}
        if previous:
            libraries["previous"] = _package(_checked_out(previous, Path(directory) / "previous"))
        opened = {name: package.open_library(prompts) for name, package in libraries.items()}
        time.sleep(3.5)  # as in an application: the folder did not change a moment ago
        print(f"{'':42}{'min':>9}{'median':>9}  us of CPU; ratio of medians to bare in each round")
        worst = max(_compare(shape, opened) for shape in SHAPES)
    print(f"the slowest rendering: x{worst:.2f} of jinja2's own (target x{TARGET})")
    if worst > TARGET:
        raise SystemExit(1)


def _compare(shape: Shape, opened: dict[str, Any]) -> float:
    """Print what each does with one shape; return how our rendering compares with jinja2's own."""
    name, values, wanted = f"{_slug(shape)}@1", shape.variables, _slug(shape)
    works: dict[str, Work] = {"bare: render": _bare(shape)}
    for who, library in opened.items():
        prompt = library.get(name)
        # a message has no empty lines at its ends, as in Prompty's own implementation
        alike = [{**each, "content": each["content"].strip("\n")} for each in works["bare: render"]()]
        assert prompt.render(**values).messages == alike
        works[f"{who}: render"] = lambda prompt=prompt: prompt.render(**values)
        works[f"{who}: get(name@1)"] = lambda library=library: library.get(name)
        works[f"{who}: get(name)"] = lambda library=library: library.get(wanted)
        works[f"{who}: get(name@1) and render"] = lambda library=library: library.get(name).render(**values)
    times = _in_turns(works)
    bare = times["bare: render"]
    print(shape.name)
    ratios = {}
    for label, taken in times.items():
        ratios[label] = statistics.median(mine / theirs for mine, theirs in zip(taken, bare, strict=True))
        print(
            f"    {label:38}{min(taken) * 1e6:9.1f}{statistics.median(taken) * 1e6:9.1f}  x{ratios[label]:.2f}"
        )
    return ratios["ours: render"]


def _in_turns(works: dict[str, Work]) -> dict[str, list[float]]:
    """Return seconds a call of each, once a round; every round runs all of them."""
    counts = {}
    for label, work in works.items():
        began = time.thread_time()
        for _ in range(20):
            work()
        counts[label] = max(5, int(SECONDS_A_ROUND / ((time.thread_time() - began) / 20)))
    times: dict[str, list[float]] = {label: [] for label in works}
    for _ in range(ROUNDS):
        for label, work in works.items():
            turns = range(counts[label])
            began = time.thread_time()
            for _ in turns:
                work()
            times[label].append((time.thread_time() - began) / len(turns))
    return times


def _bare(shape: Shape) -> Work:
    environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    templates = [
        ("system", environment.from_string(shape.system.rstrip("\n"))),
        ("user", environment.from_string(shape.user.rstrip("\n"))),
    ]
    return lambda: [{"role": role, "content": one.render(**shape.variables)} for role, one in templates]


def _slug(shape: Shape) -> str:
    return shape.name.replace(", ", "-").replace(" ", "-")


def _write(folder: Path, shape: Shape) -> None:
    path = folder / _slug(shape) / "1.prompty"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"---\nname: {_slug(shape)}\n---\nsystem:\n{shape.system}\n\nuser:\n{shape.user}\n", "utf-8"
    )


def _checked_out(revision: str, directory: Path) -> Path:
    archive = subprocess.run(["git", "archive", revision, "src"], cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(directory, filter="data")
    return directory / "src"


def _package(source: Path) -> ModuleType:
    """Import the template library from `source`, beside others of the same name."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "promptguard"]:
        del sys.modules[name]
    sys.path.insert(0, str(source))
    try:
        from promptguard.templates import library
    finally:
        sys.path.remove(str(source))
    assert Path(library.__file__).is_relative_to(source)
    return library


if __name__ == "__main__":
    main()
