"""The promises of the detector, by simulation: false alarms, delay, the table of the paper."""

import math

import numpy as np
import pytest

from promptguard.drift import Answer, LabelRule, PairMonitor, vectorise
from promptguard.drift.betting.evidence import Process, Union
from promptguard.drift.betting.experts import SwapBet, difference
from tests.drift.recorded import FAMILIES, TASKS, pairs, same_model_answers, same_model_vectors, vectors

pytestmark = pytest.mark.statistical


def alarm(stream, alpha=0.01, threshold=None):
    """Number of pairs at which the product of pay-offs first reaches 1/alpha, or None."""
    learner, process = SwapBet(), Process("gate")
    for number, seen in enumerate(stream, 1):
        process.pay(learner.score_then_learn(seen))
        if process.log >= (threshold or math.log(1 / alpha)):
            return number
    return None


def most_alarms(streams: int, rate: float, tail: float = 1e-3) -> int:
    """The smallest count whose binomial tail lies below `tail`."""
    mass, count = 0.0, -1
    while mass < 1 - tail:
        count += 1
        mass += math.comb(streams, count) * rate**count * (1 - rate) ** (streams - count)
    return count


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", TASKS)
def test_recorded_change_is_drift_in_file_order(task, family):
    monitor = PairMonitor(alpha=0.01)
    for vector in vectors(task, family):
        verdict = monitor.observe(vector, group=task)
    assert verdict.status == "drift"


@pytest.mark.parametrize(
    ("task", "family", "median", "worst"),
    [
        ("prime", "gpt-4", 12, 14),
        ("prime", "gpt-3.5", 14, 19),
        ("sensitive", "gpt-4", 12, 16),
        ("sensitive", "gpt-3.5", 14, 20),
        ("leetcode", "gpt-4", 16, 22),
        ("leetcode", "gpt-3.5", 39, 46),
    ],
)
def test_pairs_to_alarm_over_random_orders(task, family, median, worst):
    rng = np.random.default_rng(7)
    seen = [difference(vector) for vector in vectors(task, family)]
    needed = [alarm([seen[i] for i in rng.permutation(len(seen))[:150]]) or 10**6 for _ in range(20)]
    assert np.median(needed) <= median
    assert np.percentile(needed, 90) <= worst


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_sides_swapped_by_a_fair_coin_rarely_alarm(task, family):
    rng = np.random.default_rng(11)
    both = [(difference(vector), difference(vector.swapped())) for vector in vectors(task, family)]
    alarms = 0
    for _ in range(50):
        order = rng.permutation(len(both))[:150]
        coins = rng.integers(0, 2, len(order))
        alarms += alarm(both[i][coin] for i, coin in zip(order, coins, strict=True)) is not None
    assert alarms <= most_alarms(50, 0.01)


def test_two_draws_of_one_model_rarely_alarm():
    rng = np.random.default_rng(13)
    both = [(difference(v), difference(v.swapped())) for v in same_model_vectors(rng)]
    alarms = {0.05: 0, 0.01: 0}
    for _ in range(100):
        order = rng.permutation(len(both))[:150]
        coins = rng.integers(0, 2, len(order))
        stream = [both[i][coin] for i, coin in zip(order, coins, strict=True)]
        for alpha in alarms:
            alarms[alpha] += alarm(stream, alpha) is not None
    assert alarms[0.05] <= most_alarms(100, 0.05)
    assert alarms[0.01] <= most_alarms(100, 0.01)


def test_scoring_comes_before_learning():
    """A learner that had seen the pair would win on coin-flipped sides; the mean pay-off must be 1."""
    rng = np.random.default_rng(17)
    both = [(difference(v), difference(v.swapped())) for v in vectors("prime", "gpt-4")[:200]]
    payoffs = []
    for _ in range(60):
        learner = SwapBet()
        for place, coin in zip(rng.permutation(200)[:20], rng.integers(0, 2, 20), strict=True):
            payoffs.append(math.exp(learner.score_then_learn(both[place][coin])))
    error = np.std(payoffs) / math.sqrt(len(payoffs))
    assert abs(np.mean(payoffs) - 1) < 4 * error


@pytest.mark.parametrize("mode", ["gate", "monitor"])
def test_union_of_groups_keeps_its_promise(mode):
    """20 groups of fair coins: the mean of three martingales starts at its expectation and stays there."""
    rng = np.random.default_rng(19)
    finals = []
    for _ in range(400):
        union = Union(mode)
        for _ in range(40):
            group, together, own = str(rng.integers(5)), rng.uniform(0.7, 1.3), rng.uniform(0.7, 1.3)
            union.pay(group, math.log(together), math.log(own))
        finals.append(math.exp(union.log) - (40 if mode == "monitor" else 1))
    assert abs(np.mean(finals)) < 4 * np.std(finals) / math.sqrt(len(finals))


def test_monitor_alarms_soon_after_a_switch_that_follows_identical_answers():
    rng = np.random.default_rng(23)
    recorded = vectors("prime", "gpt-4")
    text = Answer("Step 1: check. [Yes]")
    tie = vectorise(text, text)
    needed = []
    for _ in range(5):
        monitor = PairMonitor(alpha=0.01, mode="monitor", horizon=2500)
        for _ in range(80):
            monitor.observe(tie)
        for place in rng.permutation(len(recorded)):
            verdict = monitor.observe(recorded[place])
            if verdict.alarm_at:
                break
        needed.append(verdict.alarm_at - 80)
        onset = monitor.explain().onset
        assert onset.low <= 81 <= onset.high
        assert abs(onset.pair - 81) <= 2
    assert max(needed) <= 26


PAPER = {
    # accuracy, yes-rate, sensitivity, specificity, d', criterion
    ("gpt-4", "control"): (0.840, 0.635, 0.976, 0.706, 2.50, -0.71),
    ("gpt-4", "candidate"): (0.511, 0.013, 0.024, 0.998, 0.79, 2.35),
    ("gpt-3.5", "control"): (0.496, None, None, None, None, None),
    ("gpt-3.5", "candidate"): (0.762, None, None, None, None, None),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_table_of_chen_zaharia_zou_on_primes(family):
    rule = LabelRule("prime", "1", {"yes": r"(?i)yes", "no": r"(?i)\bno\b"})
    monitor = PairMonitor(labels=rule)
    for first, second in pairs("prime", family):
        monitor.update(Answer(first["answer"]), Answer(second["answer"]), reference=first["reference"])
    verdict = monitor.explain()
    assert verdict.onset.pair == 1
    for name in ("control", "candidate"):
        side = getattr(verdict.ability, name)
        accuracy, *signal = PAPER[family, name]
        assert round(side.accuracy.value, 3) == accuracy
        if signal[0] is not None:
            found = (side.yes_rate, side.sensitivity, side.specificity)
            assert [round(m.value, 3) for m in found] == signal[:3]
            assert [round(m.value, 2) for m in (side.d_prime, side.criterion)] == pytest.approx(signal[3:])
    if family == "gpt-4":
        length = next(change for change in verdict.changes if change.unit == "characters")
        assert (round(length.control_units), round(length.candidate_units)) == (638, 4)


EDITS = {
    "code_fence": (lambda text: Answer(f"```\n{text}\n```"), {"code_fence", "starts_with_fence"}),
    "refusal": (lambda text: Answer("I'm sorry, but I can't help with that."), {"refusal"}),
    "bold": (lambda text: Answer(f"**Answer** {text}"), {"bold"}),
    "list": (lambda text: Answer("- " + text.replace(". ", ".\n- ")), {"list"}),
    "language": (
        lambda text: Answer("Das ist die Antwort auf Ihre Frage, weil es für uns sehr wichtig ist."),
        {"english_words", "non_ascii"},
    ),
    "tool": (
        lambda text: Answer("", tool_calls=[{"name": "f", "arguments": "{}"}]),
        {"tool_call", "tool_name", "tool_arguments_valid"},
    ),
    "label": (lambda text: Answer("No.", label="no"), {"label:yes", "label:no"}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_planted_change_amid_noise_is_named_and_dated(edit):
    """From pair 101 on, 30 % of the candidate answers are edited; all are draws at temperature 0.7."""
    rng = np.random.default_rng(41)
    apply, names = EDITS[edit]
    texts = list(same_model_answers().values())
    monitor = PairMonitor()
    label = "yes" if edit == "label" else None
    for number in range(1, 401):
        prompt = texts[rng.integers(len(texts))]
        first, second = (Answer(prompt[i], label=label) for i in rng.choice(len(prompt), 2, replace=False))
        monitor.update(first, apply(second.text) if number > 100 and rng.random() < 0.3 else second)
    verdict = monitor.explain()
    assert verdict.status == "drift"
    assert verdict.changes[0].feature in names
    assert abs(verdict.onset.pair - 101) <= 40
    assert verdict.changes[0].before < 0.35 or edit in ("label", "language")


def test_groups_that_change_are_found_and_named_among_many():
    rng = np.random.default_rng(43)
    changed, still = vectors("prime", "gpt-4"), same_model_vectors(rng)
    monitor = PairMonitor()
    for _ in range(25):
        for group in range(12):
            pool = changed if group == 7 else still
            vector = pool[rng.integers(len(pool))]
            monitor.observe(vector.swapped() if group != 7 and rng.integers(2) else vector, f"group {group}")
    verdict = monitor.explain()
    assert verdict.status == "drift"
    assert [group.group for group in verdict.groups if group.status == "drift"] == ["group 7"]
