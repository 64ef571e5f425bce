"""Each rule of pyproject.toml catches the import that it is there for: one line is added, and the rule must break."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter")

import grimp
from importlinter.application.use_cases import read_user_options
from importlinter.configuration import configure
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract

ROOT = Path(__file__).parents[1]

PROBES = """
core <- datetime                core.flow
core <- uuid                    core.flow
core <- numpy                   core.key
core <- random                  core.policy
core <- threading               core.epochs
core <- pathlib                 core.options
guarding <- ledger              guarding                promptguard.ledger.store
guarding <- http                guarding                promptguard.http.transport
guarding <- drift               guarding                promptguard.drift
ledger <- background            ledger.store            promptguard.background.engine
cache <- sqlalchemy             cache.disk
wire <- asyncio                 wire.openai_chat
drift <- time                   drift.monitor
drift.features <- betting       drift.features.vector   promptguard.drift.betting.experts
sdks <- httpx                   sdks.openai
report <- background            report.read             promptguard.background.engine
telemetry <- ledger             telemetry.otel          promptguard.ledger.store
templates <- the flow's caller  templates.library       promptguard.http.transport
verdict <- numpy                verdict.values
verdict <- drift                verdict.values          promptguard.drift.monitor
shadow <- opentelemetry         shadow.worker
background <- wrapping          background.engine       promptguard.wrapping
errors <- core                  errors                  promptguard.core.model
report <- http                  report.read             promptguard.http.transport
cli <- jinja2                   cli.status
"""
"""What is tried; the module that imports it; what it imports, where that is not the last word of the first column."""


def probes():
    for line in PROBES.strip().splitlines():
        name, *rest = (part.strip() for part in line.split("  ") if part.strip())
        importer, imported = rest if len(rest) == 2 else (rest[0], name.rsplit(" ", 1)[-1])
        yield pytest.param(f"promptguard.{importer}", imported, id=name)


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("promptguard", include_external_packages=True, cache_dir=None)


@pytest.fixture(scope="module")
def contracts():
    """The contracts as `lint-imports` reads them."""
    configure()
    sys.path.insert(0, str(ROOT))
    from tools.import_rules import AllowList, KeptTo

    kinds = {
        "layers": LayersContract,
        "forbidden": ForbiddenContract,
        "allow_list": AllowList,
        "kept_to": KeptTo,
    }
    options = read_user_options(str(ROOT / "pyproject.toml"))
    yield [
        kinds[each["type"]](each["name"], options.session_options, each) for each in options.contracts_options
    ]
    sys.path.remove(str(ROOT))


def broken(graph, contracts):
    return [each.name for each in contracts if not each.check(copy.deepcopy(graph), verbose=False).kept]


def test_the_package_keeps_all_rules(graph, contracts):
    assert broken(graph, contracts) == []


@pytest.mark.parametrize(("importer", "imported"), list(probes()))
def test_an_unwanted_import_is_caught(graph, contracts, importer, imported):
    assert importer in graph.modules
    changed = copy.deepcopy(graph)
    if imported not in changed.modules:
        changed.add_module(imported, is_squashed=True)
    changed.add_import(
        importer=importer, imported=imported, line_number=1, line_contents=f"import {imported}"
    )
    assert broken(changed, contracts) != []


def test_every_room_stands_in_the_table_of_the_architecture():
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    rooms = {
        path.stem if path.suffix else path.name
        for path in (ROOT / "src" / "promptguard").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and not path.name.startswith("_")
    }
    missing = {room for room in rooms if f"`{room}/`" not in text and f"`{room}.py`" not in text}
    assert not missing, f"say in ARCHITECTURE.md what these are for: {sorted(missing)}"
