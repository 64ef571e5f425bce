"""What the detector's figures are judged by: intervals, the oracle tests, and that every study makes its rows."""

import math

import numpy as np
import pytest
from benchmarks.detector import changes, delays, fleet, nulls, oracle, outside, rivals
from benchmarks.detector.corpora import CHANGES, halves, pools, recorded, rounds, same_model
from benchmarks.detector.table import Row, median_interval, quantile, rendered, upper_interval

pytestmark = pytest.mark.statistical

STUDIES = (nulls, delays, changes, fleet, rivals, outside)


def test_quantiles_are_order_statistics_and_keep_what_was_not_found():
    values = [3.0, 1.0, math.inf, 2.0]
    assert [quantile(values, share) for share in (0.25, 0.5, 0.75, 0.95)] == [1.0, 2.0, 3.0, math.inf]


def test_intervals_of_quantiles_cover_as_promised():
    rng = np.random.default_rng(3)
    covered = np.zeros(2)
    for _ in range(400):
        sample = rng.random(200).tolist()
        for place, (interval, truth) in enumerate(
            ((median_interval(sample), 0.5), (upper_interval(sample), 0.95))
        ):
            covered[place] += interval[0] <= truth <= interval[1]
    assert (covered / 400 > 0.9).all()


def test_oracles_keep_their_level_and_find_a_strong_change():
    rng = np.random.default_rng(5)
    false, found = np.zeros(3), np.zeros(3)
    after = pools("ft_style_20")
    before = pools("base_A")
    for _ in range(60):
        for hits, (first, second) in ((false, halves(same_model(), rng)), (found, (before, after))):
            told = [next(iter(rounds({p: first[p]}, {p: second[p]}, rng))) for p in list(first)[:4]]
            rejected = oracle.within_prompts([oracle.kernels([*a, *b]) for _, a, b in told], rng)
            np.add(hits, rejected, out=hits)
    assert (false <= 4).all()
    assert (found >= 55).all()
    grams = oracle.paired_kernels(recorded("prime", "gpt-4")[:20])
    assert oracle.rejects_pairs(grams, rng).all()


def test_power_is_reached_where_it_stays():
    power = {10: [0.96, 0.2, 0.1], 20: [0.9, 0.96, 0.2], 30: [0.97, 0.99, 0.3]}
    assert oracle.reaching(power, 0.95) == [30.0, 20.0, math.inf]


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.NAME)
def test_every_study_has_independent_tasks_with_arguments_that_travel(study):
    tasks = study.tasks(0.01, 1)
    assert len({(task.function, task.arguments) for task in tasks}) == len(tasks)
    assert all(isinstance(argument, (int, str, tuple)) for task in tasks for argument in task.arguments)


@pytest.mark.slow
def test_rows_of_small_runs():
    told = [fleet.run(name, 2, 1) for name in fleet.SCENARIOS]
    found = fleet.rows(told) + rivals.rows([rivals.run(what, 2, 1) for what in rivals.STREAMS])
    found += nulls.rows([nulls.part(0, 3, 1), nulls.part(len(nulls.CONFIGURATIONS), 3, 1)])
    results = [changes.alarms(version, 2, 1) for version in CHANGES]
    results += [("oracle", (version, {10: [0.5, 1.0, 1.0], 20: [1.0, 1.0, 1.0]})) for version in CHANGES]
    found += changes.rows([*results, changes.run_lengths(3, 1)])
    text = rendered(found)
    assert all(isinstance(row, Row) and row.name in text for row in found)
    assert text.count("\n") == len(found) + 1
