"""The tests notice when a rule of the detector is broken: each mutation is made in a copy, and named tests must fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "promptguard"
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Mutation:
    """`old` becomes `new` in `file`; one of `tests` must fail."""

    file: str
    old: str
    new: str
    tests: str


MUTATIONS = {
    "no share back to the prior": Mutation(
        "drift/betting/experts.py",
        "SHARE = 0.001",
        "SHARE = 0.0",
        "test_guards.py::test_a_change_after_a_long_quiet_stretch_is_found_soon",
    ),
    "inputs that never come weigh ever more": Mutation(
        "drift/betting/experts.py",
        "            squares += _RETURNED_SQUARE\n",
        "",
        "test_blends.py::test_inputs_that_never_come_leave_every_number_finite",
    ),
    "blends bet after they have learned": Mutation(
        "drift/betting/experts.py",
        "        payoffs, steps = self._payoffs(seen, shown)\n",
        "        payoffs, steps = self._payoffs(seen, shown)\n        self.signs += seen.signs\n"
        "        payoffs, steps = self._payoffs(seen, shown)\n",
        "test_blends.py::test_a_pair_and_its_reverse_pay_two_whatever_was_learned",
    ),
    "no share back to the places": Mutation(
        "drift/betting/factbet.py",
        "SHARE = 0.001",
        "SHARE = 1e-9",
        "test_guards.py::test_places_are_found_soon_after_a_long_quiet_stretch",
    ),
    "interval of 80 %": Mutation(
        "drift/explain/effects.py", "LEVEL = 0.95", "LEVEL = 0.80", "test_guards.py"
    ),
    "onset set of 50 %": Mutation(
        "drift/history/onset.py",
        "MASS = 0.9\n",
        "MASS = 0.5\n",
        "test_guards.py::test_the_set_of_onsets_covers_what_it_says",
    ),
    "a group's alarm without the number of groups": Mutation(
        "drift/monitor.py",
        "self._threshold(), self._threshold(len(self._groups))\n        changed",
        "self._threshold(), self._threshold()\n        changed",
        "test_guards.py::test_a_group_needs_evidence_for_as_many_groups_as_there_are",
    ),
    "places bet after they have learned": Mutation(
        "drift/betting/factbet.py",
        "        won = self.signs[0] / (self.signs[1] + _TWICE_KAPPA)\n",
        "        self.signs[0] += moved\n        won = self.signs[0] / (self.signs[1] + 1.0 + _TWICE_KAPPA)\n",
        "test_places.py",
    ),
    "experts born from nothing": Mutation(
        "drift/betting/factbet.py",
        "            self.weights[part] *= np.float32(old / (old + len(new)))\n",
        "",
        "test_places.py::test_capital_is_kept_whole_when_experts_are_born",
    ),
    "values told apart by side": Mutation(
        "drift/features/facts.py",
        "self.values[::-1], self.texts)",
        "self.values, self.texts)",
        "test_places.py::test_any_document_is_read_both_ways_alike",
    ),
    "a second control rounded by itself": Mutation(
        "drift/features/third.py",
        "    return np.rint(apart * (127.0 / largest)).clip(-127, 127).astype(np.int8), largest\n",
        "    found = np.rint(apart * (127.0 / largest)).clip(-127, 127).astype(np.int8)\n"
        "    found[0] = -found[1] - found[2]\n    return found, largest\n",
        "test_odd_one.py",
    ),
    "three answers paid as if two": Mutation(
        "drift/betting/oddbet.py",
        "result: Floats = 3.0 * each / ",
        "result: Floats = 3.3 * each / ",
        "test_odd_one.py::test_the_three_placements_pay_three_whatever_was_learned",
    ),
    "lost pairs cost nothing": Mutation(
        "drift/betting/group.py",
        "charge = self.log_least if is_one_sided(reason) else 0.0",
        "charge = 0.0",
        "test_losses.py",
    ),
    "changed groups named without their number": Mutation(
        "drift/betting/naming.py",
        ">= len(ranked)",
        ">= 1.0",
        "test_naming.py",
    ),
    "wrong where right, right where wrong": Mutation(
        "drift/features/correctness.py",
        "return label.casefold() == ",
        "return label.casefold() != ",
        "test_correctness.py",
    ),
    "values of an answer in clear": Mutation(
        "background/spellings.py",
        "return place == LABEL or value in (listed.tools if place == TOOL else listed.values)",
        "return True",
        "../asking/test_spellings.py",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_is_noticed(name, tmp_path):
    mutation = MUTATIONS[name]
    shutil.copytree(SOURCE, tmp_path / "promptguard", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "promptguard" / mutation.file
    text = file.read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, f"{mutation.file} has changed: mend the mutation"
    assert passes(tmp_path, mutation.tests)
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    assert not passes(tmp_path, mutation.tests)


def passes(copy: Path, tests: str) -> bool:
    """Run some tests on a copy of the package; raises where they could not be run at all."""
    tried = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", "0",
            str(ROOT / "tests" / "drift" / tests),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )  # fmt: skip
    assert tried.returncode in (0, 1), tried.stdout[-2000:] + tried.stderr[-2000:]
    return tried.returncode == 0
