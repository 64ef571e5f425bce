"""The questions of a prompt that a ledger has: stored for replay, or kept beside their pairs where the user wants that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from promptguard.ledger import schema
from promptguard.ledger.reading import reading

MOST = 5_000
Messages = tuple[Mapping[str, Any], ...]


def stored_questions(ledger: str | Path, group: str) -> list[Messages]:
    """Return the messages of each question of a prompt's version, such as `triage@3`, newest first and each once.

    Questions of protocols other than chats are left out. Raises InputFileError where there is no ledger.
    """
    with reading(ledger) as connection:
        found: dict[str, Messages] = {}
        for messages in (*_banked(connection, group), *_kept(connection, group)):
            found.setdefault(json.dumps(messages, sort_keys=True), messages)
        return list(found.values())


def stored_requests(ledger: str | Path, group: str, most: int) -> list[tuple[str, dict[str, Any]]]:
    """Return (model, request as it is stored) of a prompt's newest questions for replay, each body once, `most` at most.

    None about a subject. Raises InputFileError where there is no ledger.
    """
    table, found = schema.banked, dict[tuple[str, str], dict[str, Any]]()
    # what is about somebody must go when that is purged, and a pin is asked for years
    wanted = (table.c.group == group, table.c.stream == "replay", table.c.subject == "")
    query = select(table.c.model, table.c.question).where(*wanted)
    with reading(ledger) as connection:
        for row in connection.execute(query.order_by(table.c.id.desc()).limit(MOST)):
            try:
                question = json.loads(row.question)
                found.setdefault((row.model, str(question["body"])), question)
            except (ValueError, LookupError, TypeError, RecursionError):
                continue
    return [(model, question) for (model, _), question in found.items()][:most]


def _banked(connection: Connection, group: str) -> Iterator[Messages]:
    table = schema.banked
    query = select(table.c.question).where(table.c.group == group).order_by(table.c.id.desc()).limit(MOST)
    for row in connection.execute(query):
        try:
            body = json.loads(json.loads(row.question)["body"])
        except (ValueError, LookupError, TypeError, RecursionError):
            continue
        yield from _messages(body.get("messages") if isinstance(body, dict) else None, body)


def _kept(connection: Connection, group: str) -> Iterator[Messages]:
    pair, content = schema.pair, schema.content
    query = (
        select(content.c.question)
        .join(pair, pair.c.id == content.c.pair_id)
        .where(pair.c.group == group)
        .order_by(pair.c.id.desc())
        .limit(MOST)
    )
    for row in connection.execute(query):
        try:
            told = json.loads(row.question)
        except (ValueError, RecursionError):
            continue
        yield from _messages(told, {})


def _messages(told: object, body: Mapping[str, Any]) -> Iterator[Messages]:
    if not isinstance(told, list) or not told or not all(isinstance(each, dict) for each in told):
        return
    system = body.get("system")  # as Anthropic's messages have it
    before = ({"role": "system", "content": system},) if isinstance(system, str) and system else ()
    yield (*before, *told)
