"""What the application and the server see is the same with and without PromptGuard."""

from __future__ import annotations

import json
import socket

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

import promptguard
from promptguard.testing import Fault, Served
from tests.sdk.conftest import VARIANTS, answer, wrapped

pytestmark = pytest.mark.sdk

ASK = [{"role": "user", "content": "hello there"}]
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
]


class City(BaseModel):
    city: str


def create(client):
    return client.chat.completions.create(model="gpt-4", messages=ASK).model_dump_json()


def create_twice(client):
    return [create(client), create(client)]


def unusual_parameters(client):
    done = client.chat.completions.create(
        model="gpt-4",
        messages=ASK,
        temperature=0,
        n=1,
        seed=3,
        extra_body={"x": [1, None]},
        extra_headers={"X-A": "b"},
    )
    return done.model_dump_json()


def tools(client):
    ask = [{"role": "user", "content": "use the tool"}]
    return client.chat.completions.create(model="gpt-4", messages=ask, tools=TOOLS).model_dump_json()


def stream(client):
    got = client.chat.completions.create(model="gpt-4", messages=ASK, stream=True)
    return type(got).__name__, [chunk.model_dump_json() for chunk in got]


def stream_with_usage(client):
    got = client.chat.completions.create(
        model="gpt-4", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    return [chunk.model_dump_json() for chunk in got]


def stream_closed_early(client):
    got = client.chat.completions.create(model="gpt-4", messages=ASK, stream=True)
    first = next(iter(got)).model_dump_json()
    got.close()
    return first


def stream_in_with(client):
    with client.chat.completions.create(model="gpt-4", messages=ASK, stream=True) as got:
        return [chunk.model_dump_json() for chunk in got]


def stream_left_in_with(client):
    with client.chat.completions.create(model="gpt-4", messages=ASK, stream=True) as got:
        for chunk in got:
            return chunk.model_dump_json()
    return None


def stream_helper(client):
    with client.chat.completions.stream(model="gpt-4", messages=ASK) as got:
        return [event.type for event in got], got.get_final_completion().model_dump_json()


def parse(client):
    ask = [{"role": "user", "content": "json"}]
    got = client.chat.completions.parse(model="gpt-4", messages=ask, response_format=City)
    return got.choices[0].message.parsed


def raw_response(client):
    got = client.chat.completions.with_raw_response.create(model="gpt-4", messages=ASK)
    names = sorted(k for k in got.headers if k not in {"date", "x-promptguard-cache"})
    return (
        got.status_code,
        got.http_version,
        names,
        got.headers["content-length"],
        got.content,
        got.retries_taken,
    )


def streaming_response(client):
    with client.chat.completions.with_streaming_response.create(
        model="gpt-4", messages=ASK, stream=True
    ) as got:
        return got.status_code, b"".join(got.iter_bytes())


def streaming_lines(client):
    with client.chat.completions.with_streaming_response.create(model="gpt-4", messages=ASK) as got:
        return list(got.iter_lines())


def with_options(client):
    return create(client.with_options(max_retries=0, timeout=7, default_headers={"x-b": "c"}))


def error_type(client, model):
    try:
        client.with_options(max_retries=0).chat.completions.create(model=model, messages=ASK)
    except Exception as error:
        status = getattr(error, "status_code", None)
        return type(error), str(error), status, type(error.__cause__), getattr(error, "body", None)
    return None


def errors(client):
    return [
        error_type(client, f"status-{status}") for status in (400, 401, 403, 404, 409, 422, 429, 500, 503)
    ]


def cut(client):
    return error_type(client, "cut")


def refused(client):
    return error_type(client, "refuse")


def garbage(client):
    return error_type(client, "garbage")


def timeout(client):
    return error_type(client.with_options(timeout=httpx.Timeout(10.0, read=0.3)), "hang")


def busy_then_fine(client):
    return (
        client.with_options(max_retries=3)
        .chat.completions.create(model="busy", messages=ASK)
        .model_dump_json()
    )


def gzipped(client):
    return client.chat.completions.create(model="gzip", messages=ASK).model_dump_json()


def gzipped_stream(client):
    got = client.chat.completions.create(model="gzip", messages=ASK, stream=True)
    return [chunk.model_dump_json() for chunk in got]


def models_list(client):
    try:
        return client.with_options(max_retries=0).models.list()
    except Exception as error:
        return type(error)


CASES = [
    create, create_twice, unusual_parameters, tools, stream, stream_with_usage, stream_closed_early, stream_in_with,
    stream_left_in_with, stream_helper, parse, raw_response, streaming_response, streaming_lines, with_options, errors,
    cut, refused, garbage, timeout, busy_then_fine, gzipped, gzipped_stream, models_list,
]  # fmt: skip


def prepare(provider):
    """Models that fail in every way, from their first call on."""
    busy = iter([429, 429])

    def busy_twice(question):
        status = next(busy, None)
        return (
            answer(question) if status is None else Fault("status", status, headers={"retry-after-ms": "5"})
        )

    def asked(question):
        return '{"city": "Kiel"}' if question.text == "json" else answer(question)

    provider.models.update(
        {f"status-{s}": lambda _, s=s: Fault("status", s) for s in (400, 401, 403, 409, 422, 429, 500, 503)}
    )
    for kind in ("cut", "refuse", "garbage"):
        provider.models[kind] = lambda _, kind=kind: Fault(kind)
    provider.models["hang"] = lambda _: Fault("hang", seconds=3.0)
    provider.models["busy"] = busy_twice
    provider.models["gzip"] = lambda question: Served(answer(question).text, gzip=True)
    provider.models["gpt-4"] = asked
    provider.received.clear()


def without_time(value):
    """`created` is the provider's clock: whole seconds that may pass between two runs."""
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str) and '"created"' in value:
        head, _, tail = value.partition('"created"')
        digits = tail.lstrip(": ")
        return head + without_time(digits.lstrip("0123456789"))
    if isinstance(value, (list, tuple)):
        return [without_time(each) for each in value]
    if isinstance(value, dict):
        return {k: without_time(v) for k, v in value.items() if k != "created"}
    return value


def arrived(provider, cached):
    seen = [
        r for name in {r.model for r in provider.received} - {"gpt-4-other"} for r in provider.asked_of(name)
    ]
    # A case that asks one question twice is answered once by the cache; every distinct request is still there.
    distinct = {json.dumps([path, headers, raw.decode()], sort_keys=True) for path, headers, raw in seen}
    return distinct if cached else sorted(json.dumps([p, h, r.decode()], sort_keys=True) for p, h, r in seen)


def run(case, provider, client):
    prepare(provider)
    try:
        return without_time(case(client))
    finally:
        client.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_differs(case, variant, provider, guarded):
    bare = run(case, provider, OpenAI(base_url=provider.url, api_key="k"))
    cached = variant == "memory"
    sent = arrived(provider, cached)

    client = wrapped(OpenAI(base_url=provider.url, api_key="k"), variant, guarded)
    assert type(client) is OpenAI
    assert run(case, provider, client) == bare
    assert arrived(provider, cached) == sent


def test_the_request_that_arrives_is_byte_identical(provider, guarded):
    bodies = []
    for variant in (None, "memory"):
        client = OpenAI(base_url=provider.url, api_key="k")
        create(wrapped(client, variant, guarded) if variant else client)
        bodies.append(provider.asked_of("gpt-4")[-1])
        client.close()
    assert bodies[0] == bodies[1]


def test_connection_refused_is_the_same_error(guarded):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    found = []
    for variant in (None, *VARIANTS):
        client = OpenAI(base_url=url, api_key="k", max_retries=0)
        if variant:
            wrapped(client, variant, guarded)
        found.append(error_type(client, "gpt-4"))
        client.close()
    assert found[1:] == found[:1] * len(VARIANTS)


def test_types_are_the_sdks_own(guarded):
    sync, asynchronous = (
        OpenAI(base_url="http://x/v1", api_key="k"),
        AsyncOpenAI(base_url="http://x/v1", api_key="k"),
    )
    http = type(sync._client)
    assert promptguard.wrap(sync, ledger=guarded) is sync
    assert type(sync) is OpenAI
    assert type(sync._client).__name__ == http.__name__
    assert isinstance(sync._client, http)
    assert promptguard.wrap(asynchronous, ledger=guarded) is asynchronous
    assert type(asynchronous) is AsyncOpenAI
    sync.close()
