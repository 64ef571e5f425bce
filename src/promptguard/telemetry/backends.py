"""Attributes that make prompt names and versions appear in the prompt views of backends, for those that were asked for.

`PROMPTGUARD_TELEMETRY_FOR=langfuse,datadog`. None of them holds a prompt's text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from promptguard.core.events import CallBegan
from promptguard.core.telemetry_for import Backend
from promptguard.telemetry.attributes import Attributes, prompt_of


def _langfuse(prompt: str, version: str) -> Attributes:
    """https://langfuse.com/integrations/native/opentelemetry: a version that is no whole number is not linked."""
    number = int(version) if version.isdigit() else version
    return {"langfuse.observation.prompt.name": prompt, "langfuse.observation.prompt.version": number}


def _datadog(prompt: str, version: str) -> Attributes:
    """https://docs.datadoghq.com/llm_observability/instrumentation/ (prompt tracking; send dd-otlp-source=llmobs)."""
    return {"_dd.ml_obs.prompt_tracking": json.dumps({"name": prompt, "version": version})}


def _phoenix(prompt: str, version: str) -> Attributes:
    """https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md: it has no name."""
    return {"llm.prompt_template.version": f"{prompt}@{version}", "prompt.id": prompt}


def _mlflow(prompt: str, version: str) -> Attributes:
    """MLflow keeps a trace's prompts as a list of JSON, and shows attributes of spans as they are."""
    return {"mlflow.linkedPrompts": json.dumps([{"name": prompt, "version": version}])}


_OF: Mapping[Backend, Callable[[str, str], Attributes]] = {
    "langfuse": _langfuse,
    "datadog": _datadog,
    "phoenix": _phoenix,
    "mlflow": _mlflow,
}


def attributes_for(backends: Iterable[Backend]) -> Callable[[CallBegan], Attributes]:
    """Return what gives a call the attributes for `backends`; none for a call without a prompt."""
    wanted = [_OF[backend] for backend in backends]

    def of(began: CallBegan) -> Attributes:
        prompt, version = prompt_of(began)
        if prompt is None or version is None:
            return {}
        return {key: value for told in wanted for key, value in told(prompt, version).items()}

    return of if wanted else lambda _began: {}
