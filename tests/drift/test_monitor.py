"""PairMonitor as its users meet it: statuses, losses, groups, epochs, explanations and wrong arguments."""

import math
import time

import numpy as np
import pytest

from promptguard.drift import (
    Answer,
    LabelRule,
    PairMonitor,
    PairVector,
    betting_interval,
    largest_hidden,
    pairs_needed,
    signal_detection,
    vectorise,
)

LONG = Answer("Because 7 has no divisors, therefore it is prime. " * 6 + "[Yes]")
SHORT = Answer("[No]")
LOST = Answer(error="timeout")


def feed(monitor, count, control=LONG, candidate=SHORT, group=None):
    for _ in range(count):
        verdict = monitor.update(control=control, candidate=candidate, group=group)
    return verdict


def test_floor_of_pairs_is_reached_exactly_by_one_group():
    monitor = PairMonitor(alpha=0.01)
    assert feed(monitor, 6, group="g").status == "unmeasured"
    assert feed(monitor, 1, LONG, LONG, group="g").status == "no_drift"
    alone, grouped = PairMonitor(), PairMonitor()
    for _ in range(15):
        first, second = feed(alone, 1), feed(grouped, 1, group="g")
        assert first.log10_evidence == second.log10_evidence
    assert first.alarm_at == second.alarm_at
    assert 7 <= first.alarm_at <= 10


def test_status_latches_until_acknowledged():
    monitor = PairMonitor()
    alarm_at = feed(monitor, 20).alarm_at
    verdict = feed(monitor, 200, LONG, LONG)
    assert (verdict.status, verdict.alarm_at) == ("drift", alarm_at)
    verdict = monitor.acknowledge()
    assert (verdict.status, verdict.reason, verdict.epoch, verdict.pairs) == (
        "unmeasured",
        "too few pairs",
        2,
        0,
    )
    assert feed(monitor, 20, LONG, LONG).status == "no_drift"


def test_update_carries_no_explanation_and_explain_does():
    monitor = PairMonitor()
    brief = feed(monitor, 60)
    assert (brief.changes, brief.onset, brief.groups) == ((), None, ())
    full = monitor.verdict()
    assert full == monitor.explain()
    assert full.onset.pair == 1
    assert full.changes[0].low <= full.changes[0].difference <= full.changes[0].high
    assert "characters" in full.sentence()


def test_effect_is_pending_until_thirty_pairs_after_the_alarm():
    monitor = PairMonitor()
    alarm_at = feed(monitor, 20).alarm_at
    assert monitor.explain().changes[0].pending
    feed(monitor, 30 - (20 - alarm_at))
    assert not monitor.explain().changes[0].pending
    assert monitor.explain(effect_from=alarm_at + 5).changes[0].pending


def test_onset_and_rates_before_and_after():
    rng = np.random.default_rng(3)
    styles = [
        Answer("Yes."),
        Answer("Yes indeed."),
        Answer("It is so, yes."),
        Answer("Certainly yes, I think."),
    ]
    fenced = [Answer(f"```\n{style.text}\n```") for style in styles]
    monitor = PairMonitor()
    for number in range(1, 301):
        first, second = rng.integers(0, 4, 2)
        monitor.update(styles[first], fenced[second] if number > 200 else styles[second])
    verdict = monitor.explain()
    assert verdict.status == "drift"
    assert abs(verdict.onset.pair - 201) <= 2
    assert verdict.onset.low <= 201 <= verdict.onset.high
    top = verdict.changes[0]
    assert "fence" in top.feature
    assert (top.before, top.control, top.candidate) == (0.0, 0.0, 1.0)
    assert all(number >= verdict.onset.low for number in verdict.examples)


def test_groups_have_their_own_verdicts():
    rng = np.random.default_rng(5)
    texts = [Answer(text) for text in ("One two.", "Two three four.", "Four five six seven.", "Seven.")]
    monitor = PairMonitor()
    for _ in range(60):
        for group in "abcd":
            first, second = (texts[i] for i in rng.integers(0, 4, 2))
            monitor.update(LONG if group == "c" else first, SHORT if group == "c" else second, group)
    verdict = monitor.explain()
    assert verdict.status == "drift"
    assert {group.group: group.status for group in verdict.groups} == {
        "a": "no_drift", "b": "no_drift", "c": "drift", "d": "no_drift",
    }  # fmt: skip


def test_missing_answers_are_counted_and_judged_symmetrically():
    monitor = PairMonitor()
    feed(monitor, 30, LONG, LONG)
    verdict = monitor.update(LOST, LOST)
    assert (verdict.status, dict(verdict.skipped)) == ("no_drift", {"both_error": 1})
    for side in ("control", "candidate"):
        monitor = PairMonitor()
        feed(monitor, 100)
        sides = (LOST, LONG) if side == "control" else (LONG, LOST)
        verdict = feed(monitor, 12, *sides)
        assert (verdict.status, verdict.reason) == ("drift", None)
        assert dict(verdict.skipped) == {f"{side}_error": 12}
    monitor = PairMonitor()
    feed(monitor, 40, LONG, LONG)
    for _ in range(6):
        monitor.skip("control_timeout")
        verdict = monitor.skip("candidate_timeout")
    assert (verdict.status, verdict.reason) == ("unmeasured", "too many losses")
    assert monitor.skip("queue_full").skipped["queue_full"] == 1


def test_no_drift_tells_how_much_could_hide():
    monitor = PairMonitor()
    feed(monitor, 20, LONG, LONG)
    few = monitor.explain().largest_hidden_drift
    feed(monitor, 480, LONG, LONG)
    many = monitor.explain().largest_hidden_drift
    assert 0 < many < few <= 1
    assert pairs_needed(many, 0.0, math.log(100)) == pytest.approx(500, rel=0.01)
    assert largest_hidden(3, 0.0, math.log(100)) == 1.0


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"alpha": 0}, "alpha"),
        ({"alpha": 1}, "alpha"),
        ({"alpha": -0.1}, "alpha"),
        ({"alpha": math.inf}, "alpha"),
        ({"alpha": True}, "alpha"),
        ({"alpha": None}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"alpha": "x"}, "alpha"),
        ({"mode": "both"}, "mode"),
        ({"mode": "monitor"}, "horizon"),
        ({"horizon": 10}, "horizon"),
        ({"mode": "monitor", "horizon": 0}, "horizon"),
        ({"stream": ""}, "stream"),
        ({"labels": {"a": "b"}}, "labels"),
    ],
)
def test_wrong_settings_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        PairMonitor(**arguments)


def test_the_smallest_alpha_is_an_alpha():
    monitor = PairMonitor(alpha=5e-324)
    verdict = feed(monitor, 3)
    assert (verdict.status, verdict.reason) == ("unmeasured", "too few pairs")
    assert math.isfinite(verdict.log10_threshold)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Answer(3), "text"),
        (lambda: Answer(None), "text"),
        (lambda: Answer(b"a"), "text"),
        (lambda: Answer("a", latency_s=math.nan), "latency_s"),
        (lambda: Answer("a", latency_s=math.inf), "latency_s"),
        (lambda: Answer("a", latency_s=-0.1), "latency_s"),
        (lambda: Answer("a", latency_s="1"), "latency_s"),
        (lambda: Answer("a", output_tokens=-1), "output_tokens"),
        (lambda: Answer("a", tool_calls="x"), "tool_calls"),
        (lambda: Answer("a", label=3), "label"),
        (lambda: PairMonitor().update("a", Answer("b")), "control"),
        (lambda: PairMonitor().update(Answer("b"), None), "candidate"),
        (lambda: PairMonitor().update(LONG, SHORT, group=""), "group"),
        (lambda: PairMonitor().update(LONG, SHORT, prompt=3), "prompt"),
        (lambda: PairMonitor().update(LONG, SHORT, reference=3), "reference"),
        (lambda: PairMonitor().observe(b"x"), "vector"),
        (lambda: PairMonitor().observe(vectorise(LONG, SHORT), ""), "group"),
        (lambda: PairMonitor().skip("queue_full", ""), "group"),
        (lambda: PairMonitor().brief("nobody"), "nobody"),
        (lambda: PairMonitor().update(LONG, SHORT, response_format="json"), "response_format"),
        (lambda: PairMonitor().update(LONG, SHORT, 3), "group"),
        (lambda: PairMonitor().skip(""), "side_reason"),
        (lambda: PairMonitor().explain(effect_from=0), "effect_from"),
        (lambda: PairMonitor.from_state({}), "state"),
        (lambda: vectorise(LONG, LOST), "candidate"),
        (lambda: vectorise(LONG, SHORT, seed="x"), "seed"),
        (lambda: LabelRule("a", "1", {"yes": "(?=x)"}), r"\(\?=x\)"),
        (lambda: LabelRule("", "1", {"a": "b"}), "name"),
        (lambda: LabelRule("a", "1", {}), "patterns"),
        (lambda: PairVector.from_bytes("x"), "data"),
    ],
)
def test_wrong_arguments_are_named(call, name):
    with pytest.raises(ValueError, match=name):
        call()


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10_000_000,
        "[" * 1_000_000,
        '{"a":' * 200_000,
        " " * 10_000_000,
        "\0\ud800" * 1_000_000,
        "9" * 3_000_000,
    ],
)
def test_hostile_text_is_bounded_in_time(text):
    started = time.process_time()
    PairMonitor().update(Answer(text, tool_calls=[{"name": "f", "arguments": text}]), Answer(text + "x"))
    assert time.process_time() - started < 1.0


def test_seed_changes_the_hash_and_nothing_else():
    first, second = (vectorise(LONG, SHORT, seed=seed) for seed in (b"one", b"two"))
    assert (first.control == second.control).all()
    assert (first.hashed != second.hashed).any()


def test_betting_interval_covers_the_mean():
    rng = np.random.default_rng(29)
    misses = 0
    for _ in range(100):
        low, high = betting_interval(rng.choice([-1.0, 0.0, 1.0], 80, p=[0.1, 0.5, 0.4]))
        misses += not low <= 0.3 <= high
    assert misses <= 10
    assert betting_interval(np.array([])) is None
    low, high = betting_interval(np.ones(500))
    assert low > 0.95
    assert high == 1.0


def test_signal_detection_has_no_infinite_values():
    perfect = signal_detection(50, 0, 0, 50)
    assert perfect["d_prime"].value == pytest.approx(2 * 2.33, abs=0.02)
    assert perfect["criterion"].value == pytest.approx(0.0, abs=1e-12)
    assert all(math.isfinite(measure.low + measure.high) for measure in signal_detection(0, 0, 0, 0).values())


def wordings(number):
    """Pairs that no named feature tells apart: as long, as many words, letters moved; too long to be labels."""
    begun = "in the big grey house by the sea where we were "
    words = [begun + told for told in ("red cat sat", "tan dog ran", "big owl fed", "old fox hid")]
    first, second = words[number % 4], words[(number * 7 + 1) % 4]
    return Answer(first), Answer(second)


def test_change_of_wording_alone_has_an_onset_and_is_told():
    rng = np.random.default_rng(1)
    monitor = PairMonitor()
    for number in range(1, 161):
        first, second = wordings(int(rng.integers(1000)))
        if number > 100:
            second = Answer(second.text.replace("a", "u").replace("o", "e"))
        monitor.update(first, second)
    verdict = monitor.explain()
    assert verdict.status == "drift"
    assert [change.kind for change in verdict.changes] == ["wording"]
    assert abs(verdict.onset.pair - 101) <= 4
    assert verdict.onset.low <= 101 <= verdict.onset.high
    change = verdict.changes[0]
    assert change.candidate > 0.8
    assert change.low is None or change.low <= change.difference <= change.high
    assert change.turned() == change
    assert all(number > 100 for number in verdict.examples)
    assert "the wording changed" in verdict.sentence()


def test_named_changes_do_not_bring_the_wording_along():
    monitor = PairMonitor()
    feed(monitor, 60)
    assert "wording" not in {change.kind for change in monitor.explain().changes}


def test_what_could_hide_is_told_by_kind_of_change():
    monitor, rng = PairMonitor(), np.random.default_rng(2)
    texts = [Answer("Yes."), Answer("Yes, it is so."), Answer("It is so, and it was so before.")]
    for _ in range(200):
        first, second = rng.integers(0, 3, 2)
        monitor.update(texts[first], texts[second])
    verdict = monitor.explain()
    hidden = verdict.hidden_by_kind
    assert hidden["refusal"] == hidden["tool"] < hidden["verbosity"] <= 1
    assert max(hidden.values()) >= verdict.largest_hidden_drift >= hidden["refusal"]
    assert feed(monitor, 1).hidden_by_kind == {}
