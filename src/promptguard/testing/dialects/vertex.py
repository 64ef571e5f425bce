"""Anthropic's messages through Vertex AI: the model is named in the URL, everything else is Anthropic's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from promptguard.testing.dialects import anthropic
from promptguard.testing.dialects.parts import Asked, turns_of

STREAM_TYPE = anthropic.STREAM_TYPE
_PATH = re.compile(r".*/publishers/anthropic/models/([^/:?]+):(rawPredict|streamRawPredict)(?:\?.*)?")

error = anthropic.error
plain = anthropic.plain
streamed = anthropic.streamed


def speaks(path: str) -> bool:
    """Whether this dialect is spoken at `path`."""
    return _PATH.fullmatch(path) is not None


def asked(path: str, body: Mapping[str, object]) -> Asked:
    """Read a request. Raises KeyError or TypeError for what is none."""
    found = _PATH.fullmatch(path)
    if found is None or not isinstance(body["anthropic_version"], str):
        raise KeyError(path)
    return Asked(unquote(found[1]), turns_of(body["messages"]), found[2] == "streamRawPredict", body)
