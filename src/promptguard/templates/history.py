"""Histories, images and files that are given to render(): data, checked and copied, never rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptguard.errors import WrongVariable
from promptguard.templates.body import Message
from promptguard.templates.roles import ROLES
from promptguard.templates.variables import plain

_AUDIO = {"mpeg": "mp3", "x-wav": "wav"}


def checked_history(value: object, where: str) -> list[Message]:
    """Return a copy of a list of messages; `where` begins the errors. Raises WrongVariable, or PromptError for no JSON."""
    copied = plain(value, where)
    if not isinstance(copied, list):
        raise WrongVariable(
            f'{where} must be a list of messages, such as [{{"role": "user", "content": "..."}}]'
        )
    for number, message in enumerate(copied):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            raise WrongVariable(f"{where}[{number}] must be a message with a role of {', '.join(ROLES)}")
        content = message.get("content")
        if not isinstance(content, (str, list)) and not message.get("tool_calls"):
            raise WrongVariable(f"{where}[{number}] must have a content: text, or a list of parts")
    return copied


def checked_part(kind: str, value: object, where: str) -> dict[str, object]:
    """Return the part of a message that an image, a file or an audio is, from a URL, a data URL or the part's own fields.

    `where` begins the errors. Raises WrongVariable, or PromptError for what is no JSON.
    """
    copied = plain(value, where)
    if isinstance(copied, str) and copied:
        if kind == "image":
            return {"type": "image_url", "image_url": {"url": copied}}
        if kind == "file":
            return {"type": "file", "file": {"file_data": copied}}
        media, _, data = copied.removeprefix("data:audio/").partition(";base64,")
        if data:
            return {"type": "input_audio", "input_audio": {"data": data, "format": _AUDIO.get(media, media)}}
    if isinstance(copied, dict) and copied:
        inner = {"image": "image_url", "file": "file", "audio": "input_audio"}[kind]
        return dict(copied) if "type" in copied else {"type": inner, inner: copied}
    wanted = 'a data URL, or {"data": ..., "format": ...}' if kind == "audio" else "a URL or a data URL"
    raise WrongVariable(f"{where} must be {wanted}")


def with_history(messages: Sequence[Message], history: Sequence[Message]) -> list[Message]:
    """Return the messages with a history before the last message of the user, or at the end where there is none."""
    last = next(
        (at for at in range(len(messages) - 1, -1, -1) if messages[at]["role"] == "user"), len(messages)
    )
    return [*messages[:last], *history, *messages[last:]]


def texts_of(messages: Sequence[Message]) -> list[Mapping[str, str]]:
    """Return role and text of each message, whose parts may be images: what a rendering is known by."""
    return [
        {
            "role": each["role"],
            "content": each["content"] if isinstance(each["content"], str) else _text(each["content"]),
        }
        for each in messages
    ]


def _text(parts: Sequence[Mapping[str, object]]) -> str:
    return "".join(str(part["text"]) for part in parts if part.get("type") == "text")
