"""The rules that are shipped: right by promtool, and an alert of theirs goes all the way to a webhook."""

from __future__ import annotations

import re
import signal
import subprocess

import pytest
import yaml

from tests.monitoring.conftest import FILES, PROMTOOL, RULES, needs

TESTS = FILES.parents[3] / "tests" / "monitoring" / "rules_test.yml"


def test_promtool_takes_them():
    needs(PROMTOOL)
    done = subprocess.run(
        [PROMTOOL, "check", "rules", "--lint-fatal", str(RULES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_not_otherwise(tmp_path):
    needs(PROMTOOL)
    tests = tmp_path / "rules_test.yml"
    tests.write_text(TESTS.read_text("utf-8").replace("[RULES]", f"[{RULES}]"), "utf-8")
    done = subprocess.run(
        [PROMTOOL, "test", "rules", str(tests)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def test_every_alert_has_a_runbook_and_a_test():
    tested = TESTS.read_text("utf-8")
    alerts = [rule for rule in rules() if "alert" in rule]
    assert {rule["alert"] for rule in alerts} >= {
        "PromptGuardDrift", "PromptGuardUnmeasured", "PromptGuardBudgetSpent", "PromptGuardEvaluatorMissing",
        "PromptGuardEndpointUnstable",
    }  # fmt: skip
    for rule in alerts:
        assert (FILES / rule["annotations"]["runbook_url"]).is_file()
        assert f"alertname: {rule['alert']}\n" in tested


def test_metrics_are_those_that_are_exported():
    from promptguard.telemetry import semconv

    suffix = {"s": "_seconds"}
    known = {
        each.name.replace(".", "_") + suffix.get(each.unit, "") + ("_total" if "counter" in each.kind else "")
        for each in semconv.METRICS.values()
    }
    used = {
        name
        for rule in rules()
        for name in re.findall(r"\bpromptguard_[a-z0-9_]+(?=[{\[) ]|$)", rule["expr"])
    }
    used -= {"promptguard_ledger", "promptguard_stream", "promptguard_status", "promptguard_purpose"}
    assert len(used) >= 6
    assert used <= known, used - known


@pytest.mark.timeout(240)
def test_an_alert_goes_through_alertmanager_to_a_webhook(stack):
    """A prompt drifts; the application is killed and started again; the alarm is acknowledged."""

    def told(status):
        return [
            each.told
            for each in list(stack.receiver.got)
            if each.told["status"] == status
            and each.told["groupLabels"].get("alertname") == "PromptGuardDrift"
        ]

    stack.wait(lambda: told("firing"))
    (first, *_) = told("firing")
    assert first["commonLabels"]["promptguard_ledger"] == "shop"
    assert {each["labels"]["gen_ai_prompt_name"] for each in first["alerts"]} <= {"triage", "sort", "(all)"}
    assert first["commonAnnotations"]["runbook_url"] == "runbooks/drift.md"
    before = len(told("firing"))
    stack.app.send_signal(signal.SIGKILL)
    stack.app.communicate()
    stack.start_app()
    stack.wait(lambda: stack.series('promptguard_drift_status{promptguard_status="drift"} == 1'))
    assert not told("resolved"), "a restart in between loses nothing"
    assert len(told("firing")) <= before + 1, "and tells nothing anew, but for a prompt that came later"
    assert stack.series('ALERTS{alertname="PromptGuardDrift", alertstate="firing"}')
    stack.tell_app("acknowledge")
    stack.wait(lambda: told("resolved"), 90.0)
