"""Evidence and decisions of rollouts: what is promised, on recorded answers and on simulated ones."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from benchmarks.rollout import ALPHA, GUARDS, ORACLE, false_rollbacks, recorded, rollout, run

from promptguard.core.rollouts import CONTROLS_PER_TREATMENT, Table, folded, placed, unit_of
from promptguard.errors import ConfigurationError
from promptguard.rollout.bets import Bound, WorseBet
from promptguard.rollout.evidence import Evidence
from promptguard.rollout.judging import decide
from promptguard.rollout.outcome import Outcome

SHARES = ("usable", "refusal", "cost", "latency")


def outcome(is_treated, step=0, **known):
    return Outcome(1, step, is_treated, b"", 0.0, **known)


@pytest.mark.parametrize("seed", range(3))
def test_a_changed_model_is_rolled_back_soon_and_an_unchanged_one_completes(seed):
    ended = run(rollout(seed, GUARDS), recorded(seed, "gpt-4-0314", "gpt-4-0613"))
    assert (ended.kind, ended.share) == ("rollback", 0.01)
    assert ended.pairs <= ORACLE + 4
    assert run(rollout(seed, GUARDS), recorded(seed, "gpt-4-0314", "gpt-4-0314")).kind == "complete"


@pytest.mark.slow
def test_few_rollouts_that_worsen_nothing_are_rolled_back():
    count = 30
    false, _ = false_rollbacks(count, tolerance=0.0)
    assert false <= ALPHA * count + 2 * math.sqrt(ALPHA * (1 - ALPHA) * count)


def test_all_guards_together_are_one_e_value():
    begun = rollout(0, SHARES)
    evidence = Evidence(begun)
    for _ in range(9):
        for is_treated in (True, False):
            evidence.take(outcome(is_treated, usable=not is_treated, refused=False, usd=1.0, latency=1.0))
    by_guard = [math.exp(told.log_evidence) for told in evidence.told()]
    assert math.exp(evidence.log) == pytest.approx(sum(by_guard) / 4)
    assert decide(begun, evidence).kind == "rollback"
    assert decide(begun, evidence).why.startswith("usable is worse: 100 % -> 0 %, after 9 pairs")


def test_a_block_of_many_controls_is_one_pair():
    evidence = Evidence(rollout(0, ("usable",)))
    assert not any(evidence.take(outcome(False, usable=True)) for _ in range(5))
    assert evidence.take(outcome(True, usable=True))
    assert (evidence.pairs, evidence.outcomes) == (1, [5, 1])


def test_a_cost_within_its_tolerance_is_no_evidence_and_one_beyond_is():
    for factor, goes_back in ((1.05, False), (1.3, True)):
        begun = rollout(0, ("cost",))
        evidence = Evidence(begun)
        for _ in range(30):
            evidence.take(outcome(False, usd=1.0))
            evidence.take(outcome(True, usd=factor))
        found = decide(begun, evidence)
        assert (found.kind == "rollback") is goes_back


def test_a_step_needs_pairs_and_a_bound():
    begun = rollout(0, ("usable",))
    evidence = Evidence(begun)
    for _ in range(9):
        evidence.take(outcome(False, usable=True))
        evidence.take(outcome(True, usable=True))
    assert decide(begun, evidence) is None
    evidence.take(outcome(False, usable=True))
    evidence.take(outcome(True, usable=True))
    assert decide(begun, evidence).kind == "advance"
    at_last = replace(begun, step=2)
    assert evidence.pairs_of(2) == 0
    for _ in range(10):
        evidence.take(outcome(False, step=2, usable=True))
        evidence.take(outcome(True, step=2, usable=True))
    assert decide(at_last, evidence) is None  # 20 pairs cannot rule out that one answer in ten gets worse
    assert decide(replace(at_last, patience=10), evidence).kind == "hold"
    assert decide(replace(at_last, patience=10, state="paused"), evidence) is None


def test_a_guard_without_data_holds():
    begun = rollout(0, ("usable", "cost"))
    evidence = Evidence(begun)
    for _ in range(30):
        evidence.take(outcome(False, usable=True))
        evidence.take(outcome(True, usable=True))
    found = decide(begun, evidence)
    assert found.kind == "hold"
    assert "cost has no data; is there a price" in found.why


def test_bets_pay_at_most_one_in_the_mean_under_the_null():
    for tolerance in (0.0, 0.1):
        for worst in (1.0, 0.5):
            # the mean is the tolerance exactly: `worst` with this probability, else -worst
            share = (tolerance + worst) / (2 * worst)
            total = 0.0
            for kind, weight in ((worst, share), (-worst, 1 - share)):
                bet = WorseBet(tolerance)
                bet.take(kind)
                total += weight * math.exp(bet.log)
            assert total <= 1.0 + 1e-9


def test_a_bound_falls_with_pairs_and_stays_above_the_truth():
    bound, seen = Bound(), []
    for number in range(400):
        bound.take(1.0 if number % 20 == 0 else 0.0)  # 5 % worse
        if number in (9, 99, 399):
            seen.append(bound.upper(0.05))
    assert seen[0] > seen[1] > seen[2] > 0.05


def test_a_unit_keeps_its_version_and_shares_are_as_stated():
    begun = rollout(4, SHARES)
    units = [f"user {number}" for number in range(20_000)]
    treated = [{unit for unit in units if placed(replace(begun, step=step), unit)[0]} for step in range(3)]
    assert treated[0] < treated[1] < treated[2]
    assert [len(each) / len(units) for each in treated] == pytest.approx([0.01, 0.05, 0.25], rel=0.15)
    counted = [unit for unit in units if placed(begun, unit)[1] is not None]
    assert len(counted) / len(treated[0]) == pytest.approx(1 + CONTROLS_PER_TREATMENT, rel=0.2)
    other = replace(begun, salt=b"another")
    assert {unit for unit in units if placed(other, unit)[0]} != treated[0]


def started(**more):
    begun = rollout(0, SHARES)
    detail = {
        "subject": "triage", "before": "3", "to": "4", "label": "production", "folder": "p", "steps": [50, 100],
        "guards": list(SHARES), "alpha": 0.05, "tolerance": dict(begun.tolerance), "most": dict(begun.most),
        "least_pairs": 10, "patience": 100, "salt": begun.salt.hex(), **more,
    }  # fmt: skip
    return row("start", detail=detail)


def row(kind, number=1, **more):
    return {"rollout": number, "at": 1.0, "kind": kind, "by": "", "why": "", "detail": {}, **more}


@pytest.mark.parametrize(
    ("after", "label", "stands", "got"),
    [
        ((), "production", "3", {"3", "4"}),
        ((), "staging", "3", {"3"}),
        ((), "production", "2", {"2"}),
        ((), None, "4", {"3", "4"}),
        ((), None, "5", {"5"}),
        ((row("pause"),), "production", "3", {"3", "4"}),
        ((row("rollback"),), "production", "3", {"3"}),
        ((row("rollback"),), None, "4", {"3"}),
        ((row("rollback"), row("resume")), None, "4", {"3"}),
        ((row("complete"),), "production", "4", {"4"}),
        ((row("complete"),), "production", "3", {"3"}),
    ],
)
def test_which_version_a_reference_stands_for(after, label, stands, got):
    table = Table()
    table.apply([started(), *after])
    assert {table.version("triage", label, stands, f"u{number}")[0] for number in range(40)} == got
    assert table.version("triage", label, stands, None)[1] is None


def test_a_row_that_cannot_be_read_is_passed_over():
    assert folded([started(steps="x"), row("advance"), row("dance")], {}) == {}
    assert folded([started(), row("advance", detail={"step": 7})], {})[1].step == 0


@pytest.mark.parametrize(
    "damage",
    [
        {"steps": []},
        {"steps": [float("nan"), 100.0]},
        {"steps": [50, 50]},
        {"steps": [0, 100]},
        {"steps": [50, 101]},
        {"salt": "ab" * 65},
        {"salt": ""},
        {"to": 4},
        {"subject": None},
        {"guards": []},
        {"tolerance": {}},
        {"most": []},
        {"alpha": 0},
        {"least_pairs": "10"},
    ],
)
def test_a_start_that_none_can_be_rolls_nothing_out_and_is_counted(damage):
    table, told = Table(), []
    table.on_fault = told.append
    table.apply([started(**damage)])
    assert table.version("triage", "production", "3", "a unit") == ("3", None)
    assert len(told) == 1


@pytest.mark.parametrize(
    "damage", [{"at": "x"}, {"at": None}, {"why": None}, {"rollout": "1"}, {"detail": None}]
)
def test_a_damaged_step_hides_nothing_that_comes_after_it(damage):
    told = []
    rows = [started(), {**row("pause"), **damage}, row("abort")]
    assert folded(rows, {}, told.append)[1].state == "aborted"
    assert len(told) == 1


def test_a_fault_of_ours_gives_the_version_in_use():
    table, told = Table(), []
    table.on_fault = told.append
    table.apply([started()])
    table.prompts = {"triage": replace(table.prompts["triage"], salt=bytes(65))}
    table.models = {"gpt-4": table.prompts["triage"]}
    assert table.version("triage", None, "4", "a unit") == ("3", None)
    assert table.model("gpt-4", "a unit") == (None, None)
    assert len(told) == 2


@pytest.mark.parametrize(
    ("given", "unit"), [(None, None), ("", None), ("a", "a"), ("\ud800", "\ud800"), (17, "17"), (-1, "-1")]
)
def test_a_unit_is_text_or_a_whole_number(given, unit):
    assert unit_of(given) == unit


@pytest.mark.parametrize("given", [b"x", ["u"], 1.5, True, pytest.param(10**5_000, id="long"), {}])
def test_anything_else_is_no_unit(given):
    with pytest.raises(ConfigurationError, match="unit"):
        unit_of(given)
