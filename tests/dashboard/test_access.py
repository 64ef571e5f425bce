"""Who is let in, and that nothing but reading is answered."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from promptguard.dashboard.access import access_for, host_name
from tests.dashboard.conftest import Site, serving

pytestmark = pytest.mark.sdk
PAGES = (
    "/",
    "/prompt?group=x",
    "/pairs",
    "/pair?id=1",
    "/prompts",
    "/identities",
    "/cost",
    "/unmeasured",
    "/actions",
    "/state",
)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "127.0.0.2", "localhost."])
def test_names_of_this_machine_are_known(site: Site, name: str) -> None:
    assert site.ask("/", hosts=(f"{name}:{site.port}",)).status == 200


@pytest.mark.parametrize(
    "hosts",
    [
        ("evil.example",), ("127.0.0.1.evil.example",), ("localhost.evil.example",), ("evil.example:80",), ("10.0.0.5",),
        ("localhost@evil.example",), ("evil.example#localhost",), ("localhost:80:80",), ("",), (),
        ("localhost", "evil.example"),
        ("127.0.0.1, evil.example",), ("0x7f.1",), ("2130706433",), ("[::ffff:10.0.0.1]",), ("localhost:port",),
    ],
)  # fmt: skip
def test_other_names_are_refused(site: Site, hosts: tuple[str, ...]) -> None:
    answer = site.ask("/", hosts=hosts)
    assert answer.status in {400, 421}
    assert "gpt-4" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_nothing_but_reading_is_answered(site: Site, method: str) -> None:
    for origin in (
        "https://evil.example",
        "null",
        "http://127.0.0.1:1",
        f"http://127.0.0.1.evil.example:{site.port}",
    ):
        assert site.ask("/", method, Origin=origin).status == 403
    assert site.ask("/", method).status == 403
    assert site.ask("/", method, Origin=site.base).status == 405


TRAVERSALS = (
    "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/%2e%2e%2fapp.py", "/static/....//app.py",
    "/static/..\\app.py", "/static/..%5capp.py", "/static//etc/passwd", "/static/%2fetc%2fpasswd",
    "/static/style.css%00.py",
    "/static/", "/static", "/../../../../etc/passwd", "//etc/passwd", "/static/style.css/../../app.py", "/ledger.sqlite3",
    "/static/.%2e/.%2e/ledger.sqlite3", "/static/%252e%252e/app.py", "/static/page.js/..;/app.py",
)  # fmt: skip


@pytest.mark.parametrize("target", TRAVERSALS)
def test_no_path_leads_out(site: Site, target: str) -> None:
    answer = site.ask(target)
    assert answer.status in {400, 404}
    assert not re.search(r"root:|import |SQLite format", answer.text)


@pytest.mark.parametrize("target", [*PAGES, "/nope", "/static/style.css", "/static/nope"])
def test_every_answer_keeps_scripts_of_others_out(site: Site, target: str) -> None:
    headers = site.ask(target).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_refusals_have_the_headers_as_well(site: Site) -> None:
    for answer in (
        site.ask("/", hosts=("evil.example",)),
        site.ask("/", "POST", Origin="https://evil.example"),
    ):
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_no_page_has_a_script_or_style_of_its_own(site: Site) -> None:
    for target in PAGES:
        text = site.ask(target).text
        assert "<style" not in text
        assert not re.search(r"<[^>]+\s(?:style|on\w+)\s*=", text)
        for script in re.findall(r"<script[^>]*>", text):
            assert re.fullmatch(r'<script defer src="/static/page\.js\?\w+">', script)


def test_the_ledger_is_not_written_to(site: Site) -> None:
    def digest() -> str:
        return hashlib.sha256((site.ledger / "ledger.sqlite3").read_bytes()).hexdigest()

    before = digest(), {path.name for path in site.ledger.iterdir()}
    for target in PAGES:
        site.ask(target)
    assert digest() == before[0]
    # SQLite makes its index of the write-ahead log to read it
    assert {path.name for path in site.ledger.iterdir()} - before[1] <= {
        "ledger.sqlite3-shm",
        "ledger.sqlite3-wal",
    }


TOKEN = "a-token-of-this-test"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - as a name: the tests bind to loopback


def test_a_token_is_asked_for(recorded) -> None:
    with serving(recorded.path, TOKEN, host=EVERYWHERE) as site:
        for target in PAGES:
            answer = site.ask(target)
            assert answer.status == 401
            assert "gpt-4" not in answer.text
        for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", "%00", "%F0%9F"):
            assert site.ask(f"/?token={wrong}").status == 401
            assert site.ask("/", Authorization=f"Bearer {wrong}").status == 401
            assert site.ask("/", Cookie=f"promptguard_{site.port}={wrong}").status == 401
        assert site.ask("/", Authorization=f"Bearer {TOKEN}").status == 200
        entered = site.ask(f"/pairs?token={TOKEN}&show=all")
        assert (entered.status, entered.headers["location"]) == (303, "/pairs?show=all")
        cookie = entered.headers["set-cookie"]
        assert "httponly" in cookie.lower()
        assert "samesite=strict" in cookie.lower()
        assert site.ask("/", Cookie=cookie.partition(";")[0]).status == 200
        assert (
            site.ask("/", "POST", Cookie=cookie.partition(";")[0], Origin="https://evil.example").status
            == 403
        )


def test_the_token_does_not_lead_to_another_site(recorded) -> None:
    with serving(recorded.path, TOKEN) as site:
        for target in (
            f"//evil.example/?token={TOKEN}",
            f"/\\evil.example?token={TOKEN}",
            f"///evil.example?token={TOKEN}",
        ):
            location = site.ask(target).headers.get("location", "/")
            assert re.match(r"/(?![/\\])", location)


def test_beyond_loopback_addresses_are_known_and_foreign_names_are_not() -> None:
    access = access_for(EVERYWHERE, "t", ["board.internal"])
    assert access.knows_host("10.0.0.5:7787")
    assert access.knows_host("board.internal")
    assert not access.knows_host("evil.example")
    assert not access_for("127.0.0.1", "", ()).knows_host("10.0.0.5")


@pytest.mark.parametrize("host", ["a/b", "a b", "a\\b", "[::1", "x" * 10_000 + "@y"])
def test_what_is_no_host_has_no_name(host: str) -> None:
    assert host_name(host) == ""


def test_the_script_and_style_are_small() -> None:
    static = Path(__file__).parents[2] / "src/promptguard/dashboard/static"
    assert sum(path.stat().st_size for path in static.iterdir()) < 40_000
