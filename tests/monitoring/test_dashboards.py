"""The dashboards that are shipped: up to date, and every panel's query finds something in a real Prometheus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.monitoring.conftest import FILES

ROOT = Path(__file__).parents[2]
GRAFANA = sorted((FILES / "grafana").glob("*.json"))
QUICK = {
    "$__rate_interval": "20s", "$__range": "60s", "$ledger": ".*", "$prompt": ".*", "$stream": ".*", "${prompt}": ".*",
}  # fmt: skip
MAY_BE_EMPTY = ()


def queries():
    for path in GRAFANA:
        page = json.loads(path.read_text("utf-8"))
        for panel in page["panels"]:
            for target in panel["targets"]:
                name = f"{path.stem.removeprefix('promptguard-')}: {panel['title']} {target['refId']}"
                yield pytest.param(target["expr"], id=name)


@pytest.mark.filterwarnings(
    "ignore:Prefer using dashboardv2:DeprecationWarning"
)  # which Grafana 11 cannot import
def test_they_are_what_is_generated():
    pytest.importorskip("grafana_foundation_sdk")
    from tools.dashboards.__main__ import made

    assert made() == {path.name: path.read_text("utf-8") for path in GRAFANA}, "python -m tools.dashboards"


def test_the_wheel_carries_the_runbooks_of_docs():
    assert {path.name: path.read_text("utf-8") for path in (FILES / "runbooks").glob("*.md")} == {
        path.name: path.read_text("utf-8") for path in (ROOT / "docs" / "runbooks").glob("*.md")
    }


def test_variables_and_links():
    for path in GRAFANA:
        page = json.loads(path.read_text("utf-8"))
        names = [variable["name"] for variable in page["templating"]["list"]]
        assert names[:2] == ["datasource", "ledger"]
        assert names[-1] == "page"
        if "fleet" not in path.name:
            assert {"prompt", "stream"} <= set(names)
        assert {"PromptGuard", "Local page"} <= {link["title"] for link in page["links"]}
    overview = json.loads((FILES / "grafana" / "promptguard-overview.json").read_text("utf-8"))
    (state,) = [panel for panel in overview["panels"] if panel["title"] == "State"]
    links = {link["title"]: link["url"] for link in state["fieldConfig"]["defaults"]["links"]}
    assert links["On the local page"].startswith("${page}/prompt?group=")
    assert links["This prompt"].startswith("/d/promptguard-prompt?")
    one = json.loads((FILES / "grafana" / "promptguard-prompt.json").read_text("utf-8"))
    assert "Traces" in {link["title"] for link in one["links"]}
    assert len({json.loads(path.read_text("utf-8"))["uid"] for path in GRAFANA}) == len(GRAFANA) == 3


def quick(expr: str) -> str:
    for variable, value in QUICK.items():
        expr = expr.replace(variable, value)
    assert "$" not in expr
    return expr


@pytest.mark.timeout(180)
def test_every_query_finds_series(stack):
    def missing():
        return [param.id for param in queries() if len(stack.series(quick(param.values[0]))) < 1]

    def states():
        query = quick(next(param.values[0] for param in queries() if "State" in param.id))
        return {each["value"][1] for each in stack.series(query)}

    stack.tell_app("calls 10")
    try:
        stack.wait(lambda: not missing() and "4" in states(), 120.0)  # 4 is drift
    except AssertionError:
        raise AssertionError(f"without a series: {missing()}; states: {states()}") from None
    assert len(list(queries())) >= 25
    assert states() <= {"1", "2", "3", "4"}
    assert not stack.series("promptguard_no_such_metric"), "a mistyped name would be seen"
