"""What is asked for wrongly, or is not there any more, is a page that says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.dashboard.conftest import Site, serving

pytestmark = pytest.mark.sdk


def test_a_ledger_that_goes_and_comes_back(recorded, tmp_path: Path) -> None:
    place = tmp_path / "ledger"
    shutil.copytree(recorded.path, place)
    with serving(place) as site:
        assert site.ask("/").status == 200
        place.rename(tmp_path / "away")
        for target in ("/", "/pairs", "/prompt?group=x", "/cost"):
            gone = site.ask(target)
            assert gone.status == 503
            assert "no ledger here" in gone.text
        assert site.ask("/state").text == "none"
        (tmp_path / "away").rename(place)
        assert site.ask("/").status == 200


@pytest.mark.parametrize(
    "target",
    ["/prompt", "/prompt?group=", "/prompt?group=nobody", "/pair", "/pair?id=0", "/pair?id=99999999"],
)
def test_what_is_not_there_is_said(site: Site, target: str) -> None:
    answer = site.ask(target)
    assert answer.status == 404
    assert "Not in this ledger" in answer.text


@pytest.mark.parametrize("wrong", ["-1", "x", "1e9", "9" * 30, "%F0%9F", "²", "%00", "1;2"])
def test_numbers_that_are_none_are_passed_over(site: Site, wrong: str) -> None:
    from urllib.parse import quote

    value = quote(wrong, safe="%")
    for target in (
        f"/?page={value}",
        f"/pairs?page={value}&before={value}&show={value}&order={value}&stream={value}",
    ):
        assert site.ask(target).status == 200
    assert site.ask(f"/pair?id={value}").status == 404


def test_heads_are_answered_without_a_body(site: Site) -> None:
    answer = site.ask("/", "HEAD")
    assert (answer.status, answer.text) == (200, "")
