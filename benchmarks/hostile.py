"""What strangers' prompts can cost: `python -m benchmarks.hostile [templates] [seed]`.

1. Payloads: escapes and bombs that are known (tests/templates/corpus.py). Each must be refused.
2. Generated templates. Each must be refused, or come to an ordinary text; both within 1 s and 64 MB.
3. Names that lead out of the library, links, YAML's tags, bombs, keys given twice, files of 10 MB: one clear line in 50 ms.

"None executed": while a template is compiled and rendered no file is opened, no process begun, nothing imported, which
Python's audit hooks tell; and no text names an object of Python. Each batch runs in a child of its own whose highest memory
is read; a template of a batch that took much is run alone. Times are of the thread's CPU, so that a busy machine does not
count.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.hostile_grammar import templates
from tests.templates.corpus import BOMBS, ESCAPES

from promptguard.errors import PromptError
from promptguard.templates.library import open_library
from promptguard.templates.sandbox import Sandbox

MOST_SECONDS, MOST_MB, MOST_FILE_SECONDS = 1.0, 64.0, 0.05
BATCH = 250
_VARIABLES: dict[str, object] = {"x": "text", "l": [1, 2], "d": {"a": 1}}
_LARGE: dict[str, object] = {
    "big": "ab" * 1_950_000,
    "many": [f"item {number}" for number in range(20_000)],
    "deep": {"a": [{"b": [[number] * 20]} for number in range(500)]},
}
"""What an application may give of its own: the largest text that is taken, a long list, a deep mapping"""
_INSIDES = re.compile(
    r"<class |<function |<built-in |<bound method|<generator|<module | object at 0x|root:x:0|jinja2\."
)
_WATCHED = ("open", "os.", "subprocess.", "import", "socket.", "ctypes.", "shutil.", "pty.")
FILE = "t.prompty"


@dataclass(frozen=True)
class Ran:
    """What became of one template."""

    source: str
    refused: str
    """the kind of error, empty where a text came out"""
    seconds: float
    executed: str = ""
    """what it did that no template may do"""


class _Watch:
    """What Python's audit hooks tell while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._told)

    def _told(self, event: str, arguments: tuple[object, ...]) -> None:
        # Of a loop nested too deep Python wants to show the line: it looks for the file that the template is said to be.
        if self.on and event.startswith(_WATCHED) and (event, arguments[:1]) != ("open", (FILE,)):
            self.seen.append(f"{event} {arguments[:1]!r}")


_watches: list[_Watch] = []


def run(source: str, variables: dict[str, object]) -> Ran:
    """Compile and render a template as a stranger's; nothing but PromptError may come of it."""
    if not _watches:
        _watches.append(_Watch())
    watch, began, text, refused = _watches[0], time.thread_time(), "", ""
    watch.seen, watch.on = [], True
    try:
        text = Sandbox().template(source, FILE).render(variables)
    except PromptError as error:
        refused = type(error).__name__
    except BaseException as error:
        watch.seen.append(f"raised {type(error).__name__}: {error}")
    finally:
        watch.on = False
    taken = time.thread_time() - began
    inside = _INSIDES.search(text)
    return Ran(source, refused, taken, "; ".join(watch.seen) or (f"says {inside[0]!r}" if inside else ""))


def in_child(work: Callable[[], object]) -> tuple[object, float]:
    """Return what `work` returned in a child, as JSON has it, and by how many MB the child's memory grew at most.

    None and infinity where the child ended before.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException), os.fdopen(writes, "w") as out:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            told = work()
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024.0
            json.dump([told, grown], out)
            status = 0
        os._exit(status)
    os.close(writes)
    with os.fdopen(reads) as told_by:
        data = told_by.read()
    os.waitpid(child, 0)
    if not data:
        return None, math.inf
    told, grown = json.loads(data)
    return told, float(grown)


def warm_up() -> None:
    """Have Python import what it imports once, before a child watches; jinja2 does so when it tells of its first error."""
    importlib.import_module("jinja2.debug")
    Sandbox().template("{{ 'é' ~ x }}", FILE)
    Sandbox().template("{{ x }}", FILE).render({"x": 1})


def batch(sources: Sequence[str], variables: dict[str, object]) -> list[tuple[Ran, float]]:
    """Return what became of each, and MB at most: of the whole batch where that is little, else of each alone."""

    def work(these: Sequence[str]) -> Callable[[], object]:
        def all_of_them() -> object:
            rans = [run(each, variables) for each in these]
            return [[ran.source, ran.refused, ran.seconds, ran.executed] for ran in rans]

        return all_of_them

    told, grown = in_child(work(sources))
    if grown > MOST_MB and len(sources) > 1:
        middle = len(sources) // 2
        return batch(sources[:middle], variables) + batch(sources[middle:], variables)
    if not isinstance(told, list):
        return [(Ran(sources[0], "", 0.0, "ended the process"), grown)]
    return [(Ran(*each), grown) for each in told]


def strangers_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Write a library with hostile files; yield what each is, and the reference that opens it."""
    outside = folder.parent / "outside"
    for place in (folder, outside):
        place.mkdir(parents=True)
    (outside / "1.prompty").write_text("user:\nsecret")
    (folder / "good").mkdir()
    (folder / "good" / "1.prompty").write_text("user:\nhi")
    names = (
        "../outside ../outside@1 good@../../outside/1 good/../../outside good@/etc/passwd ~root good\0 C:\\x"
    )
    for name in [*names.split(), str(outside), f"{outside}/1"]:
        yield f"name {name!r}", name
    (folder / "linked").symlink_to(outside)
    (folder / "good" / "2.prompty").symlink_to(outside / "1.prompty")
    (folder / "good" / "3.prompty").symlink_to("/etc/passwd")
    (folder / "good" / "4.prompty").symlink_to(folder / "good" / "4.prompty")
    (folder / "good" / "5.prompty").symlink_to("/dev/zero")
    os.mkfifo(folder / "good" / "6.prompty")
    yield "a folder that is a link out", "linked@1"
    for version in range(2, 7):
        yield f"a link or pipe, {version}", f"good@{version}"
    for number, (what, text) in enumerate(_hostile_texts().items()):
        (folder / f"f{number}").mkdir()
        (folder / f"f{number}" / "1.prompty").write_bytes(text)
        yield what, f"f{number}@1"


def _hostile_texts() -> dict[str, bytes]:
    def front(text: str) -> bytes:
        return f"---\n{text}\n---\nuser:\nhi".encode()

    laughs = "\n".join(
        ["a0: &a0 lol"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    )
    return {
        "tag object/apply": front("a: !!python/object/apply:os.system [id]"),
        "tag object/new": front("a: !!python/object/new:subprocess.Popen [[id]]"),
        "tag name": front("a: !!python/name:os.system"),
        "tag module": front("a: !!python/module:os"),
        "tag of its own": front("a: !x 1"),
        "tag binary": front("a: !!binary aGk="),
        "tag directive": front("%TAG ! tag:yaml.org,2002:python/\na: !object/apply:os.system [id]"),
        "billion laughs": front(laughs),
        "alias to itself": front("a: &a [*a]"),
        "merge keys": front("a: {b: 1}\nmetadata:\n  <<: {c: 1}"),
        "key given twice": front("name: f\nname: g"),
        "key given twice within": front("inputs:\n  a: {kind: string, kind: integer}"),
        "50,000 brackets": front("a: " + "[" * 50_000),
        "50,000 braces": front("a: " + "{b: " * 50_000),
        "50,000 dashes": front("a:\n" + "- " * 50_000),
        "300,000 items": front("a: [" + "1," * 300_000 + "]"),
        "a number of 900,000 digits": front("a: " + "9" * 900_000),
        "a text of 900,000 characters": front("a: " + "x" * 900_000),
        "a key of 60,000 characters": front("x" * 60_000 + ": 1"),
        "a file of 10 MB": b"---\nname: f\n---\nuser:\n" + b"x" * 10_000_000,
        "front matter of 10 MB": b"---\n" + b"a: 1\n" * 2_000_000 + b"---\nuser:\nhi",
        "10 MB of nothing": b"\n" * 10_000_000,
        "10 MB of zeros": b"\0" * 10_000_000,
        "no UTF-8": b"---\nname: f\n---\nuser:\n\xff\xfe",
        "front matter without end": b"---\n" + b"- a\n" * 100_000,
        "a text of 250,000 characters": b"user:\n" + b"x" * 250_000,
        "90,000 role lines": b"user:\n" * 90_000,
        "200,000 lines with a colon": b"user:\n" + b"a: b\n" * 190_000 + b"{{ a",
        "90,000 words before a colon": b"user:\n" + b"".join(b"%s:\n" % _word(n) for n in range(90_000)) + b"{{ a",
        "70,000 tags": b"user:\n" + b"{% if a %}\n" * 70_000,
        "70,000 tags on a line": b"user:\n" + b"{% if a %}" * 70_000,
        "20,000 tags": b"user:\n" + b"{% if a %}\n" * 19_000,
        "19,000 lines with a colon": b"user:\n" + b"a: b\n" * 19_000 + b"{{ a",
        "19,000 words before a colon": b"user:\n" + b"".join(b"%s:\n" % _word(n) for n in range(19_000)) + b"{{ a",
        "40,000 marks": b"user:\n" + b"{{ a }}" * 40_000,
        "5,000 brackets": b"user:\n{{ " + b"(" * 5_000 + b" }}",
        "open marks": b"user:\n" + b"{{" * 60_000,
        "blanks before a colon": b"user" + b" " * 190_000 + b":\nx {{",
    }  # fmt: skip


def _word(number: int) -> bytes:
    return bytes(ord("a") + number // 26**place % 26 for place in range(6))


def open_file(folder: Path, reference: str) -> tuple[str, float]:
    """Return the error of a file of strangers, which is one line, and the seconds it took; the fastest of three looks."""
    fastest, said = 1e9, ""
    for _ in range(3):
        library = open_library(folder)
        began = time.thread_time()
        try:
            library.get(reference)
        except PromptError as error:
            said = str(error)
        fastest = min(fastest, time.thread_time() - began)
    return said, fastest


def payloads() -> bool:
    """Run what is known; returns whether all were refused within bounds."""
    known = [*ESCAPES, *BOMBS]
    rans = [each for source in known for each in batch([source], _VARIABLES)]
    rans += batch(["{% for i in range(2000) %}{% if 'zq' in big %}{% endif %}{% endfor %}"], _LARGE)
    rans += batch(["{% if 'zq' in big %}{% endif %}" * 2_000], _LARGE)
    rans += batch(["{% set b = big ~ '' %}" + "{% if big == b %}{% endif %}" * 2_000], _LARGE)
    refused = sum(bool(ran.refused) for ran, _ in rans)
    print(f"payloads: {refused} of {len(rans)} refused; {_worst(rans)}")
    return refused == len(rans) and _within(rans)


def generated(count: int, seed: int) -> bool:
    """Run generated templates; returns whether all were within bounds."""
    sources, given = templates(count, seed), {**_VARIABLES, **_LARGE}
    rans = [
        each
        for first in range(0, count, BATCH)
        for each in batch(sources[first : first + BATCH], given)
    ]  # fmt: skip
    kinds = Counter(ran.refused or "a text" for ran, _ in rans)
    print(f"generated, seed {seed}: {dict(kinds.most_common())} of {count}; {_worst(rans)}")
    return _within(rans)


def files() -> bool:
    """Open strangers' files; returns whether each is one line in time."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve() / "prompts"
        told = {what: open_file(folder, reference) for what, reference in strangers_files(folder)}
    wrong = [
        what
        for what, (said, taken) in told.items()
        if not said or "\n" in said or len(said) > 1_000 or taken > MOST_FILE_SECONDS
    ]
    slowest = max(told, key=lambda what: told[what][1])
    print(
        f"files and names: {len(told) - len(wrong)} of {len(told)} are one line within {1e3 * MOST_FILE_SECONDS:g} ms; "
        f"slowest {1e3 * told[slowest][1]:.1f} ms ({slowest})"
    )
    for what in wrong:
        said, taken = told[what]
        print(f"  {what}: {1e3 * taken:.1f} ms, {said[:200]!r}")
    return not wrong


def _within(rans: Sequence[tuple[Ran, float]]) -> bool:
    wrong = [
        (ran, grown) for ran, grown in rans if ran.executed or ran.seconds > MOST_SECONDS or grown > MOST_MB
    ]
    for ran, grown in wrong[:20]:
        print(f"  {ran.seconds:.2f} s, {grown:.0f} MB, {ran.executed or ran.refused}: {ran.source[:300]!r}")
    return not wrong


def _worst(rans: Sequence[tuple[Ran, float]]) -> str:
    return (
        f"slowest {max(ran.seconds for ran, _ in rans):.2f} s, largest {max(grown for _, grown in rans):.0f} MB, "
        f"executed {sum(bool(ran.executed) for ran, _ in rans)}"
    )


def main(count: int = 10_000, seed: int = 0) -> int:
    """Print all figures; returns 1 where one misses its target."""
    warm_up()
    return 0 if all([payloads(), files(), generated(count, seed)]) else 1


if __name__ == "__main__":
    sys.exit(main(*(int(each) for each in sys.argv[1:])))
