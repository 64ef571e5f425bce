"""A database that is away, full, read-only, another's, or not for this role: one line each, and calls go on."""

from __future__ import annotations

import logging

import pytest

import promptguard
from promptguard.directories import Database, check_ledger
from promptguard.errors import ConfigurationError, InputFileError
from promptguard.ledger import schema
from promptguard.ledger.reading import reading
from promptguard.ledger.spool import spool_directory
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.ledger.writer import Writer
from tests.fleet.pairs import pair
from tests.fleet.servers import PASSWORD
from tests.fleet.test_one_ledger import name_of
from tests.fleet.waiting import until


def told(address):
    """Return what who writes is told, and what who reads is."""
    with pytest.raises(LedgerUnavailable) as writing:
        Ledger(address).open()
    with pytest.raises(InputFileError) as asking, reading(address):
        pass
    for said in (str(writing.value), str(asking.value)):
        assert PASSWORD not in said
        assert "\n" not in said
        assert said.startswith("postgresql")
    return writing.value.trouble.kind, str(asking.value)


def test_nobody_listens(tmp_path):
    pytest.importorskip("psycopg")
    kind, said = told(f"postgresql://app:{PASSWORD}@127.0.0.1:1/watch")
    assert kind == "away"
    assert "does not answer" in said
    assert told(f"postgresql://app:{PASSWORD}@/watch?host={tmp_path}")[0] == "away"


def test_no_such_database_or_role(server):
    assert told(server.url("nothing"))[0] == "missing"
    assert told(server.url("postgres", user="nobody"))[0] == "denied"


def test_a_role_without_rights(database, server):
    Ledger(database).write_pairs([pair(1)])
    server.run("DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN", database=name_of(database))
    kind, said = told(server.url(name_of(database), user="guest"))
    assert kind == "denied"
    assert "docs/reference/ledger.md" in said


def test_a_role_that_only_reads(database, server):
    Ledger(database).write_pairs([pair(1)])
    server.run(
        "DROP ROLE IF EXISTS looker", "CREATE ROLE looker LOGIN", "GRANT USAGE ON SCHEMA promptguard TO looker",
        "GRANT SELECT ON ALL TABLES IN SCHEMA promptguard TO looker", database=name_of(database),
    )  # fmt: skip
    address = server.url(name_of(database), user="looker")
    with reading(address) as connection:
        assert connection.execute(schema.pair.select()).one().call == 1
    with pytest.raises(LedgerUnavailable, match="denied"):
        Ledger(address).write_pairs([pair(2)])
    server.run("DROP OWNED BY looker", database=name_of(database))


def test_a_database_that_takes_no_writes(database, server):
    ledger = Ledger(database)
    ledger.write_pairs([pair(1)])
    server.run(f"ALTER DATABASE {name_of(database)} SET default_transaction_read_only = on")
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    with pytest.raises(LedgerUnavailable):
        ledger.write_pairs([pair(2)])  # the connection that was cut
    with pytest.raises(LedgerUnavailable, match=r"read-only.*primary"):
        Ledger(database).write_pairs([pair(2)])


def test_tables_of_another_program(database, server):
    server.run(
        "CREATE SCHEMA promptguard AUTHORIZATION app",
        "CREATE TABLE promptguard.goods (id int)",
        database=name_of(database),
    )
    kind, _ = told(database)
    assert kind == "foreign"


def test_a_newer_version_and_a_table_that_is_another(database, server):
    Ledger(database).write_pairs([pair(1)])
    server.run(
        "UPDATE promptguard.meta SET value = '999' WHERE name = 'schema_version'", database=name_of(database)
    )
    assert told(database)[0] == "newer"
    server.run(
        f"UPDATE promptguard.meta SET value = '{schema.SCHEMA_VERSION}' WHERE name = 'schema_version'",  # noqa: S608
        "ALTER TABLE promptguard.pair DROP COLUMN usd", database=name_of(database),
    )  # fmt: skip
    kind, said = told(database)
    assert kind == "damaged"
    assert "'usd'" in said


def test_writing_goes_on_after_a_restart(server, database):
    ledger = Ledger(database)
    ledger.write_pairs([pair(1)])
    server.stop("immediate")
    with pytest.raises(LedgerUnavailable, match="away"):
        ledger.write_pairs([pair(2)])
    server.start()

    def written():
        try:
            ledger.write_pairs([pair(3)])
        except LedgerUnavailable:
            return False
        return True

    until(written)
    assert [row.call for row in ledger.pairs_after(0)] == [1, 3]


FULL = """
CREATE FUNCTION promptguard.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON promptguard.pair EXECUTE FUNCTION promptguard.refuse();
"""


def test_pairs_wait_on_disk_while_that_of_the_database_is_full(database, server, tmp_path, monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_LOCAL", str(tmp_path))
    ledger, faults = Ledger(database), []
    ledger.write_pairs([pair(1)])
    server.run(FULL, database=name_of(database))
    with pytest.raises(LedgerUnavailable, match=r"full.*make room"):
        ledger.write_pairs([pair(2)])
    writer = Writer(ledger, lambda: None, lambda _where, error: faults.append(error))
    for number in range(2, 100):
        writer.put_pair(pair(number))
    until(lambda: list(spool_directory(ledger.place).glob("*.pairs")))
    assert not writer.flush(0.2)
    assert {error.trouble.kind for error in faults} == {"full"}
    server.run("DROP TRIGGER refuse ON promptguard.pair", database=name_of(database))
    assert writer.flush(60)
    writer.close(5)
    assert [row.call for row in ledger.pairs_after(0)] == list(range(1, 100))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql+psycopg2://u:%s@h/d", "did you mean postgresql+psycopg"),
        ("mysql://u:%s@h/d", "no such kind"),
        ("postgresql://u:%s@h", "names no database"),
        ("postgresql://u:%s@/d", "names no host"),
        ("postgresql://u:%s@h:port/d", "cannot be read"),
        ("postgresql://u:***@h/d", "hidden where this was copied from"),
    ],
)
def test_an_address_that_cannot_be(address, said):
    given = address % PASSWORD if "%s" in address else address
    from openai import OpenAI

    with pytest.raises(ConfigurationError) as refused:
        promptguard.wrap(OpenAI(api_key="k"), ledger=given)
    assert said in str(refused.value)
    assert PASSWORD not in str(refused.value)


def test_a_missing_package_is_said_with_the_extra(monkeypatch):
    import importlib.util

    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "psycopg" else known(name))
    with pytest.raises(ConfigurationError, match=r"promptguard-shadow\[postgres\]"):
        check_ledger("postgresql://u@h/d")


def test_an_address_shows_no_password_however_it_is_used():
    pytest.importorskip("psycopg")
    import copy
    import pickle

    address = check_ledger(f"postgresql+psycopg://u:{PASSWORD}@h/d?sslmode=require&sslpassword={PASSWORD}")
    assert isinstance(address, Database)
    for shown in (
        str(address),
        repr(address),
        f"{address}",
        address + "",
        repr({"ledger": address}),
    ):
        assert PASSWORD not in shown
    assert PASSWORD in address.url
    assert copy.deepcopy(address).url == pickle.loads(pickle.dumps(address)).url == address.url  # noqa: S301
    assert address.cleaned(f"at {PASSWORD}!") == "at ***!"


def test_calls_go_on_while_it_is_away(provider, caplog):
    pytest.importorskip("psycopg")
    from openai import OpenAI

    from tests.conftest import close_backgrounds

    client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
    with caplog.at_level(logging.INFO):
        wrapped = promptguard.wrap(
            client,
            ledger=f"postgresql://app:{PASSWORD}@127.0.0.1:1/watch",
            shadow=promptguard.Shadow(model="n", sample=1.0),
        )
        for number in range(3):
            answer = wrapped.chat.completions.create(
                model="m", messages=[{"role": "user", "content": str(number)}]
            )
            assert answer.choices[0].message.content
        promptguard.flush(1)
    close_backgrounds()
    assert PASSWORD not in caplog.text
