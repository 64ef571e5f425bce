"""Rows as they are written to a ledger, and read from it."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from sqlalchemy import Row

StoredRow = Row[tuple[object, ...]]
"""A row as it was read, its columns as attributes (`ledger.schema`)."""


class PairTexts(TypedDict):
    """What was asked and answered, in UTF-8; only where the user wants it kept."""

    question: bytes
    control: bytes
    candidate: bytes
    tools: NotRequired[bytes | None]
    """tool calls of both sides, as JSON: [[{"name": ..., "arguments": ...}, ...], [...]]; None where there are none"""


class PairRow(TypedDict):
    """One pair, or what became of a call that was to be in one."""

    stream: str
    epoch: int
    group: str
    at: float
    """when the call was made, seconds since the Unix epoch"""
    call: int
    outcome: str
    reason: str
    asked: str
    control_model: str
    candidate_model: str
    banked_call: NotRequired[int | None]
    banked_at: NotRequired[float | None]
    """when the stored answer of a replay was stored, seconds since the Unix epoch"""
    control_served: NotRequired[str]
    candidate_served: NotRequired[str]
    vector: NotRequired[bytes | None]
    usd: NotRequired[float]
    input_tokens: NotRequired[int]
    output_tokens: NotRequired[int]
    latency: NotRequired[float]
    """seconds"""
    trace: NotRequired[str]
    """id of the trace that the repeated call belongs to, in 32 hexadecimal digits; empty without one"""
    subject: NotRequired[str]
    """keyed digests of whom the answers are about, with spaces between; empty where nobody said"""
    rules: NotRequired[str]
    """ids of the rules of compatibility by which the question was rewritten for the second model, with commas between"""
    content: NotRequired[PairTexts]


class BankedRow(TypedDict):
    """A request with one unused answer, which is asked again when it is due."""

    stream: str
    model: str
    group: str
    clusters: str
    at: float
    due: float
    call: int
    source: str
    question: bytes
    answer: bytes
    subject: NotRequired[str]
    """as of a pair"""


def storable(text: str) -> str:
    """Return text without lone surrogates and NULs: databases refuse them, and such a row would hold up all that follow."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
