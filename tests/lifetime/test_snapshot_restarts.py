"""A fold that is cut off anywhere and goes on from its snapshot is the fold that never stopped, bit for bit."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sqlite3

import pytest

import promptguard
from promptguard.background import snapshots
from promptguard.background.engine import Background
from promptguard.background.folding import WHOLE, Fold
from promptguard.background.telling import Teller
from promptguard.core.options import Drift
from promptguard.drift import Answer, vectorise
from promptguard.ledger.folds import Folds, Saved
from promptguard.ledger.retention import Retention, forget
from promptguard.ledger.store import Ledger
from tests.fleet.pairs import DRIFT, judged, story
from tests.marks import spread

PAIRS = 900
GROUPS = [f"group {number}@1" for number in range(6)]
TEXTS = [
    "Yes.",
    "No, never.",
    '{"a": 1}',
    "I am sorry, I cannot help.",
    "A longer answer. " * 12,
    "1. one\n2. two",
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A ledger of PAIRS pairs in several groups, streams and epochs; two groups change, some pairs are lost."""
    ledger, rng = Ledger(tmp_path_factory.mktemp("folded")), random.Random(5)
    vectors = {
        (one, other): vectorise(Answer(one), Answer(other), seed=b"s" * 16).to_bytes()
        for one in TEXTS
        for other in TEXTS
    }
    rows = []
    for number in range(PAIRS):
        group = rng.choice(GROUPS)
        text = rng.choice(TEXTS[:4])
        changed = group in GROUPS[:2] and number > PAIRS // 3
        other = rng.choice(TEXTS[3:]) if changed else text if rng.random() < 0.9 else rng.choice(TEXTS)
        outcome = (
            "compared"
            if rng.random() < 0.97
            else rng.choice(["candidate_error", "control_error", "not_paired"])
        )
        rows.append(
            {
                "stream": rng.choice(["candidate", "candidate", "replay", "repeat"]),
                "epoch": 1 if number < PAIRS // 2 else rng.choice([1, 2]), "group": group, "at": float(number),
                "call": number, "outcome": outcome, "reason": "", "asked": "m", "control_model": "m",
                "candidate_model": "n", "vector": vectors[text, other] if outcome == "compared" else None,
            }
        )  # fmt: skip
    ledger.write_pairs(rows)
    return ledger


@pytest.fixture(autouse=True)
def _no_snapshot_of_another_test(written):
    Folds(written).begin_anew()


def rows_of(ledger, after=0):
    found = []
    while more := ledger.pairs_after(after):
        found += more
        after = more[-1].id
    return found


def everything(ledger, fold):
    """Return the whole state of a fold, and what it tells, as text."""
    snapshots.mark_unsaved(fold)
    for known in fold.streams.values():
        known.changed = dict.fromkeys([WHOLE, *known.monitor.groups])
        known.explained.clear()
        known.onsets.clear()
    parts = [
        (part.stream, part.epoch, part.group, part.state)
        for part in snapshots.parts_of(fold, between=lambda: None)
    ]
    teller = Teller(Folds(ledger))
    told = [
        json.dumps(each.document, sort_keys=True)
        for stream, epoch, known in fold.each_changed()
        for each in teller.tell(known, (stream, epoch), until=fold.last_id, fully=True, effect_from=None)
    ]
    return fold.last_id, parts, told


def restart(ledger, fold, drift, identity=b"one"):
    """Save a fold and go on from what was saved, as another process does."""
    folds, key = Folds(ledger), snapshots.key_of(drift, identity)
    folds.save(key, fold.last_id, snapshots.parts_of(fold, between=lambda: None))
    snapshots.mark_saved(fold)
    saved = folds.load(key)
    assert saved is not None
    found = snapshots.restored(saved, drift)
    assert found is not None
    return found


DRIFTS = {
    "monitor": Drift(),
    "gate": Drift(mode="gate"),
    "short": Drift(horizon=150),
    "lifetime": Drift(lifetime=True, alpha=0.05, tolerance=0.1),
}


@pytest.mark.parametrize("name", spread(DRIFTS, 2))
def test_random_restarts_change_no_bit(written, name):
    drift = DRIFTS[name]
    rows, rng = rows_of(written), random.Random(7)
    whole, pieces = Fold(drift), Fold(drift)
    rang_whole = [row.id for row in rows if whole.take(row)]
    rang_pieces, until = [], rng.randint(1, 120)
    for number, row in enumerate(rows):
        if number == until:
            pieces = restart(written, pieces, drift)
            until += rng.choice([1, 2, rng.randint(1, 60), rng.randint(1, 400)])
        if pieces.take(row):
            rang_pieces.append(row.id)
    assert rang_pieces == rang_whole
    assert rang_whole, "some group must ring"
    assert everything(written, pieces) == everything(written, whole)


def test_a_restart_after_every_pair_changes_no_bit(written):
    drift = Drift()
    whole, pieces = Fold(drift), Fold(drift)
    for row in rows_of(written)[:150]:
        whole.take(row)
        pieces.take(row)
        pieces = restart(written, pieces, drift)
    assert everything(written, pieces) == everything(written, whole)


def test_where_a_change_began_is_right_though_the_first_pairs_are_forgotten(written, tmp_path):
    shutil.copytree(written.place, tmp_path / "ledger")
    copied, fold = Ledger(tmp_path / "ledger"), Fold(Drift())
    rows = rows_of(copied)
    for row in rows:
        fold.take(row)
    places = ("alarm", "onset", "onset_low", "onset_high")

    def documents():
        *_, told = everything(copied, fold)
        return [json.loads(text) for text in told]

    def moments():
        return [document["moments"].get(place) for document in documents() for place in places]

    def call_of(document, number):
        of_stream = [
            row for row in rows if (row.stream, row.epoch) == (document["stream"], document["epoch"])
        ]
        mine = [
            row
            for row in of_stream
            if row.outcome == "compared" and document.get("group") in (None, row.group)
        ]
        return mine[number - 1].call

    for document in documents():
        for found in filter(None, (document["moments"].get(place) for place in places)):
            assert found["call"] == call_of(document, found["pair"])
    before = moments()
    while forget(copied, Retention(), 1e9, folded=PAIRS // 2):
        pass
    after = moments()
    assert all(now in (None, then) for then, now in zip(before, after, strict=True))
    assert None in [now for then, now in zip(before, after, strict=True) if then is not None]
    assert any(after)


def damaged(written, statement):
    with contextlib.closing(sqlite3.connect(written.engine.path)) as connection, connection:
        connection.execute(statement)
    connection.close()


UNUSABLE = {
    "truncated": "UPDATE snapshot_part SET state = substr(state, 1, length(state) / 2)",
    "one part empty": "UPDATE snapshot_part SET state = x'' WHERE \"group\" = 'group 3@1'",
    "one byte changed": "UPDATE snapshot_part SET state = CAST(replace(CAST(state AS TEXT), '1', '2') AS BLOB)",
    "a part missing": "DELETE FROM snapshot_part WHERE \"group\" = 'group 3@1'",
    "heads missing": "DELETE FROM snapshot_part WHERE \"group\" = ''",
    "a text for bytes": "UPDATE snapshot_part SET state = 'text'",
    "every part missing": "DELETE FROM snapshot_part",
    "a stream missing": "DELETE FROM snapshot_part WHERE stream = 'candidate'",
    "another epoch's": "UPDATE snapshot_part SET epoch = epoch + 7 WHERE stream = 'candidate'",
    "an earlier last pair": "UPDATE snapshot SET last_id = 10",
    "a later last pair": "UPDATE snapshot SET last_id = last_id + 1",
    "a last pair below none": "UPDATE snapshot SET last_id = -5",
    "no contents": "UPDATE snapshot_part SET state = (SELECT min(state) FROM snapshot_part) WHERE stream = ''",
}


@pytest.mark.parametrize("how", UNUSABLE)
def test_a_snapshot_that_cannot_be_read_is_passed_over(written, how):
    drift, fold = Drift(), Fold(Drift())
    for row in rows_of(written)[:300]:
        fold.take(row)
    restart(written, fold, drift)
    damaged(written, UNUSABLE[how])
    saved = Folds(written).load(snapshots.key_of(drift, b"one"))
    assert saved is None or snapshots.restored(saved, drift) is None


@pytest.mark.parametrize(
    "other",
    [Drift(alpha=0.02), Drift(horizon=999), Drift(mode="gate"), Drift(tolerance=0.2), Drift(lifetime=True)],
)
def test_a_snapshot_of_other_settings_is_not_taken(written, other):
    fold = Fold(Drift())
    for row in rows_of(written)[:50]:
        fold.take(row)
    restart(written, fold, Drift())
    assert Folds(written).load(snapshots.key_of(other, b"one")) is None
    assert Folds(written).load(snapshots.key_of(Drift(), b"another file")) is None
    assert Folds(written).load(snapshots.key_of(Drift(), b"one")) is not None


def test_a_snapshot_that_has_seen_more_than_there_is_is_not_taken(written):
    fold = Fold(Drift())
    for row in rows_of(written)[:50]:
        fold.take(row)
    restart(written, fold, Drift())
    damaged(written, f"UPDATE snapshot SET last_id = {PAIRS + 10}")  # noqa: S608 - a number
    assert Folds(written).load(snapshots.key_of(Drift(), b"one")) is None


def test_a_quiet_ledger_whose_pairs_are_old_keeps_its_verdicts(written, tmp_path):
    shutil.copytree(written.place, tmp_path / "ledger")
    copied = Ledger(tmp_path / "ledger")
    expected = verdicts_of(copied.place)
    row = {**rows_of(written)[0]._mapping, "id": None}
    while forget(copied, Retention(), 1e9, folded=PAIRS):
        pass
    assert len(rows_of(copied)) == 1
    copied.write_pairs([row])
    found = {tuple(each[:3]): json.loads(each[3])["pairs"] for each in verdicts_of(copied.place)}
    for stream, epoch, group, document in expected:
        more = (stream, epoch, group) == (row["stream"], row["epoch"], row["group"]) and row[
            "outcome"
        ] == "compared"
        assert found[stream, epoch, group] == json.loads(document)["pairs"] + more


def test_verdicts_that_somebody_deleted_are_told_again(written, tmp_path):
    shutil.copytree(written.place, tmp_path / "ledger")
    copied = Ledger(tmp_path / "ledger")
    expected = verdicts_of(copied.place)
    damaged(copied, "DELETE FROM verdict_group")
    damaged(copied, "DELETE FROM verdict")
    assert verdicts_of(copied.place) == expected
    assert [each.status for each in promptguard.verdicts(copied.place)]


def verdicts_of(directory, drift=DRIFTS["monitor"]):
    background = Background(directory, drift, (), record_content=None, queue=1, threads=1, wall=lambda: 1e4)
    assert background.flush(60.0)
    background.close(20.0)
    with contextlib.closing(sqlite3.connect(directory / "ledger.sqlite3")) as connection:
        query = 'SELECT stream, epoch, "group", document FROM verdict_group ORDER BY 1, 2, 3'
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("how", spread([*UNUSABLE, "nothing", "other settings meanwhile"], 4))
def test_the_verdicts_of_the_next_process_are_the_same_whatever_the_snapshot_is(written, how, tmp_path):
    shutil.copytree(written.place, tmp_path / "ledger")
    copied = Ledger(tmp_path / "ledger")
    expected = verdicts_of(copied.place)
    if how in UNUSABLE:
        damaged(copied, UNUSABLE[how])
    elif how != "nothing":
        assert verdicts_of(copied.place, DRIFTS["short"]) != expected
    damaged(copied, "DELETE FROM verdict_group")
    damaged(copied, "UPDATE meta SET value = CAST('0' AS BLOB) WHERE name = 'judged'")
    copied.write_pairs([{**row._mapping, "id": None} for row in rows_of(written)[:50]])
    shutil.copytree(written.place, tmp_path / "anew")
    anew = Ledger(tmp_path / "anew")
    anew.write_pairs([{**row._mapping, "id": None} for row in rows_of(written)[:50]])
    again = {tuple(row[:3]): row[3] for row in verdicts_of(copied.place)}
    right = {tuple(row[:3]): row[3] for row in verdicts_of(anew.place)}
    assert {place: right[place] for place in again} == again
    assert again


def test_a_snapshot_without_curves_of_groups_is_gone_on_from(written):
    """As versions wrote them in which only the stream had a curve, of points without time."""
    rows, fold = rows_of(written), Fold(Drift())
    for row in rows:
        fold.take(row)
    saved = {}
    for part in snapshots.parts_of(fold, between=lambda: None):
        if (part.stream, part.epoch) == snapshots.CONTENTS:
            continue
        told = json.loads(part.state[8:])
        if part.group == WHOLE:
            told["curve"] = [point[:3] for point in told["curve"]]
        else:
            told = told["state"]
        saved.setdefault((part.stream, part.epoch), []).append((part.group, snapshots._packed(told)))
    again = snapshots.restored(Saved(fold.last_id, saved), Drift())
    assert again is not None
    stream = again.streams["candidate", 1]
    assert stream.curve(WHOLE).points[-1][3] is None
    last = next(row for row in reversed(rows) if row.stream == "candidate" and row.outcome == "compared")
    stream.take(last)
    assert stream.curve(last.group).pairs == stream.monitor.brief(last.group).pairs


def test_what_a_killed_process_had_saved_and_not_told_is_told_by_the_next(tmp_path):
    rows = story(400)
    killed, whole = Ledger(tmp_path / "killed"), Ledger(tmp_path / "whole")
    killed.write_pairs(rows[:300])
    judged(tmp_path / "killed")
    killed.write_pairs(rows[300:])
    fold = Fold(DRIFT)
    for row in rows_of(killed):
        fold.take(row)
    # A snapshot comes before the verdicts of all groups where these take longer to explain than there is time.
    Folds(killed).save(
        snapshots.key_of(DRIFT, killed.identity),
        fold.last_id,
        snapshots.parts_of(fold, between=lambda: None),
    )
    whole.write_pairs(rows)
    assert judged(tmp_path / "killed") == judged(tmp_path / "whole")
