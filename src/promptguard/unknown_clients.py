"""What to say to who gave `wrap()` something that is no SDK client: what was given, and the line that works."""

from __future__ import annotations

import inspect
from types import ModuleType

from promptguard import sdks
from promptguard.core.mistakes import with_article

_MADE_BY = {
    "openai": "openai.OpenAI()",
    "anthropic": "anthropic.Anthropic()",
    "google": "genai.Client()",
    "mistralai": "Mistral(api_key=...)",
    "cohere": "cohere.ClientV2()",
    "groq": "groq.Groq()",
    "together": "together.Together()",
    "ollama": "ollama.Client()",
    "boto3": 'boto3.client("bedrock-runtime")',
    "botocore": 'boto3.client("bedrock-runtime")',
    "langchain_openai": "ChatOpenAI(...)",
}
"""Root packages of SDKs, and how one makes a client there."""

_FRAMEWORKS = {
    "instructor": "instructor.from_openai(promptguard.wrap(OpenAI()))",
    "agents": "set_default_openai_client(promptguard.wrap(AsyncOpenAI()))",
    "haystack": "generator.warm_up(); promptguard.wrap(generator.client)",
    "haystack_integrations": "generator.warm_up(); promptguard.wrap(generator.client)",
    "llama_index": "OpenAI(openai_client=promptguard.wrap(openai.OpenAI()))",
    "langchain_anthropic": "promptguard.wrap(model._client)",
    "langchain_core": "promptguard.wrap(model), before bind_tools() or with_structured_output()",
    "langgraph": "create_react_agent(promptguard.wrap(ChatOpenAI()), tools)",
    "litellm": "litellm.completion(..., client=promptguard.wrap(OpenAI()))",
    "pydantic_ai": "OpenAIProvider(openai_client=promptguard.wrap(AsyncOpenAI()))",
    "crewai": "promptguard.wrap(llm._client)",
    "autogen_ext": "OpenAIChatCompletionClient(..., http_client=promptguard.guard(httpx.AsyncClient()))",
    "smolagents": "promptguard.wrap(model.client)",
}
"""Root packages of frameworks, and the line that guards the client inside."""


def unknown(given: object, doing: str = "wrap") -> str:
    """Return a message for `given`, which no SDK family knows; never what it says, which may be a key.

    `doing` is what cannot be done with it.
    """
    return f"cannot {doing} {what(given)}: {_instead(given)}"


def what(given: object) -> str:
    """Return what `given` is, for a message; never what it says."""
    if given is None:
        return "None"
    if isinstance(given, ModuleType):
        return f"the module {given.__name__}"
    if isinstance(given, type):
        return f"the class {given.__module__}.{given.__qualname__}"
    if inspect.isroutine(given):
        return (
            f"the function {given.__module__ or 'builtins'}.{getattr(given, '__qualname__', given.__name__)}"
        )
    kind = type(given)
    own = kind.__module__ == "builtins"
    return with_article(kind.__qualname__ if own else f"{kind.__module__}.{kind.__qualname__}")


def _instead(given: object) -> str:
    root = _root(given)
    if given is None:
        line = (
            "there is no client yet; make it first, as promptguard.wrap(openai.OpenAI()). A framework may make its "
            "own later: Haystack does in warm_up(), after which promptguard.wrap(generator.client) works"
        )
    elif inspect.isawaitable(given):
        line = "await it first, and wrap what it returns"
    elif _is_http_client(given):
        line = "give it to promptguard.guard(http_client), and the result to your SDK"
    elif isinstance(given, type) and root in _MADE_BY:
        line = f"call it first, promptguard.wrap({given.__name__}(...))"
    elif isinstance(given, ModuleType) and root in _MADE_BY:
        line = f"make a client first, promptguard.wrap({_MADE_BY[root]})"
    elif root in _FRAMEWORKS:
        line = f"the client inside is what can be wrapped; write {_FRAMEWORKS[root]}"
    elif root in _MADE_BY and root not in {"boto3", "botocore"}:
        line = f"give the client itself, as promptguard.wrap({_MADE_BY[root]})"
    else:
        known = ", ".join(family.NAME for family in sdks.FAMILIES)
        line = f"give a client of: {known}; or give its SDK an HTTP client made by promptguard.guard()"
    return line


def _root(given: object) -> str:
    """Return the root package that `given`, or what it is an instance of, comes from."""
    if isinstance(given, ModuleType):
        return given.__name__.partition(".")[0]
    owner = given if isinstance(given, type) or inspect.isroutine(given) else type(given)
    return (getattr(owner, "__module__", None) or "").partition(".")[0]


def _is_http_client(given: object) -> bool:
    from promptguard.http.transport import is_client

    return is_client(given)
