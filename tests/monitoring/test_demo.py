"""`promptguard demo`, scraped by a real Prometheus while it runs: every panel of every dashboard finds something."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import pytest

from tests.monitoring.conftest import PROMETHEUS, free_port, needs
from tests.monitoring.test_dashboards import queries, quick

DEMO = """
import sys, time
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server
from promptguard.cli import main

metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
start_http_server(int(sys.argv[1]), "127.0.0.1")
try:
    main(["demo"])
finally:
    time.sleep(2)  # once more, by whom it is scraped
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_panel_has_a_series_during_the_demo(tmp_path):
    pytest.importorskip("opentelemetry.exporter.prometheus")
    pytest.importorskip("openai")
    needs(PROMETHEUS)
    app, port = free_port(), free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: demo, static_configs: [{{targets: ['127.0.0.1:{app}']}}]}}]\n"
    )
    prometheus = subprocess.Popen(
        [
            PROMETHEUS,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def series(expr):
        asked = urllib.parse.urlencode({"query": expr, "start": began, "end": ended, "step": 1})
        url = f"http://127.0.0.1:{port}/api/v1/query_range?{asked}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    try:
        began = time.time()
        demo = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", DEMO, str(app)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        ended = time.time()
        assert demo.returncode == 0, demo.stdout + demo.stderr
        assert [param.id for param in queries() if not series(quick(param.values[0]))] == []
    finally:
        prometheus.kill()
        prometheus.communicate()
