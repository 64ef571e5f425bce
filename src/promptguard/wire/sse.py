"""Server-sent events (WHATWG HTML, section 9.2): from whole bytes to the data of each event."""

from __future__ import annotations

from collections.abc import Iterator


def events(body: bytes) -> Iterator[str]:
    """Yield the data of each complete event in `body`; an event without its blank line is not complete."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    if text.endswith("\r") and "\r\n" in text:
        text = text[:-1]  # half a line end: one byte is missing, though a lone one would count elsewhere
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    data: list[str] = []
    for line in lines[:-1]:  # what follows the last line end is an unfinished line
        if line == "":
            if data:
                yield "\n".join(data)
            data = []
        elif line.startswith("data:"):
            data.append(line[6:] if line[5:6] == " " else line[5:])
