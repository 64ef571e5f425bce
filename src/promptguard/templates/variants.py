"""Which version of a prompt is rendered for a model: the one meant, or the variant that is certified there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from promptguard.errors import PromptError
from promptguard.templates.near import VERSION

if TYPE_CHECKING:
    from promptguard.templates.library import PromptLibrary
    from promptguard.templates.prompt import Prompt

log = logging.getLogger("promptguard")

_MOST_SAID = 1_000
_said: dict[tuple[str, str, str], None] = {}


def chosen(library: PromptLibrary, prompt: Prompt, reference: str, model: str) -> Prompt:
    """Return the version to render for `model`, where `reference` means `prompt`. Warns once where none is certified."""
    if _is_certified(library, prompt, model):
        return prompt
    is_exact = bool(VERSION.fullmatch(reference.partition("@")[2]))
    others = [] if is_exact else _written_for(library, prompt, model)
    certified = next((each for each in others if _is_certified(library, each, model)), None)
    if certified is not None:
        return certified
    fitting = prompt if prompt.is_for(model) or not others else others[0]
    _warn(library, fitting, model)
    return fitting


def _is_certified(library: PromptLibrary, prompt: Prompt, model: str) -> bool:
    known = library.certificate(prompt.name, prompt.version, model)
    return known.status == "certified" and known.digest in ("", prompt.digest)


def _written_for(library: PromptLibrary, prompt: Prompt, model: str) -> list[Prompt]:
    """Return the other versions whose `models:` name the model, newest first; one that cannot be read is passed over."""
    found = []
    for version in reversed(library.versions(prompt.name)):
        if version == prompt.version:
            continue
        try:
            other = library.get(f"{prompt.name}@{version}")
        except PromptError:
            continue
        if other.models and other.is_for(model):
            found.append(other)
    return found


def _warn(library: PromptLibrary, prompt: Prompt, model: str) -> None:
    place = (str(library.directory), f"{prompt.name}@{prompt.version}", model)
    if place in _said:
        return
    while len(_said) >= _MOST_SAID:
        del _said[next(iter(_said))]
    _said[place] = None
    known = library.certificate(prompt.name, prompt.version, model)
    why = f" ({known.why})" if known.why else ""
    log.warning(
        "%s is %s on %s%s; it is used all the same. To know: promptguard prompts certify %s --on %s --against "
        "VERSION/MODEL --budget 2usd",
        place[1], known.status, model, why, place[1], model,
    )  # fmt: skip
