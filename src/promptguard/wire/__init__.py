"""One module a protocol: bytes to facts and back.

Rule: pure. A protocol never raises on hostile bytes; what it cannot read is a reading with `complete=False`.
"""

from __future__ import annotations

from types import ModuleType

from promptguard.core.model import Request
from promptguard.wire import openai_chat

PROTOCOLS: tuple[ModuleType, ...] = (openai_chat,)


def recognise(request: Request) -> ModuleType | None:
    """Return the protocol that can read `request`, judged by method and path alone, or None."""
    return next((protocol for protocol in PROTOCOLS if protocol.speaks(request.method, request.path)), None)
