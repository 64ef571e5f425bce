"""Verdict documents of a ledger: with what was noted since, and which of them stand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, select

from promptguard.core.epochs import EVERY_GROUP, Epochs
from promptguard.core.streams import SELF_TESTS, doubt
from promptguard.ledger import schema
from promptguard.report.freshness import OLDER_CONTROL, as_of, clock_of, window
from promptguard.report.taken_back import mark_taken_back
from promptguard.verdict import Status, Verdict

Document = dict[str, Any]
_ORDER = ("candidate", "replay", "canary", "repeat", "placebo")


def standing(documents: Sequence[Document]) -> list[Document]:
    """Return the one verdict that stands for each stream and group.

    A drift stays until acknowledged, so the first epoch that drifted stands (later ones measure the effect of
    what was done about it, as those of a route do when it is acknowledged); without one, the newest.
    """
    found: dict[tuple[str, str | None], Document] = {}
    for document in documents:
        alone = document.get("together") or not document["groups"]
        for told in [*document["groups"], *([document] if alone else [])]:
            place = (told["stream"], told.get("group"))
            earlier = found.get(place, {})
            known = earlier.get("status") == "drift" and (
                not earlier.get("acknowledged") or told.get("routed")
            )
            if not known:
                found[place] = told
    return list(found.values())


def overall(documents: Sequence[Document]) -> Status:
    """Return one status of all streams that judge: drift if any has one, else unmeasured if any is, else no_drift.

    A stream is measured where its pairs together are, or one of its groups is: a group of few pairs takes nothing away
    from the others (`freshness.measured` says how many there are).
    """
    stand = [told for told in standing(documents) if told["stream"] not in SELF_TESTS]
    if any(told["status"] == "drift" and not told.get("acknowledged") for told in stand):
        return "drift"
    is_measured: dict[str, bool] = {}
    for told in (*documents, *stand):
        stream = told["stream"]
        if stream not in SELF_TESTS and not (told["status"] == "drift" and told.get("acknowledged")):
            is_measured[stream] = is_measured.get(stream, False) or told["status"] == "no_drift"
    return "no_drift" if is_measured and all(is_measured.values()) else "unmeasured"


def verdict_documents(
    connection: Connection, *, now: float, only: str | None = None, known: Summaries | None = None
) -> list[Document]:
    """Return the verdict of every stream and epoch as of `now` (Unix seconds), each with those of its groups.

    `only` leaves out all groups but one. `known` gives summaries of the groups' documents in their place, and reads only
    those that changed since it was last given.
    """
    table = schema.verdict
    rows = connection.execute(select(table.c.stream, table.c.epoch, table.c.document)).all()
    place = {stream: number for number, stream in enumerate(_ORDER)}
    rows = sorted(rows, key=lambda row: (place.get(row.stream, len(place)), row.stream, row.epoch))
    # Each epoch has a monitor of its own, which says epoch 1: the ledger's number is the true one.
    documents: list[Document] = [{**stored_object(row.document), "epoch": int(row.epoch)} for row in rows]
    groups = _group_documents(connection, only) if known is None else known.read(connection)
    for told in documents:
        own = groups.get((told["stream"], told["epoch"]))
        told["groups"] = told["groups"] if own is None else own
        if only is not None:
            told["groups"] = [group for group in told["groups"] if group["group"] == only]
    _mark_acknowledged(documents, noted_epochs(connection))
    for test, reason in doubts(documents).items():
        # A verdict written before the self-test failed would still speak.
        for told in (told for told in documents if told["stream"] == test):
            for each in (told, *told["groups"]):
                each.update(status="unmeasured", reason=reason)
    mark_taken_back(documents)
    clock = clock_of(connection, now)
    for told in documents:
        for each in (told, *told["groups"]):
            as_of(each, clock)
        # A list of groups shows no windows of theirs, and there may be hundreds.
        for each in (told, *(told["groups"] if known is None else ())):
            found = window(each, clock)
            each["window"] = None if found is None else asdict(found)
            if found is not None and each["stream"] in OLDER_CONTROL and each["status"] == "no_drift":
                # what all pairs could have missed means nothing where only some straddle a change
                each["largest_hidden_drift"] = min(since.hidden for since in found.since)
            each.pop("pace", None)
    return documents


def doubts(documents: Sequence[Document]) -> dict[str, str]:
    """Return why the verdicts of streams do not count, for those that a failed self-test has taken away."""
    failed = {
        told["stream"]
        for told in documents
        if told["stream"] in SELF_TESTS and told["status"] == "drift" and not told["acknowledged"]
    }
    reasons = {told["stream"]: doubt(told["stream"], failed) for told in documents}
    return {stream: reason for stream, reason in reasons.items() if reason is not None}


def _group_documents(connection: Connection, only: str | None) -> dict[tuple[str, int], list[Document]]:
    """Return the verdicts of groups by stream and epoch, in the order in which the groups came."""
    table = schema.verdict_group
    found: dict[tuple[str, int], list[Document]] = {}
    query = select(table.c.stream, table.c.epoch, table.c.document)
    if only is not None:
        query = query.where(table.c.group == only)
    for row in connection.execute(query):
        found.setdefault((row.stream, row.epoch), []).append(
            {**stored_object(row.document), "epoch": int(row.epoch)}
        )
    for documents in found.values():
        documents.sort(key=_came_first)
    return found


class Summaries:
    """Documents of groups without what only a page of their own shows; each is read again when it was written again."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, str], tuple[float, Document]] = {}

    def read(self, connection: Connection) -> dict[tuple[str, int], list[Document]]:
        """Return the summaries by stream and epoch, in the order in which the groups came."""
        table = schema.verdict_group
        columns = (table.c.stream, table.c.epoch, table.c.group, table.c.at)
        written = {
            (row.stream, int(row.epoch), row.group): row.at for row in connection.execute(select(*columns))
        }
        changed = [key for key, at in written.items() if key not in self._known or self._known[key][0] != at]
        known = {key: self._known[key] for key in written if key in self._known}
        if len(changed) > _MOST_SINGLY:
            rows = connection.execute(select(table)).all()
        else:
            rows = [
                connection.execute(
                    select(table).where(
                        table.c.stream == stream, table.c.epoch == epoch, table.c.group == group
                    )
                ).one()
                for stream, epoch, group in changed
            ]
        for row in rows:
            known[row.stream, int(row.epoch), row.group] = (row.at, _summary(row.document, int(row.epoch)))
        self._known = known
        found: dict[tuple[str, int], list[Document]] = {}
        for (stream, epoch, _), (_, told) in known.items():
            found.setdefault((stream, epoch), []).append(dict(told))
        for documents in found.values():
            documents.sort(key=_came_first)
        return found


_MOST_SINGLY = 50
"""Changed documents up to which each is asked for by its key; for more, all are read."""
_SPARK_POINTS = 24
_SUMMARY = (
    "stream", "group", "status", "reason", "pairs", "skipped", "alarm_at", "log10_evidence", "log10_threshold", "moments",
    "control_model", "candidate_model", "sentence", "mode", "largest_hidden_drift", "pace",
    "changes",
)  # fmt: skip


def _summary(raw: bytes, epoch: int) -> Document:
    """Return what a list shows of a group; its curve thinned to what a drawing of a few letters' width can hold."""
    told = stored_object(raw)
    curve = told.get("curve") or []
    step = -(-len(curve) // _SPARK_POINTS) or 1
    kept = {name: told[name] for name in _SUMMARY if name in told}
    moved = told["status"] == "drift" and Verdict.from_dict(told).control_moved
    return {**kept, "control_moved": moved, "epoch": epoch, "curve": curve[::-step][::-1], "groups": []}


def _came_first(told: Document) -> tuple[float, int, str]:
    first = told.get("moments", {}).get("first")
    return (math.inf, 0, told["group"]) if first is None else (first["at"], first["call"], told["group"])


def noted_epochs(connection: Connection) -> Epochs:
    """Return which epochs were routed and which alarms acknowledged, from what the ledger noted."""
    table, found = schema.occurrence, Epochs()
    columns = (table.c.kind, table.c.stream, table.c.group, table.c.detail)
    begins = table.c.kind.in_(("route", "undo_route", "acknowledge"))
    of_all = (table.c.kind == "alarm") & (table.c.group == EVERY_GROUP)
    for row in connection.execute(select(*columns).where(begins | of_all).order_by(table.c.id)):
        detail = stored_object(row.detail) if row.kind == "alarm" else {}
        found.apply({"kind": row.kind, "stream": row.stream, "group": row.group, "detail": detail})
    return found


def _mark_acknowledged(documents: Sequence[Document], epochs: Epochs) -> None:
    """Say of every verdict whether somebody has acknowledged it; of a stream, whether that is so of all that drifted.

    Of a stream also whether its prompts alarmed `together`, which is an alarm of its own.
    """
    for told in documents:
        told["groups"] = [{**group, "epoch": told["epoch"]} for group in told["groups"]]
        for group in told["groups"]:
            group["routed"] = told["stream"] == "candidate" and epochs.is_routed(
                group["group"], told["epoch"]
            )
            group["acknowledged"] = epochs.is_closed(told["stream"], group["group"], told["epoch"])
        drifted = [group for group in told["groups"] if group["status"] == "drift"]
        told["together"] = (told["stream"], told["epoch"]) in epochs.together
        if told["together"]:
            told["acknowledged"] = epochs.is_closed(told["stream"], EVERY_GROUP, told["epoch"])
        else:
            told["acknowledged"] = bool(drifted) and all(group["acknowledged"] for group in drifted)


NEEDED = {"route": ("asked", "to"), "raise": ("message",)}
"""What readers take from the details of an occurrence, by its kind."""


def stored_object(raw: bytes, *needed: str) -> Document:
    """Read a stored JSON object. Raises ValueError for anything else, and where one of `needed` is missing."""
    found = json.loads(raw)
    if not isinstance(found, dict) or not found.keys() >= set(needed):
        raise ValueError("not the object that was stored")
    return found
