"""What you need to test an application that uses PromptGuard: a provider on loopback that answers as told, and a clock.

Both are real: the provider is an HTTP server that the real SDKs talk to, the clock is a callable for `wrap(clock=...)`.
"""

from promptguard.testing.clock import FakeClock
from promptguard.testing.provider import FakeProvider, Fault, Question, Received, Served

__all__ = ["FakeClock", "FakeProvider", "Fault", "Question", "Received", "Served"]
