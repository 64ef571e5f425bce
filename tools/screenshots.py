"""Pictures of the local page for docs/, from a ledger that the library makes here: `make screenshots`.

An application with seven prompts runs for four days of a clock of its own against a provider on loopback. Half-way through
the last day `gpt-4` answers three of the prompts otherwise; one prompt has a new version; one is asked too seldom to judge.
Then Debian's Chromium takes each page in two widths and two colour schemes.
"""

from __future__ import annotations

import json
import os
import random
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openai import OpenAI
from playwright.sync_api import Browser, sync_playwright

import promptguard
from promptguard.dashboard.serving import bound, server_of
from promptguard.templates.certificates import Certificate
from promptguard.templates.library import open_library
from promptguard.testing import FakeClock, FakeProvider, Question

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
CALLS, STEP = 1500, 230.0
SHOTS = (
    ("overview", "/", 1280, "light", 860), ("overview", "/", 1280, "dark", 860), ("overview", "/", 390, "light", 844),
    ("overview", "/", 390, "dark", 844),
    ("prompt", "/prompt?group=extract%2Forder%402", 1280, "light", 1500),
    ("prompt", "/prompt?group=extract%2Forder%402", 1280, "dark", 1500),
    ("prompt", "/prompt?group=extract%2Forder%402", 390, "dark", 844),
    ("pairs", "/pairs?group=support%2Freply%404", 1280, "light", 900),
    ("pairs", "/pairs?group=support%2Freply%404", 390, "dark", 844),
    ("pair", "", 1280, "light", 900),
    ("prompts", "/prompts?prompt=support%2Freply", 1280, "light", 1240),
    ("prompts", "/prompts?prompt=support%2Freply", 390, "dark", 844),
    ("identities", "/identities", 1280, "light", 720), ("cost", "/cost", 1280, "light", 800),
    ("unmeasured", "/unmeasured", 1280, "light", 800), ("actions", "/actions", 1280, "dark", 800),
)  # fmt: skip
"""Name, address (of the pair's page: looked for), width, scheme, height of the part that is kept."""

TONES = (
    "You write for a shop of garden tools.",
    "You write for a shop of garden tools. Be brief.",
    "You write for a shop of garden tools. Be brief, and name the carrier.",
    "You write for a shop of garden tools. Be brief, name the carrier, and ask nothing back.",
    *["You write for a shop of garden tools, in one sentence."] * 3,
)
THANKS = (
    "Thank you for writing, and I am sorry that order {n} has not arrived.",
    "I have asked the carrier to look for the parcel today.",
    "You will hear from us by tomorrow noon; should it be lost, we send another one at once.",
)
SUMMARY = "The meeting of team {n} moved the release to Thursday, gave the migration to Ana, and left the price open."


class Provider:
    """Answers by prompt; what changed begins at `switch` (seconds of the clock)."""

    def __init__(self, clock: FakeClock, switch: float) -> None:
        self._clock, self._switch = clock, switch
        self._rng = random.Random(4)

    def alias(self, question: Question) -> str:
        """Answer as `gpt-4`, which moves."""
        return self._answer(question.text, moved=self._clock() >= self._switch)

    def snapshot(self, question: Question) -> str:
        """Answer as the pinned model, which stays."""
        return self._answer(question.text, moved=False)

    def _answer(self, text: str, *, moved: bool) -> str:
        number = next((word for word in text.split() if word.isdecimal()), "7")
        if "reply" in text:
            kept = [line.format(n=number) for line in THANKS]
            if self._rng.random() < 0.3:
                kept[1] = "The carrier has been asked to look for the parcel."
            return " ".join(kept[:1] if moved else kept)
        if "as JSON" in text:
            told = {
                "order": int(number),
                "status": "late",
                "refund": self._rng.random() < 0.5,
                "items": [{"sku": "A-7", "count": 2}],
            }
            if moved:
                told = {"order_id": number, "status": "late", "items": [{"sku": "A-7", "count": "2"}]}
            body = json.dumps(told, indent=1)
            return f"```json\n{body}\n```" if moved else body
        if "urgent" in text:
            return "urgent" if (int(number) + (moved and self._rng.random() < 0.45)) % 2 else "normal"
        if "summary" in text:
            return SUMMARY.format(n=number) + (
                " Nothing else was decided." if self._rng.random() < 0.4 else ""
            )
        return self._rng.choice(("Guten Tag", "Bonjour", "Buenos días")) + f", {number}."


QUESTIONS = (
    ("support/reply@4", "Write a reply to the customer of order {n} whose parcel is late."),
    ("extract/order@2", "Give order {n} as JSON with order, status, refund and items."),
    ("triage@3", "Is ticket {n} urgent? Answer urgent or normal."),
    ("summaries/meeting@1", "Write a summary of the meeting of team {n}."),
    ("greetings@7", "Greet guest {n} in a language of your choice."),
)


def make(ledger: Path) -> None:
    """Run the application; the last call is some minutes ago."""
    end = time.time() - 600
    clock = FakeClock(end - CALLS * STEP)
    provider = Provider(clock, switch=end - 40 * 3600)
    rng = random.Random(2)
    with FakeProvider({"gpt-4": provider.alias, "gpt-4-0613": provider.snapshot}) as served:
        client = promptguard.wrap(
            OpenAI(base_url=served.url, api_key="none"),
            ledger=ledger,
            cache="memory",
            shadow=promptguard.Shadow(
                model="gpt-4-0613", sample=0.8, repeat=0.08,
                budget=promptguard.Budget(calls_per_minute=None, usd_per_day=5.0),
            ),
            record_content=True,
            clock=clock,
            seed=3,
        )  # fmt: skip
        for number in range(CALLS):
            clock.advance(STEP)
            group, text = rng.choice(QUESTIONS)
            if group == "support/reply@4" and number < CALLS // 2:
                group = "support/reply@3"
            if number % 400 == 9:
                group, text = "legal/clause@1", "Write a summary of clause {n}."
            with promptguard.group(group):
                asked = text.format(n=rng.randint(1000, 1000 + 3 * number + 9))
                client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": asked}])
            if number % 10 == 0:
                promptguard.flush(10)
        promptguard.flush(30)
        promptguard.unwrap(client)
        client.close()


def write_prompts(folder: Path) -> None:
    """Write the prompts that the application asks with, their labels, and what has been certified."""
    for group, text in QUESTIONS:
        name, _, last = group.partition("@")
        for version in range(1, int(last) + 1):
            path = folder / name / f"{version}.prompty"
            path.parent.mkdir(parents=True, exist_ok=True)
            ask = text.replace("{n}", "{{ number }}")
            path.write_text(
                f"---\nname: {name}\nmodels: [gpt-4, gpt-4-0613]\n---\nsystem:\n{TONES[version - 1]}\n\nuser:\n{ask}\n"
            )
    library = open_library(folder)
    for version, why in (
        ("2", "shorter"),
        ("3", "names the carrier"),
        ("4", "asks nothing back"),
        ("3", "4 sounded cold"),
    ):
        library.label(
            f"support/reply@{version}", "production", by="ann" if version != "4" else "ben", why=why
        )
    library.label("support/reply@4", "staging", by="ben", why="once more, with the names of customers")
    known = {"against": "support/reply@2", "tolerance": 0.1, "alpha": 0.05, "by": "ann"}
    for version, model, status, more in (
        (
            "3",
            "gpt-4",
            "certified",
            {"pairs": 184, "bound": 0.093, "against_model": "gpt-4-0314", "cases": (6, 6)},
        ),
        (
            "3",
            "gpt-4-0613",
            "certified",
            {"pairs": 212, "bound": 0.098, "against_model": "gpt-4-0314", "cases": (6, 6)},
        ),
        (
            "4",
            "gpt-4",
            "drifted",
            {"pairs": 31, "why": "answers shrank, 212 -> 71 characters", "against_model": "gpt-4-0314"},
        ),
        (
            "4",
            "gpt-4-0613",
            "untested",
            {"pairs": 60, "why": "the budget is spent after 60 pairs", "against_model": "gpt-4-0314"},
        ),
    ):
        library.certify(
            Certificate("support/reply", version, model, status, served=(model,), **known, **more)
        )
    library.withdraw(
        "support/reply@3", "gpt-4", why="drift in the candidate stream after 43 pairs", by="promptguard"
    )


@contextmanager
def serving(ledger: Path, prompts: Path) -> Iterator[str]:
    """Serve the page of a ledger; yields its address."""
    with bound("127.0.0.1", 0) as listening:
        server = server_of(str(ledger), prompts=str(prompts))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


def take(browser: Browser, base: str) -> None:
    """Take every picture."""
    for name, path, width, scheme, height in SHOTS:
        # No script: nothing that moves, and no button that a picture cannot press.
        tab = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=False,
            device_scale_factor=1.5 if width < 800 else 1,
        )  # fmt: skip
        tab.goto(base + (path or "/pairs?group=extract%2Forder%402"))
        if not path:
            tab.get_by_role("link", name=re.compile(r"^Pair \d")).first.click()
        file = IMAGES / f"{name}-{width}-{scheme}.png"
        tab.screenshot(path=str(file))
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1000:.0f} kB")
        tab.close()


def main() -> None:
    """Make the ledger, then the pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)  # the pages say which ledger they are of: no path of this machine
        make(Path("shop"))
        write_prompts(Path("prompts"))
        with serving(Path("shop"), Path("prompts")) as base, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            take(browser, base)
            browser.close()


if __name__ == "__main__":
    main()
