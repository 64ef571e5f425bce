"""From a verdict's document to what is shown of one stream, or of one prompt in it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select

from promptguard.ledger import schema
from promptguard.report.documents import Document
from promptguard.report.model import Example, Moment, Point, StreamReport
from promptguard.verdict import Verdict


def stream_report(
    connection: Connection, told: Document, group: str | None, *, routed: set[int]
) -> StreamReport:
    """Return a document as what is shown: of one group, or with `group` None of all pairs and each of their groups."""
    stream, epoch = told["stream"], told["epoch"]
    moments: dict[str, Moment | None] = {
        name: None if value is None else Moment(**value) for name, value in told.get("moments", {}).items()
    }
    return StreamReport(
        stream=stream,
        epoch=epoch,
        group=group,
        verdict=verdict_of(told),
        control=told.get("control_model", ""),
        candidate=told.get("candidate_model", ""),
        routed=stream == "candidate" and epoch in routed,
        alarm=moments.get("alarm"),
        onset=moments.get("onset"),
        onset_low=moments.get("onset_low"),
        onset_high=moments.get("onset_high"),
        last=moments.get("last"),
        curve=tuple(Point(*point) for point in told.get("curve", ())),
        as_before_since=told.get("as_before_since"),
        together=group is None and bool(told.get("together")),
        examples=() if group else _examples(connection, told),
        groups=tuple(
            stream_report(connection, each, each["group"], routed=routed)
            for each in told["groups"]
            if not group
        ),
    )


def verdict_of(told: Document) -> Verdict:
    """Return a document that was marked as acknowledged or not, as a value."""
    return replace(
        Verdict.from_dict(told),
        acknowledged=bool(told["acknowledged"]),
        groups=tuple(verdict_of(group) for group in told["groups"]),
    )


def _examples(connection: Connection, told: Document) -> tuple[Example, ...]:
    table, content = schema.pair, schema.content
    found = []
    for number, row_id in told.get("example_pairs", ()):
        columns = (table.c.call, table.c.at, table.c.banked_call)
        row = connection.execute(select(*columns).where(table.c.id == row_id)).first()
        texts = connection.execute(select(content).where(content.c.pair_id == row_id)).first()
        if row is not None and texts is not None:
            moment = Moment(number, row.call, row.at, row.banked_call)
            found.append(
                Example(
                    moment, question_text(texts.question), text_of(texts.control), text_of(texts.candidate)
                )
            )
    return tuple(found)


def text_of(raw: bytes) -> str:
    """Return stored text as it was, lone surrogates included."""
    return raw.decode("utf-8", "surrogatepass")


def question_text(raw: bytes) -> str:
    """Return the messages as a person reads them; content that is no text is told by its kind."""
    messages = json.loads(raw)
    return "\n\n".join(
        f"{message.get('role', '')}: {_content(message.get('content'))}" for message in messages
    )


def _content(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(
            str(part.get("text") or f"({part.get('type')})") for part in content if isinstance(part, dict)
        )
    return "" if content is None else str(content)
