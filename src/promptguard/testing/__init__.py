"""What you need to test an application that uses PromptGuard: a provider and a proxy on loopback, and a clock.

All are real: provider and proxy are HTTP servers that the real SDKs talk to, the clock is a callable for
`wrap(clock=...)`. A mock transport cannot be built again for background calls: give `Shadow(client=...)` a function that
returns a client with a mock of its own, or use the provider.
"""

from promptguard.testing.clock import FakeClock
from promptguard.testing.provider import FakeProvider, Fault, Question, Received, Served
from promptguard.testing.proxy import ForwardProxy

__all__ = ["FakeClock", "FakeProvider", "Fault", "ForwardProxy", "Question", "Received", "Served"]
