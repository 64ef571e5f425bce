"""A rollout in several processes at once: one version a unit in all of them, one judge, and what happens when one dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.cache.replies import until
from tests.rollout.conftest import GUARD, main_ok, shown, told

pytestmark = pytest.mark.sdk

# Calls units that it is told, one a line, and says which version each had and whether its call went well.
WORKER = """
import os, sys
import promptguard
from openai import OpenAI

library = promptguard.prompts("prompts")
client = promptguard.wrap(OpenAI(base_url=sys.argv[1], api_key="k", max_retries=0))
if len(sys.argv) > 2 and os.fork():  # as servers do that begin before they fork
    os.wait()
    os._exit(0)
print("ready", flush=True)
for line in sys.stdin:
    unit = line.strip()
    call = library.render("triage@production", unit=unit, ticket=f"ticket of {unit}")
    client.chat.completions.create(model="gpt-4", messages=call.messages)
    print(call.version, flush=True)
promptguard.flush(10)
client.close()
"""


class Worker:
    """One process that makes calls."""

    def __init__(self, place, provider, *more):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, provider.url, *more], cwd=place, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, unit):
        print(unit, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def versions(self, units):
        return {unit: self.ask(unit) for unit in units}

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(60)


@pytest.fixture
def workers(place, provider):
    found = []

    def begin(count, *more):
        found.extend(Worker(place, provider, *more) for _ in range(count))
        return found[-count:]

    yield begin
    for each in found:
        if each.process.poll() is None:
            each.process.kill()
            each.end()


def mixed(worker, units):
    return set(worker.versions(units).values()) == {"triage@3", "triage@4"}


def test_three_processes_give_a_unit_one_version_and_go_back_together(place, provider, workers, capsys):
    provider.models["gpt-4"] = lambda _: "a bug"
    three = workers(3)
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100", "--least-pairs", "1000")
    units = [f"user {number}" for number in range(12)]
    for worker in three:
        until(lambda worker=worker: mixed(worker, units))
    first, *others = [worker.versions(units) for worker in three]
    assert all(other == first for other in others)
    until(lambda: sum(_units(capsys).values()) == len(units))  # of one unit one outcome, whoever had it
    provider.models["gpt-4"] = lambda question: (
        "what?" if "File" in json.dumps(question.messages) else "a bug"
    )
    worse = [f"later {number}" for number in range(40)]
    for number, unit in enumerate(worse):
        three[number % 3].ask(unit)
    until(lambda: told(capsys, "rollout", "status", "1")[0]["state"] == "rolled_back")
    for worker in three:
        until(lambda worker=worker: set(worker.versions(units).values()) == {"triage@3"})
    assert [step["kind"] for step in told(capsys, "rollout", "history")] == ["start", "rollback"]
    assert [worker.end() for worker in three] == [0, 0, 0]


def _units(capsys):
    return told(capsys, "rollout", "status", "1")[0]["evidence"]["outcomes"]


def test_a_step_reaches_a_running_process_within_two_seconds(place, workers, capsys):
    (worker,) = workers(1)
    units = [f"user {number}" for number in range(12)]
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100", "--least-pairs", "1000")
    until(lambda: mixed(worker, units))
    took = []
    for number in range(1, 4):
        main_ok("rollout", "abort", str(number))
        began = time.monotonic()
        until(lambda: set(worker.versions(units).values()) == {"triage@3"})
        took.append(time.monotonic() - began)
        main_ok(
            "rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100", "--least-pairs", "1000"
        )
        until(lambda: mixed(worker, units))
    assert min(took) < 2.0  # the slowest is whatever else the machine does


@pytest.mark.slow  # the judge's lease has to end
def test_where_the_judge_is_killed_another_goes_on(place, provider, workers, capsys):
    provider.models["gpt-4"] = lambda _: "a bug"
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100", "--least-pairs", "1000")
    judge, other = workers(2)
    for number in range(12):
        judge.ask(f"user {number}")
    until(lambda: sum(_units(capsys).values()) == 12)
    judge.process.send_signal(signal.SIGKILL)
    judge.end()
    provider.models["gpt-4"] = lambda question: (
        "what?" if "File" in json.dumps(question.messages) else "a bug"
    )
    for number in range(40):
        other.ask(f"later {number}")
    until(lambda: told(capsys, "rollout", "status", "1")[0]["state"] == "rolled_back")
    assert set(other.versions([f"user {number}" for number in range(12)]).values()) == {"triage@3"}
    assert "usable is worse" in shown(capsys, "rollout", "status")


def test_a_forked_child_goes_on_as_its_parent_began(place, provider, workers, capsys):
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100", "--least-pairs", "1000")
    (child,) = workers(1, "fork")
    units = [f"user {number}" for number in range(60)]
    assert mixed(child, units[:12])  # from its first call on
    for unit in units[12:]:
        child.ask(unit)
    until(lambda: told(capsys, "rollout", "status", "1")[0]["state"] == "rolled_back")
    assert child.end() == 0
