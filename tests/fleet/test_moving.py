"""A ledger is copied whole between directory and database; pairs go from one to another as JSON lines or Parquet."""

from __future__ import annotations

import json
import sys

import pytest
from sqlalchemy import select

from promptguard.cli import main
from promptguard.errors import ConfigurationError, InputFileError
from promptguard.keeping import copy_secret
from promptguard.ledger import copying, parquet, schema
from promptguard.ledger.copying import MARK, copy_ledger
from promptguard.ledger.pair_files import lines_of, take_lines
from promptguard.ledger.reading import reading
from promptguard.ledger.store import Ledger
from tests.fleet.pairs import judged, pair, story, told
from tests.marks import spread


@pytest.fixture
def filled(tmp_path):
    """A ledger in a directory, judged, with rows in many tables."""
    ledger = Ledger(tmp_path / "from")
    assert ledger.seed
    ledger.write_pairs(story(400))
    assert ledger.claim("candidate", 1, ["a", "b", "ä", "Z"])
    ledger.count({("pairs", "candidate: compared"): 3.0})
    ledger.note_sightings({("o", "m", "s", "", "", "", ""): (1.0, 2.0, 3)})
    assert ledger.reserve("2026-01-01", "shadow", 0.5, None, None)
    judged(tmp_path / "from")
    return tmp_path / "from"


def everything(ledger):
    with reading(ledger) as connection:
        return {
            table.name: sorted(
                repr(tuple(row)) for row in connection.execute(select(table)) if not is_own(table, row)
            )
            for table in schema.metadata.sorted_tables
        }


def is_own(table, row):
    return table is schema.meta and row.name.startswith((MARK, "shared_secret"))


def test_a_ledger_goes_to_a_database_and_back(filled, database, tmp_path):
    copy_ledger(filled, database)
    assert everything(database) == everything(filled)
    assert told(database) == told(filled)
    copy_ledger(database, tmp_path / "back")
    assert everything(tmp_path / "back") == everything(filled)
    for where in (filled, database):
        Ledger(where).write_pairs(story(100, seed=9))
    assert judged(database) == judged(filled), "both go on alike"


@pytest.mark.parametrize("table", spread(["pair", "content", "claim"], 1))
def test_a_copy_that_is_cut_off_goes_on(filled, database, monkeypatch, table):
    monkeypatch.setattr(copying, "CHUNK", 3 if table == "claim" else 70)
    seen = []

    def tell(name, rows):
        seen.append((name, rows))
        if name == table and sum(each == name for each, _ in seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_ledger(filled, database, tell)
    again = copy_ledger(filled, database)
    assert everything(database) == everything(filled)
    before = sum(rows for name, rows in seen if name == table)
    with reading(filled) as connection:
        assert (
            again.rows[table] == len(connection.execute(select(schema.metadata.tables[table])).all()) - before
        )
    Ledger(filled).write_pairs([pair(10_000)])
    assert copy_ledger(filled, database).pairs == 1, "what has come since"


def test_a_place_that_is_in_use_is_left_alone(filled, database, tmp_path):
    Ledger(database).write_pairs([pair(1)])
    with pytest.raises(ConfigurationError, match="holds a ledger already"):
        copy_ledger(filled, database)
    copy_ledger(filled, tmp_path / "copy")
    Ledger(tmp_path / "other").write_pairs([pair(2)])
    with pytest.raises(ConfigurationError, match="copy of another"):
        copy_ledger(tmp_path / "other", tmp_path / "copy")
    Ledger(tmp_path / "copy").write_pairs([pair(3)])
    with pytest.raises(ConfigurationError, match="it is in use"):
        copy_ledger(filled, tmp_path / "copy")


def test_the_secret_goes_with_it(filled, database, tmp_path):
    from promptguard.cache.mackey import load_mac_key
    from promptguard.directories import check_ledger
    from promptguard.ledger.secret import shared_secret

    secret = load_mac_key(filled / "keys")
    copy_ledger(filled, database)
    copy_secret(filled, database)
    assert shared_secret(check_ledger(database)) == secret
    copy_ledger(database, tmp_path / "back")
    copy_secret(database, tmp_path / "back")
    assert load_mac_key(tmp_path / "back" / "keys") == secret


def pairs_of(ledger):
    with reading(ledger) as connection:
        rows = connection.execute(select(schema.pair).order_by(schema.pair.c.id)).all()
        texts = connection.execute(select(schema.content).order_by(schema.content.c.pair_id)).all()
    return [tuple(row)[1:] for row in rows], [tuple(row)[1:] for row in texts]


def test_pairs_go_through_a_file(filled, database, tmp_path):
    lines = list(lines_of(filled, texts=True))
    assert take_lines(database, lines, "file") == 400
    assert pairs_of(database) == pairs_of(filled)
    assert take_lines(database, lines, "file") == 0
    Ledger(filled).write_pairs([pair(1000)])
    assert take_lines(database, list(lines_of(filled, texts=True)), "file") == 1
    assert judged(database) == judged(filled)
    assert "question 3" not in "".join(lines_of(filled))
    Ledger(tmp_path / "other").write_pairs([pair(2)])
    with pytest.raises(InputFileError, match="another seed"):
        take_lines(tmp_path / "other", lines, "file")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: ["nothing", *lines[1:]], "file: no file of pairs"),
        (lambda lines: [json.dumps({"format": "promptguard pairs 9", "seed": ""})], "another format"),
        (lambda lines: [lines[0], lines[1][:-9]], "line 2 is no pair"),
        (lambda lines: [*lines[:3], lines[3].replace('"stream"', '"steam"')], "line 4 is no pair"),
        (lambda lines: [*lines[:2], "[1, {}]"], "line 3 is no pair .stream is missing"),
        (lambda lines: [lines[0], lines[1].replace('"call":0', '"call":"0"')], "call is of another kind"),
        (lambda lines: [], "no file of pairs"),
    ],
)
def test_a_file_that_is_none(filled, tmp_path, change, said):
    with pytest.raises(InputFileError, match=said):
        take_lines(tmp_path / "new", change(list(lines_of(filled))), "file")


@pytest.fixture
def pq():
    """pyarrow's own part for such files: other environments than the first have none."""
    return pytest.importorskip("pyarrow.parquet")


def test_pairs_go_through_a_table(filled, database, tmp_path, pq):
    file = tmp_path / "pairs.parquet"
    assert parquet.write(filled, file, texts=True) == 400
    assert file.stat().st_mode & 0o777 == 0o600
    assert parquet.take(database, file) == 400
    assert pairs_of(database) == pairs_of(filled)
    assert parquet.take(database, file) == 0
    assert take_lines(database, list(lines_of(filled)), "file") == 0, "the same pairs in lines"
    assert judged(database) == judged(filled)
    table = pq.read_table(file)
    assert table.num_rows == 400
    assert {"id", "stream", "group", "at", "question"} <= set(table.column_names)
    assert parquet.write(filled, file, stream="candidate") == table.column("stream").to_pylist().count(
        "candidate"
    )
    assert "question" not in pq.read_schema(file).names


def test_many_pairs_are_written_in_groups(tmp_path, monkeypatch, pq):
    monkeypatch.setattr(parquet, "_ROWS", 600)
    Ledger(tmp_path / "a").write_pairs(story(1300))
    assert parquet.write(tmp_path / "a", tmp_path / "pairs.parquet") == 1300
    assert pq.ParquetFile(tmp_path / "pairs.parquet").num_row_groups == 2
    assert parquet.take(tmp_path / "b", tmp_path / "pairs.parquet") == 1300
    assert pairs_of(tmp_path / "b")[0] == pairs_of(tmp_path / "a")[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.replace_schema_metadata({}), "no file of pairs"),
        (lambda table: table.drop_columns(["stream"]), "row 1 is no pair .stream is missing"),
        (lambda table: table.append_column("more", [["x"] * len(table)]), "'more' is not known"),
        (lambda table: table.drop_columns(["id"]), "row 1 is no pair"),
        (lambda table: table.set_column(0, "id", [["one"] * len(table)]), "id is of another kind"),
    ],
)
def test_a_table_of_something_else_is_told(tmp_path, change, said, pq):
    Ledger(tmp_path / "a").write_pairs(story(3))
    file = tmp_path / "pairs.parquet"
    parquet.write(tmp_path / "a", file)
    pq.write_table(change(pq.read_table(file)), file)
    with pytest.raises(InputFileError, match=said):
        parquet.take(tmp_path / "b", file)


@pytest.mark.usefixtures("pq")
def test_a_table_that_is_cut_off_is_told(tmp_path):
    Ledger(tmp_path / "a").write_pairs(story(3))
    file = tmp_path / "pairs.parquet"
    parquet.write(tmp_path / "a", file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputFileError, match="no Parquet file that can be read"):
        parquet.take(tmp_path / "b", file)


def test_without_pyarrow_the_command_is_named_and_the_file_left_alone(tmp_path, capsys, monkeypatch):
    Ledger(tmp_path / "a").write_pairs(story(3))
    file = tmp_path / "pairs.parquet"
    file.write_bytes(b"PAR1 mine")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for command in (
        ("export", "-o", file, "--ledger", tmp_path / "a"),
        ("import", file, "--ledger", tmp_path / "b"),
    ):
        assert run(*command) == 2
        assert "pip install 'promptguard-shadow[parquet]'" in capsys.readouterr().err
    assert file.read_bytes() == b"PAR1 mine"


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in arguments])
    return int(ended.value.code or 0)


def test_commands(filled, database, tmp_path, capsys):
    assert run("ledger", "copy", filled, database, "--json") == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 400
    assert run("ledger", "copy", filled, database) == 0
    assert "copied: 0 pairs" in capsys.readouterr().out
    file = tmp_path / "pairs.jsonl"
    assert run("export", "-o", file, "--ledger", database) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("import", file, "--ledger", tmp_path / "new", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"added": 400}
    table = tmp_path / "pairs.parquet"
    assert run("export", "-o", table, "--ledger", database) == 0
    assert "400 pairs" in capsys.readouterr().err
    assert run("import", table, "--ledger", tmp_path / "new", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"added": 0}
    for wrong in (
        ("import", tmp_path / "none"),
        ("export", "-o", tmp_path / "no" / "pairs.parquet", "--ledger", database),
        ("export", "--ledger", tmp_path / "none"),
        ("ledger", "copy", tmp_path / "no", database),
    ):
        assert run(*wrong) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_files_of_two_ledgers_of_one_secret_are_both_taken(tmp_path):
    seed = Ledger(tmp_path / "a").seed
    second = Ledger(tmp_path / "b")
    with second.transaction() as connection:
        connection.execute(schema.meta.insert().values(name="feature_seed", value=seed))
    Ledger(tmp_path / "a").write_pairs(story(5))
    second.write_pairs(story(4))
    for name, count in (("a", 5), ("b", 4), ("a", 0)):
        assert take_lines(tmp_path / "c", lines_of(tmp_path / name), name) == count


def test_a_text_that_no_database_takes_is_copied_without_what_it_refuses(tmp_path):
    Ledger(tmp_path / "a").write_pairs([pair(1)])
    with Ledger(tmp_path / "a").transaction() as connection:
        connection.exec_driver_sql("UPDATE pair SET asked = 'm' || char(0) || 'n'")
    copy_ledger(tmp_path / "a", tmp_path / "b")
    (row,) = Ledger(tmp_path / "b").pairs_after(0)
    assert row.asked == "m\ufffdn"
