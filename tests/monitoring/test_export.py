"""`promptguard dashboards export DIR` writes what the wheel carries."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml

from promptguard.cli import main
from tests.monitoring.conftest import PROMTOOL, needs


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["dashboards", "export", *map(str, arguments)])
    return ended.value.code


def test_everything_is_written(tmp_path, capsys):
    assert run(tmp_path / "new" / "dir", "--json") == 0
    written = json.loads(capsys.readouterr().out)["written"]
    found = sorted(str(path) for path in (tmp_path / "new").rglob("*") if path.is_file())
    assert written == found
    names = {path.rsplit("/", 2)[1] + "/" + path.rsplit("/", 1)[1] for path in written}
    assert names >= {
        "grafana/promptguard-overview.json", "grafana/promptguard-prompt.json", "grafana/promptguard-fleet.json",
        "prometheus/promptguard.rules.yml", "runbooks/drift.md",
    }  # fmt: skip
    assert run(tmp_path / "new" / "dir") == 0, "again, over itself"


def test_runbooks_can_be_somewhere_else(tmp_path):
    assert run(tmp_path, "--runbooks", "https://wiki.example.com/pg/") == 0
    rules = tmp_path / "prometheus" / "promptguard.rules.yml"
    found = [
        rule["annotations"]["runbook_url"]
        for group in yaml.safe_load(rules.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert found
    assert all(url.startswith("https://wiki.example.com/pg/") and url.endswith(".md") for url in found)
    needs(PROMTOOL)
    assert (
        subprocess.run([PROMTOOL, "check", "rules", str(rules)], capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.parametrize(
    "wrong",
    [
        ("{tmp}/file", ()),
        ("{tmp}/new", ("--runbooks", "wiki")),
        ("~no-such-user-here/x", ()),
        ("", ()),
        ("x" * 300, ()),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(tmp_path, capsys, wrong):
    (tmp_path / "file").write_text("in the way")
    place, more = wrong
    assert run(place.format(tmp=tmp_path), *more) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert told.out == ""
