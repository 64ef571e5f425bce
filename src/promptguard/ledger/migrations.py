"""Every shape a ledger has had, and the steps from each to the next. Append-only: a step is never changed once released.

A ledger is made by the same way: `metadata.create_all` gives today's tables, divided where they are, and the version
beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from sqlalchemy import Connection, select

from promptguard.ledger import schema
from promptguard.ledger.engines import words


class SchemaTrouble(Exception):  # noqa: N818 - told as a state of the file
    """The ledger is of another kind or version."""

    def __init__(self, kind: Literal["foreign", "newer", "damaged"], reason: str) -> None:
        super().__init__(reason)
        self.kind: Literal["foreign", "newer", "damaged"] = kind


def _sums_and_read_models(connection: Connection) -> None:
    """From 1 to 2: budgets by purpose, sums over pairs, snapshots, verdicts by group.

    Budgets begin with what the running days have spent: until then one total was held against all.
    """
    schema.metadata.create_all(connection)
    connection.exec_driver_sql(
        'CREATE INDEX IF NOT EXISTS pair_by_group ON pair (stream, epoch, "group", id)'
    )
    connection.exec_driver_sql(
        "INSERT OR REPLACE INTO tally SELECT stream, outcome, reason, count(*), sum(usd), sum(input_tokens), "
        "sum(output_tokens), min(at), max(at) FROM pair GROUP BY stream, outcome, reason"
    )
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO budget (day, purpose, calls, usd) SELECT day, 'shadow', calls, usd FROM spend"
    )


def _alerts(connection: Connection) -> None:
    """From 2 to 3: the outbox of alerts. Alarms from before are no news: channels begin after them."""
    schema.metadata.create_all(connection)


def _details_of_pairs(connection: Connection) -> None:
    """From 3 to 4: the trace of the call that a pair repeats, tool calls beside texts, sums by prompt."""
    _add_column(connection, "pair", "trace", "VARCHAR NOT NULL DEFAULT ''")
    _add_column(connection, "content", "tools", "BLOB")
    schema.metadata.create_all(connection)
    connection.exec_driver_sql(
        "INSERT OR REPLACE INTO group_tally SELECT stream, \"group\", sum(outcome = 'compared'), "
        "sum(outcome <> 'compared'), "
        'sum(usd) FROM pair NOT INDEXED GROUP BY stream, "group"'
    )


def _ages_of_pairs(connection: Connection) -> None:
    """From 4 to 5: when a replay's stored answer was stored, and by which rules a request was rewritten."""
    _add_column(connection, "pair", "banked_at", "FLOAT")
    _add_column(connection, "pair", "rules", "VARCHAR NOT NULL DEFAULT ''")


def _rollouts(connection: Connection) -> None:
    """From 5 to 6: rollouts and their outcomes, prompts that were pushed."""
    schema.metadata.create_all(connection)


def _subjects(connection: Connection) -> None:
    """From 6 to 7: whom pairs and stored requests are about, by keyed digest; how far writers' pairs were delivered."""
    schema.metadata.create_all(connection)
    _add_column(connection, "pair", "subject", "VARCHAR NOT NULL DEFAULT ''")
    _add_column(connection, "banked", "subject", "VARCHAR NOT NULL DEFAULT ''")
    connection.exec_driver_sql(
        "CREATE INDEX IF NOT EXISTS pair_by_subject ON pair (subject) WHERE subject != ''"
    )


def _parts(connection: Connection) -> None:
    """From 7 to 8: pairs and their texts in parts of a day, where the database has parts."""
    words(connection).divide(connection)


def _add_column(connection: Connection, table: str, column: str, kind: str) -> None:
    """Add a column unless it is there: a step that was made without its note is made again."""
    known = words(connection).columns(connection).get(table, set())
    if column not in {name for name, _ in known}:
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")


MIGRATIONS: dict[int, Callable[[Connection], None]] = {
    1: _sums_and_read_models,
    2: _alerts,
    3: _details_of_pairs,
    4: _ages_of_pairs,
    5: _rollouts,
    6: _subjects,
    7: _parts,
}
"""version found → the step to the next one"""


def migrate(connection: Connection) -> None:
    """Bring a ledger to today's shape within the caller's transaction. Raises SchemaTrouble."""
    words(connection).alone(connection, "migrating")
    tables = words(connection).columns(connection).keys()
    ours = {schema.meta.name, schema.pair.name}
    if tables and not ours & tables:
        raise SchemaTrouble("foreign", f"it has the table {min(tables)!r}")
    if not ours <= tables and tables:
        raise SchemaTrouble("damaged", "tables are missing")
    found = _version(connection) if tables else schema.SCHEMA_VERSION
    if found > schema.SCHEMA_VERSION:
        raise SchemaTrouble("newer", f"schema {found}, this version writes {schema.SCHEMA_VERSION}")
    while found < schema.SCHEMA_VERSION:
        MIGRATIONS[found](connection)
        found += 1
        connection.execute(
            schema.meta.update()
            .where(schema.meta.c.name == "schema_version")
            .values(value=str(found).encode())
        )
    if not schema.metadata.tables.keys() <= words(connection).columns(connection).keys():
        schema.metadata.create_all(connection)
        words(connection).divide(connection)
    stored_once(connection, "schema_version", str(schema.SCHEMA_VERSION).encode())
    wrong = other_shape(connection)
    if wrong is not None:
        raise SchemaTrouble("damaged", wrong)


def other_shape(connection: Connection) -> str | None:
    """Say where a ledger of today's version has not the tables it was made with; None where it has.

    Columns and keys only: another program may have rebuilt a table without them, and then no row could be written.
    Raises SchemaTrouble where its version cannot be read.
    """
    columns = words(connection).columns(connection)
    for table in schema.metadata.sorted_tables:
        found = columns.get(table.name)
        if found is None:
            return f"the table {table.name!r} is missing"
        for column in table.columns:
            if (column.name, column.primary_key) not in found:
                return f"the column {column.name!r} of the table {table.name!r} is missing or another"
    _version(connection)
    return None


def checked_version(connection: Connection) -> int:
    """Return the version of a ledger that is there to be read. Raises SchemaTrouble for what is none, and a newer one."""
    tables = words(connection).columns(connection)
    if not tables:
        raise SchemaTrouble("damaged", "it is empty")
    noted = None
    if {schema.meta.name, schema.pair.name} <= tables.keys():
        query = select(schema.meta.c.value).where(schema.meta.c.name == "schema_version")
        noted = connection.execute(query).scalar_one_or_none()
    if noted is None:
        raise SchemaTrouble("foreign", "")
    version = int(noted)
    if version < 1:
        raise SchemaTrouble("damaged", "its version cannot be read")
    if version == schema.SCHEMA_VERSION:
        wrong = other_shape(connection) or words(connection).other_types(connection)
        if wrong is not None:
            raise SchemaTrouble("damaged", wrong)
    if version > schema.SCHEMA_VERSION:
        reason = f"schema {version}, this version of PromptGuard reads up to {schema.SCHEMA_VERSION}"
        raise SchemaTrouble("newer", reason)
    return version


def _version(connection: Connection) -> int:
    """Return the version that is noted; 1 for the first ones, whose first transaction was cut off before the note."""
    found = connection.execute(
        select(schema.meta.c.value).where(schema.meta.c.name == "schema_version")
    ).scalar_one_or_none()
    try:
        version = 1 if found is None else int(found)
    except (ValueError, TypeError):
        version = 0
    if version < 1:
        raise SchemaTrouble("damaged", "its version cannot be read")
    return version


def stored_once(connection: Connection, name: str, value: bytes) -> bytes:
    """Return the stored value of `name`, storing `value` if there is none yet; safe between processes."""
    new = words(connection).upsert(schema.meta).values(name=name, value=value)
    connection.execute(new.on_conflict_do_nothing())
    stored = connection.execute(select(schema.meta.c.value).where(schema.meta.c.name == name)).scalar_one()
    return bytes(stored)
