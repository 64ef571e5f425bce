"""The facts of a call in a stored row: whoever asks again, in whatever process, knows them without recognising anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptguard import wire
from promptguard.core.effects import Job
from promptguard.core.model import Facts, PromptReference, Request


def facts_document(job: Job) -> dict[str, object]:
    """Return the members that a stored question has beside the request: protocol, prompt, label rule, reference."""
    prompt = job.prompt
    return {
        "protocol": job.facts.protocol,
        "prompt": prompt and {"name": prompt.name, "version": prompt.version, "digest": prompt.digest},
        "label_rule": dict(prompt.label_rule) if prompt else {},
        "reference": prompt.reference if prompt else None,
    }


def restored_facts(
    question: Mapping[str, Any], request: Request
) -> tuple[Facts | None, PromptReference | None]:
    """Return what a stored question is, and the prompt it was rendered from; (None, None) for what cannot be read.

    Rows of earlier versions hold no facts: what this process rendered lately is recognised, as it was then.
    """
    if "protocol" not in question:
        return _recognised(request)
    facts = wire.named(question["protocol"]).read_request(request)
    kept = question["prompt"]
    if facts is None or kept is None:
        return facts, None
    named = PromptReference(
        kept["name"],
        kept["version"],
        kept["digest"],
        reference=question["reference"],
        label_rule=question["label_rule"],
    )
    return facts, named


def _recognised(request: Request) -> tuple[Facts | None, PromptReference | None]:
    from promptguard.templates.rendered import recognise

    protocol = wire.recognise(request)
    facts = None if protocol is None else protocol.read_request(request)
    return facts, None if facts is None else recognise(facts.messages)
