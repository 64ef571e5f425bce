"""The ledger's tables (SQLAlchemy Core); described for readers in docs/reference/ledger.md.

Rule: text columns hold names and digests. Prompts and answers live in `content` and `banked` alone, as bytes, because
model output contains NULs and lone surrogates that SQL text mangles (docs/decisions/0003-ledger.md).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

SCHEMA_VERSION = 8

NOTICE = "notice:"
"""Names in `meta` that begin so hold what cannot work: text, and when it was last said."""

STALE_AFTER = "stale_after"
"""Name in `meta`: how old a last pair may be, in seconds, as the settings say; null for the default."""
REFUSED = "refused:"
"""Names in `meta` that begin so hold why a stream's calls were not even prepared, and when last."""

Whole = Integer().with_variant(BigInteger(), "postgresql")
"""64 bits everywhere: SQLite's integers are."""

metadata = MetaData()

pair = Table(
    "pair",
    metadata,
    Column("id", Whole, primary_key=True, autoincrement=True),
    Column("stream", String, nullable=False),
    Column("epoch", Whole, nullable=False),
    Column("group", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("call", Whole, nullable=False),
    Column("banked_call", Whole),
    Column("outcome", String, nullable=False),
    Column("reason", String, nullable=False, default=""),
    Column("asked", String, nullable=False),
    Column("control_model", String, nullable=False),
    Column("candidate_model", String, nullable=False),
    Column("control_served", String, nullable=False, default=""),
    Column("candidate_served", String, nullable=False, default=""),
    Column("vector", LargeBinary),
    Column("usd", Float, nullable=False, default=0.0),
    Column("input_tokens", Whole, nullable=False, default=0),
    Column("output_tokens", Whole, nullable=False, default=0),
    Column("latency", Float, nullable=False, default=0.0),
    Column("trace", String, nullable=False, default="", server_default=""),
    Column("banked_at", Float),
    Column("rules", String, nullable=False, default="", server_default=""),
    Column("subject", String, nullable=False, default="", server_default=""),
    Index("pair_by_stream", "stream", "id"),
    Index("pair_by_group", "stream", "epoch", "group", "id"),
)

pair_by_subject = Index("pair_by_subject", pair.c.subject, sqlite_where=pair.c.subject != "")
"""Only of pairs whose subject was named: without any it costs nothing. PostgreSQL's engine says the same itself."""

claim = Table(
    "claim",
    metadata,
    Column("stream", String, primary_key=True),
    Column("epoch", Whole, primary_key=True),
    Column("cluster", String, primary_key=True),
)
"""Questions and conversations that have had their one pair, by keyed digest; claimed before the pair is made."""

writer = Table(
    "writer",
    metadata,
    Column("id", String, primary_key=True),
    Column("last", Whole, nullable=False),
    Column("at", Float, nullable=False),
)
"""The number of the last pair that each writing process has delivered: what is delivered again is known by it."""

content = Table(
    "content",
    metadata,
    Column("pair_id", Whole, ForeignKey("pair.id"), primary_key=True),
    Column("question", LargeBinary, nullable=False),
    Column("control", LargeBinary, nullable=False),
    Column("candidate", LargeBinary, nullable=False),
    Column("tools", LargeBinary),
)

banked = Table(
    "banked",
    metadata,
    Column("id", Whole, primary_key=True, autoincrement=True),
    Column("group", String, nullable=False),
    Column("stream", String, nullable=False),
    Column("model", String, nullable=False),
    Column("clusters", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("due", Float, nullable=False),
    Column("call", Whole, nullable=False),
    Column("source", String, nullable=False),
    Column("question", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("subject", String, nullable=False, default="", server_default=""),
    Index("banked_by_due", "due"),
)

identity = Table(
    "identity",
    metadata,
    Column("id", Whole, primary_key=True, autoincrement=True),
    Column("asked", String, nullable=False),
    Column("served", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("service_tier", String, nullable=False),
    Column("region", String, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("calls", Whole, nullable=False),
    UniqueConstraint("asked", "served", "fingerprint", "service_tier", "region"),
)
"""Who served, as ledgers kept it before there was `sighting`: read still, written no more."""

sighting = Table(
    "sighting",
    metadata,
    Column("id", Whole, primary_key=True, autoincrement=True),
    Column("origin", String, nullable=False),
    Column("asked", String, nullable=False),
    Column("model", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("service_tier", String, nullable=False),
    Column("region", String, nullable=False),
    Column("backend", String, nullable=False),
    Column("hour", Whole, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("calls", Whole, nullable=False),
    UniqueConstraint("origin", "asked", "model", "fingerprint", "service_tier", "region", "backend", "hour"),
)
"""Who served, an hour a row: without the hours a mixture could not be told from a change that was taken back."""

occurrence = Table(
    "occurrence",
    metadata,
    Column("id", Whole, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("call", Whole, nullable=False),
    Column("kind", String, nullable=False),
    Column("stream", String, nullable=False),
    Column("group", String, nullable=False),
    Column("detail", LargeBinary, nullable=False),
)
"""Alarms, actions and acknowledgements, in the order in which they happened."""

alert = Table(
    "alert",
    metadata,
    Column("id", String, primary_key=True),
    Column("first", Whole, nullable=False),
    Column("model", String, nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("revision", Whole, nullable=False),
    Column("members", LargeBinary, nullable=False),
)
"""One change of a model, which one or several prompts' alarms told; `first` is the occurrence that it began with."""

alert_channel = Table(
    "alert_channel",
    metadata,
    Column("name", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("since", Whole, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
)
"""Who is told of alerts that begin after the occurrence `since`; neither address nor secret."""

alert_delivery = Table(
    "alert_delivery",
    metadata,
    Column("alert", String, primary_key=True),
    Column("channel", String, primary_key=True),
    Column("revision", Whole, nullable=False),
    Column("delivered_at", Float),
    Column("attempts", Whole, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("error", String, nullable=False),
)
"""What each channel has had: the last revision it took, and attempts since. A newer revision is pending."""

verdict = Table(
    "verdict",
    metadata,
    Column("stream", String, primary_key=True),
    Column("epoch", Whole, primary_key=True),
    Column("at", Float, nullable=False),
    Column("last_pair", Whole, nullable=False),
    Column("document", LargeBinary, nullable=False),
)

verdict_group = Table(
    "verdict_group",
    metadata,
    Column("stream", String, primary_key=True),
    Column("epoch", Whole, primary_key=True),
    Column("group", String, primary_key=True),
    Column("at", Float, nullable=False),
    Column("document", LargeBinary, nullable=False),
)
"""The verdict of each group, written when it changed; `verdict` has that of all pairs of a stream."""

snapshot = Table(
    "snapshot",
    metadata,
    Column("key", String, primary_key=True),
    Column("last_id", Whole, nullable=False),
)
"""How far the evaluator's fold had come when it was last saved; the key names settings and versions."""

snapshot_part = Table(
    "snapshot_part",
    metadata,
    Column("key", String, primary_key=True),
    Column("stream", String, primary_key=True),
    Column("epoch", Whole, primary_key=True),
    Column("group", String, primary_key=True),
    Column("state", LargeBinary, nullable=False),
)

tally = Table(
    "tally",
    metadata,
    Column("stream", String, primary_key=True),
    Column("outcome", String, primary_key=True),
    Column("reason", String, primary_key=True),
    Column("pairs", Whole, nullable=False),
    Column("usd", Float, nullable=False),
    Column("input_tokens", Whole, nullable=False),
    Column("output_tokens", Whole, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
)
"""Sums over all pairs ever, kept with each batch: no reader counts rows, and they outlive the rows' retention."""

group_tally = Table(
    "group_tally",
    metadata,
    Column("stream", String, primary_key=True),
    Column("group", String, primary_key=True),
    Column("pairs", Whole, nullable=False),
    Column("lost", Whole, nullable=False),
    Column("usd", Float, nullable=False),
)
"""The same by prompt: pairs compared, pairs lost, and what both cost."""

tally_news = Table(
    "tally_news",
    metadata,
    Column("id", Whole, primary_key=True, autoincrement=True),
    *(Column(column.name, column.type, nullable=False) for column in tally.columns),
)
"""What is still to be added to `tally`: a batch's sums, where writers would wait for each other over one row."""

group_tally_news = Table(
    "group_tally_news",
    metadata,
    Column("id", Whole, primary_key=True, autoincrement=True),
    *(Column(column.name, column.type, nullable=False) for column in group_tally.columns),
)
"""The same of `group_tally`."""

counter = Table(
    "counter",
    metadata,
    Column("name", String, primary_key=True),
    Column("label", String, primary_key=True),
    Column("value", Float, nullable=False),
)

spend = Table(
    "spend",
    metadata,
    Column("day", String, primary_key=True),
    Column("calls", Whole, nullable=False),
    Column("usd", Float, nullable=False),
)

budget = Table(
    "budget",
    metadata,
    Column("day", String, primary_key=True),
    Column("purpose", String, primary_key=True),
    Column("calls", Whole, nullable=False),
    Column("usd", Float, nullable=False),
)
"""What each purpose (`shadow`, `replay`) has spent of its own caps; `spend` is the day's total."""

rollout = Table(
    "rollout",
    metadata,
    Column("id", Whole, primary_key=True, autoincrement=True),
    Column("rollout", Whole, nullable=False),
    Column("at", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("by", String, nullable=False),
    Column("why", String, nullable=False),
    Column("detail", LargeBinary, nullable=False),
)
"""Every step of a rollout, append-only: start, advance, hold, pause, resume, abort, rollback, complete."""

outcome = Table(
    "outcome",
    metadata,
    Column("id", Whole, primary_key=True, autoincrement=True),
    Column("rollout", Whole, nullable=False),
    Column("unit", LargeBinary, nullable=False),
    Column("step", Whole, nullable=False),
    Column("treated", Whole, nullable=False),
    Column("at", Float, nullable=False),
    Column("usable", Whole),
    Column("refused", Whole),
    Column("usd", Float),
    Column("latency", Float),
    Column("answer", LargeBinary),
    UniqueConstraint("rollout", "unit"),
)
"""What became of each unit's first call within a rollout; a unit by a digest keyed with the rollout's salt."""

prompt_version = Table(
    "prompt_version",
    metadata,
    Column("name", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("text", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
    Column("by", String, nullable=False),
)
"""Versions of prompts that were pushed, for processes of other machines; a version never changes."""

prompt_move = Table(
    "prompt_move",
    metadata,
    Column("id", Whole, primary_key=True, autoincrement=True),
    Column("name", String, nullable=False),
    Column("label", String, nullable=False),
    Column("line", LargeBinary, nullable=False),
)
"""Moves of labels of those prompts, append-only: a line of labels.jsonl each."""

lease = Table(
    "lease",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("expires", Float, nullable=False),
)

meta = Table(
    "meta", metadata, Column("name", String, primary_key=True), Column("value", LargeBinary, nullable=False)
)
