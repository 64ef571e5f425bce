"""The remembered past: what is kept, how much of it, and what damage to it does."""

import copy
import json

import numpy as np
import pytest

from promptguard.drift import Answer, PairMonitor, vectorise
from promptguard.drift.history.history import BEFORE_ALARM, TAIL, History
from promptguard.drift.history.rows import BLOCK, MERGED
from promptguard.drift.history.tally import Tally
from tests.drift.recorded import pairs, vectors


def labelled(count):
    found = []
    for number, (first, second) in enumerate(pairs("prime", "gpt-3.5")[:count]):
        label = "yes" if number % 3 else None
        found.append(
            vectorise(
                Answer(first["answer"], label=label), Answer(second["answer"], label="no"), reference="no"
            )
        )
    return found


def same(first, second):
    arrays = ("sums", "squares", "plus", "minus", "counts", "correct")
    assert first.pairs == second.pairs
    assert first.labels == second.labels
    for name in arrays:
        assert (getattr(first, name) == getattr(second, name)).all(), name


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, MERGED, 300, 700])
def test_tallies_before_and_since_add_up_to_all_wherever_the_onset_is(count):
    stream = labelled(count)
    history, fresh = History(), History()
    for vector in stream:
        history.add(vector)
    onset = max(1, count - 150)
    for vector in stream[: onset - 1]:
        fresh.add(vector)
    before, since = history.split(onset)
    early = fresh.all
    # texts of a block that the onset divides are shared out by features: near, and nothing is lost
    assert before.counts == pytest.approx(early.counts, rel=0.02, abs=40)
    assert (before.counts + since.counts == history.all.counts).all()
    before.counts = early.counts
    same(before, early)
    same(before.without(Tally()), early)


def test_rows_are_bounded_before_and_after_an_alarm():
    stream, history = vectors("prime", "gpt-4"), History()
    for number in range(3000):
        history.add(stream[number % len(stream)])
    assert BEFORE_ALARM - MERGED <= len(history.window()) <= BEFORE_ALARM
    assert history.window().numbers[-1] == 3000
    history.alarm_at = 3000
    for number in range(3000):
        history.add(stream[number % len(stream)])
    assert history.window().numbers[-1] == 3100
    recent = history.rows_from(1)
    assert TAIL - MERGED <= len(recent) <= TAIL + MERGED
    assert recent.numbers[-1] == 6000
    assert history.all.pairs == 6000


def test_a_block_cut_by_the_alarm_keeps_every_pair_once():
    stream, history = vectors("prime", "gpt-4"), History()
    for number in range(1, 500):
        history.add(stream[number])
        if number == 77:
            history.alarm_at = 77
    assert history.window().numbers.tolist() == list(range(1, 178))
    assert history.rows_from(100).numbers.tolist() == list(range(100, 500))


def test_labels_that_never_repeat_take_bounded_memory():
    rng, history = np.random.default_rng(1), History()
    for _ in range(4000):
        first, second, wanted = (str(number) for number in rng.integers(0, 1000, 3))
        history.add(vectorise(Answer("a", label=first), Answer("b", label=second), reference=wanted))
    assert len(history.labels.names) <= 64
    assert len(history.all.labels) <= 256 + 2 * BEFORE_ALARM
    assert sum(history.all.labels.values()) == history.all.correct[0] == 4000


def test_features_are_remembered_closely():
    vector, history = vectors("prime", "gpt-3.5")[3], History()
    history.add(vector)
    rows = history.window()
    for side, values in enumerate((vector.control, vector.candidate)):
        kept = np.array([rows.values(side, place)[0] for place in range(len(values))])
        assert np.abs(kept - values / 65535).max() < 0.005
        assert ((kept == 0) == (values < 1)).all() or (values[kept == 0] < 2).all()


def test_state_of_a_group_is_small_as_json():
    monitor = PairMonitor(alpha=1e-300)
    for vector in vectors("prime", "gpt-3.5")[:600]:
        monitor.observe(vector)
    assert len(json.dumps(monitor.state_dict())) < 48_000


def damaged(state):
    blocks = state["all"]["history"]
    for change in (
        lambda: blocks["open"].__setitem__(1, 7),
        lambda: blocks["young"][0].__setitem__(3, {"base64": "AAAA"}),
        lambda: blocks["young"].append(blocks["open"]),
        lambda: blocks["dropped"].__setitem__("sums", blocks["dropped"]["plus"]),
        lambda: state["all"]["learner"].__setitem__("weights", blocks["dropped"]["plus"]),
        lambda: state["all"]["learner"]["weights"].__setitem__("zlib", "AAAA"),
        lambda: state["all"]["learner"].pop("weights"),
        lambda: blocks.pop("labels"),
    ):
        kept = copy.deepcopy(blocks), copy.deepcopy(state["all"]["learner"])
        change()
        yield state
        blocks.clear()
        blocks.update(kept[0])
        state["all"]["learner"] = kept[1]


def test_damaged_state_is_refused_by_name():
    monitor = PairMonitor(alpha=1e-300)
    for vector in vectors("prime", "gpt-3.5")[:40]:
        monitor.observe(vector)
    for state in damaged(monitor.state_dict()):
        with pytest.raises(ValueError, match="state"):
            PairMonitor.from_state(state)
