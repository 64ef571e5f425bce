"""SetMonitor: its e-values are fair, its rounds are read at their ends, its state continues bit for bit."""

import json
import math
from functools import cache
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptguard.drift import Answer, LabelRule, SetMonitor, vectorise, vectorise_answer
from promptguard.drift.betting.partitions import MOST, make_round, paired
from promptguard.drift.betting.setbet import EXPERTS, SetBet
from tests.drift.recorded import changed_answers, same_model_answers
from tests.drift.test_properties import answers as any_answers

LONG = [Answer(f"Because {n} has no divisors, therefore it is prime. " * 4) for n in (3, 5, 7, 11, 13)]
SHORT = [Answer(text) for text in ("[No]", "[No].", "No", "[Yes]", "Yes")]


@cache
def measured(text):
    return vectorise_answer(Answer(text))


def rounds_of(pools, rng, size=5, count=None):
    """Rounds of two disjoint handfuls of each pool, in random order."""
    found = []
    for texts in pools:
        order = [texts[i] for i in rng.permutation(len(texts))]
        for first in range(0, len(order) - 2 * size + 1, 2 * size):
            found.append((order[first : first + size], order[first + size : first + 2 * size]))
    chosen = (found[i] for i in rng.permutation(len(found))[:count])
    return [tuple([measured(text) for text in side] for side in sides) for sides in chosen]


def feed(monitor, count, banked=LONG, live=SHORT, group=None):
    for _ in range(count):
        verdict = monitor.update(banked, live, group)
    return verdict


def played(banked, live, number=1):
    vectors = [paired(*sides) for sides in zip(banked, live, strict=False)]
    return make_round(banked, live, vectors, (b"", number))


@pytest.mark.parametrize(("banked", "live"), [(2, 2), (3, 3), (2, 3), (5, 5), (3, 6)])
def test_the_first_row_is_the_truth_and_every_labeling_is_there_once(banked, live):
    answers = [vectorise_answer(Answer("a" * n)) for n in range(banked + live)]
    labels = played(answers[:banked], answers[banked:]).labels
    assert labels[0].tolist() == [0.0] * banked + [1.0] * live
    assert len({tuple(row) for row in labels}) == len(labels) == math.comb(banked + live, live)


def test_large_rounds_draw_new_labelings_each_round():
    answers = [vectorise_answer(Answer("a" * n)) for n in range(16)]
    first, again, other = (played(answers[:8], answers[8:], number).labels for number in (1, 1, 2))
    assert len(first) == MOST
    assert np.array_equal(first, again)
    assert not np.array_equal(first[1:], other[1:])
    assert (first.sum(axis=1) == 8).all()


def test_over_every_assignment_of_the_sides_a_round_pays_one_on_average():
    """Exact, no simulation: the mean over all assignments of the four answers, whatever was learned before."""
    rng = np.random.default_rng(3)
    before = [played(*sides) for sides in rounds_of(same_model_answers().values(), rng, 2, 12)]
    last = [vectorise_answer(answer) for answer in (LONG[0], LONG[1], SHORT[0], SHORT[1])]
    payoffs = []
    for order in permutations(last):
        learner = SetBet()
        for seen in before:
            learner.score_then_learn(seen, 0.0)
        payoffs.append(math.exp(learner.score_then_learn(played(list(order[:2]), list(order[2:])), 0.0)))
    assert np.mean(payoffs) == pytest.approx(1.0, abs=1e-9)
    assert np.ptp(payoffs) > 0.1


@pytest.mark.parametrize(("size", "streams"), [(5, 60), (8, 40)])
def test_mean_payoff_of_unchanged_rounds_is_one(size, streams):
    rng = np.random.default_rng(5)
    payoffs = []
    for _ in range(streams):
        monitor = SetMonitor(seed=rng.bytes(8))
        for banked, live in rounds_of(same_model_answers().values(), rng, size, 6):
            verdict = monitor.observe(banked, live)
        payoffs.append(10**verdict.log10_evidence)
    assert np.mean(payoffs) - 1 < 4 * np.std(payoffs) / math.sqrt(streams)


def test_identical_answers_pay_exactly_one():
    monitor = SetMonitor()
    verdict = feed(monitor, 10, [LONG[0]] * 5, [LONG[0]] * 5)
    assert verdict.log10_evidence == pytest.approx(0.0, abs=1e-12)
    assert (verdict.status, verdict.pairs, monitor.rounds) == ("no_drift", 50, 10)


def test_a_strong_change_is_found_in_two_rounds():
    monitor = SetMonitor()
    assert feed(monitor, 2).alarm_at == 10
    assert monitor.alarm_round == 2
    told = monitor.explain()
    assert told.status == "drift"
    assert told.onset.pair == 1
    assert told.changes


@pytest.mark.parametrize(("name", "live"), [("ft_style_20", 15), ("quant_q8_0", 120), ("serv_top_p0.5", 200)])
def test_live_answers_to_alarm_on_a_real_model(name, live):
    rng = np.random.default_rng(7)
    stored, now = same_model_answers(), changed_answers(name)
    needed = []
    for _ in range(5):
        monitor = SetMonitor()
        for prompt in rng.permutation(sorted(now)):
            sides = (rng.choice(pool[prompt], 5, replace=False) for pool in (stored, now))
            verdict = monitor.update(*([Answer(str(text)) for text in side] for side in sides))
            if verdict.alarm_at:
                break
        needed.append(verdict.alarm_at or 10**6)
    assert np.median(needed) <= live


def test_a_pair_is_the_one_that_vectorise_makes():
    rule = LabelRule("prime", "1", {"yes": r"(?i)yes", "no": r"(?i)\bno\b"})
    for first, second in zip(LONG, SHORT, strict=True):
        sides = (vectorise_answer(answer, seed=b"s", labels=rule) for answer in (first, second))
        assert paired(*sides, "yes", b"s") == vectorise(
            first, second, seed=b"s", labels=rule, reference="yes"
        )


@pytest.mark.parametrize("arguments", [{}, {"mode": "monitor", "horizon": 200}])
def test_state_continues_bit_for_bit(arguments):
    rng = np.random.default_rng(11)
    stream = rounds_of(same_model_answers().values(), rng, 3, 12)
    live, resumed = SetMonitor(seed=b"x", **arguments), SetMonitor(seed=b"x", **arguments)
    for number, (banked, fresh) in enumerate(stream):
        live.observe(banked, fresh, "ab"[number % 2])
        resumed = SetMonitor.from_state(json.loads(json.dumps(resumed.state_dict())), seed=b"x")
        resumed.observe(banked, fresh, "ab"[number % 2])
    assert resumed.state_dict() == live.state_dict()
    assert resumed.explain() == live.explain()
    assert (resumed.rounds, resumed.alarm_round) == (live.rounds, live.alarm_round) == (12, None)


def test_a_round_that_lost_an_answer_is_charged_the_least_it_could_have_paid():
    monitor = SetMonitor()
    feed(monitor, 2)
    before, lost = monitor.brief(), Answer(error="timeout")
    verdict = monitor.update(LONG, [*LONG[:3], lost, lost])
    assert (verdict.pairs, dict(verdict.skipped)) == (before.pairs, {"candidate_error": 2})
    assert before.log10_evidence - 2.0 < verdict.log10_evidence < before.log10_evidence
    assert monitor.rounds == 2
    charged = monitor.update([lost, *LONG[1:]], LONG)
    assert charged.skipped == {"candidate_error": 2, "control_error": 1}
    feed(monitor, 4)
    assert monitor.brief().status == "drift"  # paid for, not taken away


def test_a_round_too_short_to_be_measured_costs_nothing():
    monitor = SetMonitor()
    feed(monitor, 1)
    before = monitor.brief().log10_evidence
    verdict = monitor.update(LONG, [Answer(error="timeout")])
    assert verdict.log10_evidence == before
    assert verdict.skipped["short_round"] == 1


@pytest.mark.parametrize(("tolerance", "marked"), [(None, 0.3), (0.1, 0.5)])
def test_answers_that_are_lost_for_what_they_say_ring_no_alarm(tolerance, marked):
    """The live side loses every answer with a mark, the stored one none: what is left differs, and nothing changed."""
    rng = np.random.default_rng(7)
    monitor = SetMonitor(alpha=0.05, tolerance=tolerance)

    def answers(*, loses):
        texts = ["a list:\n- one" if rng.random() < marked else "one, two" for _ in range(3)]
        return [Answer(error="cut") if loses and "list" in text else Answer(text) for text in texts]

    for _ in range(150):
        verdict = monitor.update(answers(loses=False), answers(loses=True))
    assert verdict.alarm_at is None
    assert verdict.skipped["candidate_error"] > 80


def test_groups_and_epochs():
    monitor = SetMonitor(mode="monitor", horizon=100)
    for _ in range(6):
        feed(monitor, 1, group="changed")
        feed(monitor, 1, LONG, LONG, group="same")
    told = monitor.explain()
    assert {group.group: group.status for group in told.groups} == {"changed": "drift", "same": "no_drift"}
    assert (told.horizon, monitor.rounds) == (100, 12)
    assert monitor.acknowledge().epoch == monitor.epoch == 2
    assert (monitor.rounds, monitor.alarm_round) == (0, None)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("a", LONG), "banked"),
        ((LONG, 5), "live"),
        ((LONG, ["text"]), "live"),
        ((LONG * 20, LONG), "banked"),
    ],
)
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        SetMonitor().update(*arguments)


def test_wrong_group_counts_nothing():
    monitor = SetMonitor()
    with pytest.raises(ValueError, match="group"):
        monitor.update([Answer(error="x")], LONG, group="")
    assert monitor.brief().skipped == {}


@pytest.mark.parametrize("state", [{}, None, {"sets": 1}, {"sets": 1, "drawn": 1, "monitor": {}}])
def test_other_states_are_refused(state):
    with pytest.raises(ValueError, match="state"):
        SetMonitor.from_state(state)


def test_prior_mass_is_one():
    assert SetBet().weights.sum() == pytest.approx(1.0)
    assert len(SetBet().weights) == EXPERTS


sides = st.lists(any_answers, min_size=2, max_size=4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(sides, sides, st.sampled_from([None, "a", "b"])), min_size=1, max_size=4))
def test_exchanging_the_sides_of_every_round_leaves_the_evidence_and_no_content_raises(stream):
    straight, exchanged = SetMonitor(alpha=0.3), SetMonitor(alpha=0.3)
    for banked, live, group in stream:
        first = straight.update(banked, live, group)
        second = exchanged.update(live, banked, group)
        assert first.log10_evidence == pytest.approx(second.log10_evidence, abs=1e-6)
        assert first.alarm_at == second.alarm_at
    json.dumps(straight.explain().to_dict(), allow_nan=False)


@pytest.mark.parametrize("size", [5, 9])
def test_no_round_pays_more_than_its_ceiling(size):
    # a level that the most one round can pay just reaches, so that the status rests on what it did pay
    level = 0.01 if size == 5 else 0.002
    monitor, answers = SetMonitor(level), [LONG[i % 5] for i in range(size)]
    feed(monitor, 1, answers, [SHORT[i % 5] for i in range(size)])
    ceiling = max(math.log10(min(MOST, math.comb(2 * size, size))), size * math.log10(2))
    assert 0 < monitor.brief().log10_evidence <= ceiling
    assert monitor.brief().status == "no_drift"


@pytest.mark.parametrize("tolerance", [None, 0.01, 0.3])
@pytest.mark.parametrize("learned", [0, 20])
def test_no_round_pays_less_than_one_that_lost_an_answer_is_charged(tolerance, learned):
    plain, other = (
        Answer("Yes.", finish_reason="stop"),
        Answer("I cannot help. " * 20, finish_reason="length"),
    )
    taught = SetMonitor(tolerance=tolerance)
    for _ in range(learned):
        taught.update([plain] * 3, [other] * 3)
    for size in (2, 5, 12):
        charged = taught._inner.whole.least(size)
        for kept in range(size + 1):
            for first, second in ((plain, other), (other, plain)):
                told = SetMonitor.from_state(taught.state_dict())
                before = told._inner.whole.process.log
                banked = [first] * kept + [second] * (size - kept)
                told.update(banked, [second] * kept + [first] * (size - kept))
                assert told._inner.whole.process.log - before >= charged
