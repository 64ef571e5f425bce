"""Alerts of ours through a real Alertmanager (Debian's) to a webhook: fired once, resolved, known after its restart."""

from __future__ import annotations

import subprocess
import time

import pytest

import promptguard
from tests.alerts.process import Process, note
from tests.alerts.receiver import Receiver
from tests.cache.replies import until
from tests.monitoring.conftest import ALERTMANAGER, free_port, needs

CONFIG = """
route: {{receiver: hook, group_by: [promptguard_change], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: hook, webhook_configs: [{{url: "{url}", send_resolved: true}}]}}]
"""


@pytest.fixture
def alertmanager(tmp_path):
    needs(ALERTMANAGER)
    with Receiver() as receiver:
        config, port = tmp_path / "alertmanager.yml", free_port()
        config.write_text(CONFIG.format(url=receiver.url))
        running = []

        def start():
            running.append(
                subprocess.Popen(
                    [
                        ALERTMANAGER,
                        f"--config.file={config}",
                        f"--storage.path={tmp_path / 'am'}",
                        f"--web.listen-address=127.0.0.1:{port}",
                        "--cluster.listen-address=",
                    ],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )

        def kill():
            running[-1].kill()
            running[-1].wait()

        yield receiver, f"http://127.0.0.1:{port}", start, kill
        kill()


class Clock:
    later = 0.0

    def __call__(self):
        return time.time() + self.later


@pytest.mark.timeout(180)
def test_a_change_arrives_once_and_is_resolved(tmp_path, alertmanager):
    receiver, url, start, kill = alertmanager
    clock = Clock()
    one = Process(tmp_path / "shop", clock, promptguard.Alertmanager(url, allow_private=True))
    for group in ("triage@3", "sort@1"):
        note(one.ledger, "alarm", group, at=time.time())
    one.turn(hurry=True)
    assert not receiver.got, "it is down"
    start()

    def told(status):
        one.turn(hurry=True)
        return [each.told for each in receiver.got if each.told["status"] == status]

    def whole():
        # An alert that is older than `group_wait` when it comes is told at once, and those beside it a moment later.
        return [each for each in told("firing") if len(each["alerts"]) == 2]

    until(whole, 60.0)
    first, before = whole()[0], len(told("firing"))
    assert before <= 2
    assert first["groupLabels"]["promptguard_change"].startswith("pg-")
    assert sorted(each["labels"]["gen_ai_prompt_name"] for each in first["alerts"]) == ["sort", "triage"]
    assert "promptguard acknowledge" in first["commonAnnotations"]["undo"]
    kill()  # it forgets what stands
    start()
    clock.later += promptguard.Alertmanager.RESEND_SECONDS + 1
    until(lambda: len(told("firing")) > before, 60.0)  # it has forgotten that it told
    for group in ("triage@3", "sort@1"):
        note(one.ledger, "acknowledge", group, at=time.time())
    until(lambda: told("resolved"), 60.0)
    assert len(told("firing")) <= before + 3, (
        "told anew after a restart, and when one of two is over, but not again and again"
    )
    assert len({each["groupLabels"]["promptguard_change"] for each in told("firing")}) == 1
    assert {each["status"] for each in told("resolved")[0]["alerts"]} == {"resolved"}
