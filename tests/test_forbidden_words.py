"""No source may deserialise into code (CVE-2025-69872 and its kin)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))
FORBIDDEN = re.compile(
    r"\bimport\s+(pickle|cPickle|marshal|shelve|dill|cloudpickle)\b|\bfrom\s+(pickle|marshal|shelve|dill)\b"
    r"|\b(pickle|marshal|shelve|dill|joblib)\.\w|(?<![\w.])(eval|exec)\("
    r"|(?<!\w)yaml\.(unsafe_|full_)?load\((?!text, Loader=_Loader\))"
)


BAD = """\
import pickle
from marshal import loads
pickle.loads(x)
shelve.open(p)
eval(x)
exec(code)
yaml.load(x)
yaml.unsafe_load(x)""".splitlines()
GOOD = """\
re.compile(x)
retrieval(x)
model.eval()
yaml.load(text, Loader=_Loader)
# unpickles nothing""".splitlines()


def test_the_pattern_finds_what_it_should():
    for bad in BAD:
        assert FORBIDDEN.search(bad), bad
    for good in GOOD:
        assert not FORBIDDEN.search(good), good
    assert len(SOURCES) > 10


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(path.parents[3])))
def test_no_source_deserialises_into_code(source):
    found = [line for line in source.read_text("utf-8").splitlines() if FORBIDDEN.search(line)]
    assert found == []
