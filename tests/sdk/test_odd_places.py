"""Ledgers in places that few have: links that loop, and names that are no UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import promptguard
from promptguard.testing import FakeProvider
from tests.conftest import close_backgrounds

pytestmark = pytest.mark.sdk


def ask(place, url, wait=20.0, **options):
    from openai import OpenAI

    client = promptguard.wrap(OpenAI(base_url=url, api_key="k"), ledger=place, **options)
    try:
        answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        return answer.choices[0].message.content, promptguard.flush(wait)
    finally:
        promptguard.unwrap(client)
        client.close()
        close_backgrounds()


SHADOW = promptguard.Shadow("other", sample=1.0, repeat=0.0)


@pytest.mark.parametrize(
    "options", [{}, {"cache": "disk"}, {"shadow": SHADOW}], ids=["plain", "cache", "shadow"]
)
@pytest.mark.parametrize("inside", ["", "ledger"])
def test_a_link_that_loops_stops_no_application(tmp_path, options, inside):
    (tmp_path / "loop").symlink_to("loop")
    with FakeProvider({"m": lambda _: "fine", "other": lambda _: "fine"}) as provider:
        said, _ = ask(tmp_path / "loop" / inside, provider.url, wait=0.5, **options)
    assert said == "fine"


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are UTF-8 here")
def test_a_directory_whose_name_is_no_utf8_is_written_and_read(tmp_path):
    place = os.fsdecode(os.fsencode(tmp_path) + b"/led\xe4ger #1?")
    with FakeProvider({"m": lambda _: "fine", "other": lambda _: "fine"}) as provider:
        assert ask(place, provider.url, cache="disk", shadow=SHADOW) == ("fine", True)
    for command in (["status"], ["report", "-o", str(tmp_path / "report.html")], ["doctor"]):
        done = subprocess.run(
            [sys.executable, "-m", "promptguard", *command, "--ledger", place],
            capture_output=True,
            check=False,
        )
        told = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert done.returncode in {0, 3}, told
        assert "Error" not in told
