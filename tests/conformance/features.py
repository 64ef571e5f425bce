"""What is done with every SDK. A feature takes a `Run` and returns a value; bare and wrapped values must be equal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from tests.conformance.adapter import Adapter, shown

WHERE: ContextVar[str] = ContextVar("conformance_where", default="nowhere")
VOLATILE = frozenset(("date", "x-promptguard-cache", "transfer-encoding", "connection"))


class Run:
    """One feature on one SDK, bare or wrapped: makes clients, remembers them, closes them."""

    def __init__(self, adapter: Adapter, origin: str, wrap: Callable[[Any], Any]) -> None:
        self.adapter = adapter
        self.origin = origin
        self.wrap = wrap

    def with_client(
        self, use: Callable[[Any], Any], make: Callable[..., Any] | None = None, **more: Any
    ) -> Any:
        client = self.wrap((make or self.adapter.client)(self.origin, **more))
        try:
            return use(client)
        finally:
            self.adapter.close(client)

    def with_async_client(self, use: Callable[[Any], Any], **more: Any) -> Any:
        async def main() -> Any:
            client = self.wrap(self.adapter.async_client(self.origin, **more))
            try:
                return await use(client)
            finally:
                await self.adapter.aclose(client)

        return asyncio.run(main())


def sync(run: Run) -> Any:
    return run.with_client(run.adapter.chat)


def asynchronous(run: Run) -> Any:
    return run.with_async_client(run.adapter.achat)


def stream(run: Run) -> Any:
    def use(client: Any) -> Any:
        got = run.adapter.stream(client)
        return type(got), [plain(chunk) for chunk in got]

    return run.with_client(use)


def async_stream(run: Run) -> Any:
    async def use(client: Any) -> Any:
        got = await run.adapter.astream(client)
        return type(got), [plain(chunk) async for chunk in got]

    return run.with_async_client(use)


def plain(chunk: Any) -> Any:
    return shown(chunk) if hasattr(chunk, "model_dump") else repr(chunk)


def tools(run: Run) -> Any:
    return run.with_client(run.adapter.tools)


def structured(run: Run) -> Any:
    return run.with_client(run.adapter.structured)


def raw(run: Run) -> Any:
    def less(value: Any) -> Any:
        return [name for name in value if name not in VOLATILE] if isinstance(value, list) else value

    return run.with_client(lambda client: [less(part) for part in run.adapter.raw(client)])


def with_options(run: Run) -> Any:
    return run.with_client(run.adapter.with_options)


def retries(run: Run) -> Any:
    return run.with_client(lambda client: run.adapter.chat(client, "busy"), run.adapter.retrying)


def raised(call: Callable[[], Any]) -> Any:
    try:
        return "answered", call()
    except Exception as error:
        cause = error.__cause__
        told = re.sub(r"0x[0-9a-f]+|request_id: \S+|'date': '[^']*'", "", str(error))
        return type(error), told, getattr(error, "status_code", getattr(error, "code", None)), type(cause)


def timeout(run: Run) -> Any:
    return run.with_client(
        lambda client: raised(lambda: run.adapter.chat(client, "hang")), run.adapter.impatient
    )


def error_types(run: Run) -> Any:
    models = [f"status-{status}" for status in (400, 401, 403, 404, 422, 429, 500, 503)]

    def use(client: Any) -> Any:
        return [raised(lambda model=model: run.adapter.chat(client, model)) for model in models]

    return run.with_client(use)


def broken_answers(run: Run) -> Any:
    def use(client: Any) -> Any:
        return [
            raised(lambda kind=kind: run.adapter.chat(client, kind)) for kind in ("cut", "refuse", "garbage")
        ]

    return run.with_client(use)


def stream_error(run: Run) -> Any:
    return run.with_client(
        lambda client: raised(lambda: [plain(c) for c in run.adapter.stream(client, "status-429")])
    )


def gzip(run: Run) -> Any:
    def use(client: Any) -> Any:
        return run.adapter.chat(client, "gzip"), [plain(c) for c in run.adapter.stream(client, "gzip")]

    return run.with_client(use)


def early_close(run: Run) -> Any:
    def use(client: Any) -> Any:
        got = run.adapter.stream(client, "slow")
        first = plain(next(iter(got)))
        run.adapter.close_stream(got)
        return first, run.adapter.chat(client)

    return run.with_client(use)


def async_cancel(run: Run) -> Any:
    async def use(client: Any) -> Any:
        seen = asyncio.Event()

        async def read() -> None:
            async for _ in await run.adapter.astream(client, "slow"):
                seen.set()

        task = asyncio.create_task(read())
        await asyncio.wait_for(seen.wait(), 10)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return type(error), await run.adapter.achat(client)
        return "not cancelled"

    return run.with_async_client(use)


def two_loops(run: Run) -> Any:
    """One client on two event loops, which google-genai alone supports (all others lack it)."""
    client = run.wrap(run.adapter.async_client(run.origin))
    first = asyncio.run(_use_in_loop(run, client))
    second = asyncio.run(_use_in_loop(run, client, close=True))
    return first, second


async def _use_in_loop(run: Run, client: Any, *, close: bool = False) -> Any:
    try:
        return await run.adapter.achat(client)
    finally:
        if close:
            await run.adapter.aclose(client)


def close(run: Run) -> Any:
    client = run.wrap(run.adapter.client(run.origin))
    run.adapter.chat(client)
    run.adapter.close(client)
    return raised(lambda: run.adapter.chat(client))


def event_hooks(run: Run) -> Any:
    """Hooks of an HTTP client of the application's own are called as before, in the caller's context."""
    told: list[Any] = []
    hooks = {
        "request": [lambda request: told.append(("request", request.method, WHERE.get()))],
        "response": [lambda response: told.append(("response", response.status_code, WHERE.get()))],
    }
    probe = run.adapter.client(run.origin)
    family = run.adapter.http_family(probe)
    run.adapter.close(probe)
    token = WHERE.set("in the caller's context")
    try:
        if run.adapter.name == "ollama":
            answer = run.with_client(run.adapter.chat, event_hooks=hooks)
        else:
            with family.Client(event_hooks=hooks) as http:
                answer = run.with_client(run.adapter.chat, http=http)
    finally:
        WHERE.reset(token)
    return answer, told


DIFFERENTIAL = (
    sync, asynchronous, stream, async_stream, tools, structured, raw, with_options, retries, timeout, error_types,
    broken_answers, stream_error, gzip, early_close, async_cancel, two_loops, close, event_hooks,
)  # fmt: skip
