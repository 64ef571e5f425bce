"""An ordinary application: it renders a prompt, asks through the openai client, and uses the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptguard.demo.recordings import Recordings
from promptguard.templates.prompt import Prompt

if TYPE_CHECKING:
    from openai import OpenAI


@dataclass(frozen=True, slots=True)
class Used:
    """One answer as the application saw it."""

    usable: bool
    cached: bool
    seconds: float


class Application:
    """Asks one versioned prompt; knows nothing of PromptGuard but the one line that wrapped its client."""

    def __init__(self, client: OpenAI, prompt: Prompt, model: str, recordings: Recordings) -> None:
        self._client = client
        self._prompt = prompt
        self._model = model
        self._recordings = recordings

    def ask(self, question: str) -> Used:
        """Ask one question; returns whether the answer was usable."""
        import time

        call = self._prompt.render(**self._recordings.variables(question))
        if reference := self._recordings.references[question]:
            call.expect(reference)
        began = time.perf_counter()
        raw = self._client.chat.completions.with_raw_response.create(
            model=self._model, messages=call.messages, temperature=0
        )
        answer = raw.parse().choices[0].message.content or ""
        took = time.perf_counter() - began
        return Used(self._recordings.usable(question, answer), "x-promptguard-cache" in raw.headers, took)
