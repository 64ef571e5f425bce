"""The roles of docs/reference/ledger.md: each may do what it is for, and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from promptguard.ledger.reading import reading
from promptguard.ledger.retention import DAY, Retention, begin_day, forget
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.report.read import read_report
from tests.fleet.pairs import background, judged, pair, story
from tests.fleet.test_one_ledger import name_of

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "ledger.md"
ROLES = ("promptguard_reader", "promptguard_writer", "promptguard_evaluator")


@pytest.fixture
def roles(database, server):
    """Addresses of the page's three roles, for a ledger that its owner has made."""
    Ledger(database).write_pairs(story(60))
    for role in ROLES:
        server.run(f"CREATE ROLE {role} LOGIN")
    (granted,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    statements = [each for each in re.sub(r"--.*", "", granted).split(";") if each.strip()]
    server.run(*statements, database=name_of(database))
    yield {role.rpartition("_")[2]: server.url(name_of(database), user=role) for role in ROLES}
    from tests.conftest import close_backgrounds

    close_backgrounds()
    for role in ROLES:
        server.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}", database=name_of(database))


def test_a_reader_reads_and_writes_nothing(roles):
    assert read_report(roles["reader"], now=1e9).recorded_content
    with pytest.raises(LedgerUnavailable, match="denied"):
        Ledger(roles["reader"]).write_pairs([pair(1)])


def test_a_writer_pairs_and_deletes_no_pair(roles):
    ledger = Ledger(roles["writer"])
    ledger.write_pairs([pair(1)], "me", [1])
    assert ledger.claim("candidate", 1, ["one"])
    assert ledger.reserve("2026-01-01", "shadow", 1.0, 5.0, None)
    ledger.count({("pairs", "x"): 1.0})
    ledger.note(at=1.0, call=1, kind="route", stream="candidate", group="g", detail={})
    assert ledger.take_lease("rollouts", "me", 0.0, 5.0)
    ledger.drop_lease("rollouts", "me")
    assert ledger.due(1e12, ["s"], 5) == []
    with pytest.raises(LedgerUnavailable, match="denied"):
        forget(ledger, Retention(), 1e12, folded=10**9)
    with reading(roles["writer"]):
        pass


def test_an_evaluator_judges_and_forgets(roles):
    assert judged(roles["evaluator"])
    ledger = Ledger(roles["evaluator"])
    assert forget(ledger, Retention(), 1e12, folded=10**9) > 0
    found = background(roles["evaluator"])
    assert found.evaluator.flush(30)
    found.close()


def test_days_are_begun_and_dropped_by_who_is_a_member_of_the_owner(roles, server, database):
    ledger = Ledger(roles["evaluator"])
    assert begin_day(ledger, 1e9 + 2 * DAY), "without the right nothing is to be done"
    parts = "SELECT relname, relowner::regrole::text FROM pg_class WHERE relname ~ '^pair_[0-9]+_[0-9]+$' ORDER BY 1"
    (first,) = server.run(parts, database=name_of(database))
    server.run("GRANT app TO promptguard_evaluator")
    assert begin_day(ledger, 1e9 + 2 * DAY)
    assert server.run(parts, database=name_of(database)) == [first, ("pair_1_20010911", "app")]
    Ledger(roles["writer"]).write_pairs([pair(int(2 * DAY))])
    newest = ledger.pairs_after(0)[-1].id
    while forget(ledger, Retention(), 1e9 + 92 * DAY, folded=newest):
        pass
    assert server.run(parts, database=name_of(database)) == [("pair_1_20010911", "app")]


def test_only_the_owner_makes_tables(roles, database, server, monkeypatch):
    from promptguard.ledger import migrations, schema

    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    step = {
        schema.SCHEMA_VERSION - 1: lambda c: c.exec_driver_sql("ALTER TABLE lease ADD COLUMN more VARCHAR")
    }
    monkeypatch.setattr(migrations, "MIGRATIONS", {**migrations.MIGRATIONS, **step})
    with pytest.raises(LedgerUnavailable, match="denied"):
        Ledger(roles["evaluator"]).open()
    Ledger(database).open()
    Ledger(roles["evaluator"]).open()
