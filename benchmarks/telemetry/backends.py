"""Phoenix and MLflow show the name and version of a prompt, and each call once: asked through their own APIs.

python -m benchmarks.telemetry.backends [--phoenix VENV] [--mlflow VENV]

Runs in an environment with an OTLP exporter; the servers are started from environments of their own and ended. Prints
what each says of one call, one hit and one shadow call. Exit code 1 where one says something else.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

START_SECONDS = 240.0
_MLFLOW = """
import json, sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
traces = mlflow.search_traces(experiment_ids=["0"], return_type="list")
print(json.dumps([[{"name": s.name, "attributes": {k: str(v) for k, v in s.attributes.items()}} for s in t.data.spans]
                  + [{"tokens": t.info.token_usage}] for t in traces]))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server in a process group of its own, ended with all that it has started."""

    def __init__(self, command: list[str | Path], url: str, place: Path, **environment: str) -> None:
        self.url = url
        self._log = (place / "log").open("wb")
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, cwd=place, start_new_session=True,
            env={**os.environ, **environment},
        )  # fmt: skip

    def __enter__(self) -> Server:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(self.url, timeout=5):
                    return self
            except OSError:
                time.sleep(1)
        self.__exit__()
        raise SystemExit(f"{self.url} did not come up: see {self._log.name}")

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._log.close()


def calls(endpoint: str, headers: dict[str, str], backend: str) -> None:
    """Make one call of a prompt, one that the cache answers, and one shadow call; exported to `endpoint`."""
    code = Path(__file__).with_name("story.py")
    environment = {**os.environ, "PROMPTGUARD_TELEMETRY_FOR": backend}
    subprocess.run(
        [sys.executable, code, endpoint, json.dumps(headers)], check=True, env=environment, timeout=120
    )


def phoenix(venv: Path, place: Path) -> list[str]:
    port, grpc = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "PHOENIX_WORKING_DIR": str(place), "PHOENIX_PORT": str(port), "PHOENIX_GRPC_PORT": str(grpc),
        "PHOENIX_HOST": "127.0.0.1", "PHOENIX_TELEMETRY_ENABLED": "false",
    }  # fmt: skip
    with Server([venv / "bin" / "phoenix", "serve"], url, place, **environment):
        calls(f"{url}/v1/traces", {}, "phoenix")
        spans = _until(lambda: _get(f"{url}/v1/projects/default/spans?limit=100")["data"], 2)
    shown = [(span["name"], span["span_kind"], span["attributes"]) for span in spans]
    for name, kind, attributes in shown:
        prompt = {key: value for key, value in attributes.items() if "prompt" in key and "token" not in key}
        print(f"  phoenix: {name} ({kind}) tokens {attributes.get('llm.token_count.total')} {prompt}")
    models = [name for name, kind, _ in shown if kind == "LLM"]
    own = next((attributes for name, _, attributes in shown if name == "chat gpt-4"), {})
    return _wrong(models, str(own))


def mlflow(venv: Path, place: Path) -> list[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command: list[str | Path] = [
        venv / "bin" / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{place}/mlflow.db",
    ]  # fmt: skip
    environment = {"PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with Server(command, f"{url}/health", place, **environment):
        calls(f"{url}/v1/traces", {"x-mlflow-experiment-id": "0"}, "mlflow")
        asked = [venv / "bin" / "python", "-c", _MLFLOW, url]

        def traces() -> list[Any]:
            done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=120)
            found: list[Any] = json.loads(done.stdout.strip().splitlines()[-1])
            return found

        found = _until(traces, 2)
    spans = [span for trace in found for span in trace if "name" in span]
    for trace in found:
        for span in trace[:-1]:
            prompt = {key: value for key, value in span["attributes"].items() if "prompt" in key.lower()}
            print(f"  mlflow: {span['name']} tokens {trace[-1]['tokens']} {prompt}")
    own = next((span["attributes"] for span in spans if span["name"] == "chat gpt-4"), {})
    return _wrong([span["name"] for span in spans], str(own))


def _wrong(models: list[str], own: str) -> list[str]:
    found = []
    if sorted(models) != ["chat gpt-4", "chat other"]:
        found.append(f"calls shown: {sorted(models)}")
    if "greet" not in own or "3" not in own:
        found.append("prompt name or version is not shown")
    if "canary" in own:
        found.append("the prompt's text is shown")
    return found


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.loads(answer.read())


def _until(read: Any, count: int) -> list[Any]:
    """Return what `read` gives once there are `count`, and a little later, so that one too many is seen as well."""
    until = time.monotonic() + 60
    while len(read()) < count and time.monotonic() < until:
        time.sleep(1)
    time.sleep(3)
    found: list[Any] = read()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phoenix", type=Path)
    parser.add_argument("--mlflow", type=Path)
    told = parser.parse_args()
    wrong = 0
    for show, venv in ((phoenix, told.phoenix), (mlflow, told.mlflow)):
        if venv is not None:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
                found = show(venv.absolute(), Path(place))
            wrong += len(found)
            print(
                f"{show.__name__}: {'; '.join(found) or 'one span a call, prompt name and version shown, no text'}"
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
