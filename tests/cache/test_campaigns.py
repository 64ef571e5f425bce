"""The short form of `make soak`'s campaigns against the cache (benchmarks/cache)."""

from __future__ import annotations

import pytest
from benchmarks.cache import cuts, keys, stampede, tampering

pytestmark = pytest.mark.statistical


@pytest.mark.slow
def test_no_mutation_of_a_real_request_finds_its_answer():
    for figures in (keys.body_mutations(1_500), keys.head_mutations(500)):
        assert figures.tried >= 500
        assert figures.wrong == 0


def test_a_question_written_otherwise_is_the_same_question():
    assert keys.permutations(500).wrong == 0


def test_no_two_askers_share_a_key():
    figures = keys.principals(50)
    assert (figures.tried, figures.wrong) == (400, 0)


def test_tampered_entries_are_misses(tmp_path):
    figures = tampering.campaign(400, tmp_path / "cache")
    assert (figures.tried, figures.executed, figures.wrong) == (400, 0, 0)
    assert figures.noticed >= 390
    assert figures.memory_mb < 128


@pytest.mark.parametrize("kind", cuts.WHOLE)
def test_an_answer_cut_anywhere_is_not_kept(kind):
    figures = cuts.campaign(kind, step=17)
    assert figures.cuts > 160
    assert (figures.stored, figures.added_errors, figures.faults) == (0, 0, {})


@pytest.mark.parametrize(
    ("run", "arguments", "upstream"),
    [
        (stampede.tasks, {}, 1),
        (stampede.tasks, {"bad": 1, "how": "cancel"}, 2),
        (stampede.tasks, {"bad": 4, "how": "cancel"}, 5),
        (stampede.tasks, {"bad": 1}, 2),
        (stampede.tasks, {"sampled": True, "variants": 5, "temperature": 1}, 5),
        (stampede.threads, {}, 1),
        (stampede.threads, {"bad": 1}, 2),
        (stampede.threads, {"bad": 1, "how": "exit"}, 2),
        (stampede.threads, {"bad": 1, "how": "status"}, 2),
        (stampede.threads, {"sampled": True, "variants": 3, "temperature": 1}, 3),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_equal_calls_at_one_moment_go_upstream_once(run, arguments, upstream):
    figures = run(200, **arguments)
    assert (figures.upstream, figures.hung) == (upstream, 0)
    assert figures.answered == 200 - arguments.get("bad", 0)


def test_without_single_flight_every_call_goes_upstream():
    assert stampede.tasks(50, single_flight=False).upstream == 50
    assert stampede.threads(50, single_flight=False).upstream == 50


def test_during_an_outage_nobody_queues_up():
    figures = stampede.threads(100, bad=1_000, how="status")
    assert (figures.hung, figures.failed, figures.upstream) == (0, 100, 100)
    assert figures.seconds < 20
