"""Whoever gives `wrap()` something else is told what that was, and the line that works."""

from __future__ import annotations

import sys
from types import ModuleType

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

import promptguard
from promptguard.errors import UnknownClient
from tests.sdk.conftest import http_family

pytestmark = pytest.mark.sdk


def of(module, name="Thing"):
    """An object of a class that says it is from `module`."""
    return type(name, (), {"__module__": module})()


async def later():
    return OpenAI(api_key="k")


GIVEN = {
    "a module": (lambda: openai, r"the module openai: make a client first, promptguard.wrap\(openai.OpenAI\(\)\)"),
    "a submodule": (lambda: ModuleType("anthropic.types"), r"the module anthropic.types: .*anthropic.Anthropic\(\)"),
    "another module": (lambda: sys, r"the module sys: give a client of: openai, "),
    "a class": (lambda: OpenAI, r"the class openai.*OpenAI: call it first, promptguard.wrap\(OpenAI\(...\)\)"),
    "an async class": (lambda: AsyncOpenAI, r"AsyncOpenAI: call it first"),
    "nothing": (lambda: None, r"None: there is no client yet; .*warm_up\(\)"),
    "a key": (lambda: "sk-secret-canary", r"a str: give a client of"),
    "a number": (lambda: 5, r"an int: give"),
    "a resource": (lambda: OpenAI(api_key="k").chat.completions, r"Completions: give the client itself"),
    "a method": (lambda: OpenAI(api_key="k").chat.completions.create, r"the function .*create: give the client itself"),
    "an HTTP client": (lambda: http_family().Client(), r"Client: give it to promptguard.guard\(http_client\)"),
    "a generator of Haystack's": (lambda: of("haystack.components.generators.openai"), r"warm_up\(\); promptguard"),
    "an instructor": (lambda: of("instructor.client"), r"instructor.from_openai\(promptguard.wrap\(OpenAI\(\)\)\)"),
    "a bound model": (lambda: of("langchain_core.runnables.base"), r"before bind_tools\(\)"),
    "a model of LlamaIndex's": (lambda: of("llama_index.llms.openai.base"), r"openai_client=promptguard.wrap"),
}  # fmt: skip


@pytest.mark.parametrize("kind", GIVEN)
def test_what_was_given_and_the_line_that_works_are_named(kind, guarded):
    make, message = GIVEN[kind]
    with pytest.raises(UnknownClient, match=r"cannot wrap (the|a|None).*") as raised:
        promptguard.wrap(make(), ledger=guarded)
    assert raised.match(message)
    assert "builtins" not in str(raised.value)
    assert "canary" not in str(raised.value)
    assert not guarded.exists()


async def test_what_has_to_be_awaited_is_told(guarded):
    coroutine = later()
    with pytest.raises(UnknownClient, match="await it first"):
        promptguard.wrap(coroutine, ledger=guarded)
    coroutine.close()
