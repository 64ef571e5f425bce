"""PairMonitor: one stream's detector.

A pure fold: the same pairs in the same order give the same verdict, bit for bit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from promptguard.drift.ability import measure_ability
from promptguard.drift.answer import Answer
from promptguard.drift.catalogue import BINARY, SCHEMA
from promptguard.drift.evidence import Mode, Union
from promptguard.drift.experts import difference
from promptguard.drift.explain import explain
from promptguard.drift.frozen import freeze, thaw
from promptguard.drift.group import Group
from promptguard.drift.history import Tally
from promptguard.drift.labels import LabelRule
from promptguard.drift.onset import find_onset
from promptguard.drift.plan import largest_hidden
from promptguard.drift.vector import PairVector, vectorise
from promptguard.drift.verdict import Status, Verdict

STATE = 1
_LN10 = math.log(10.0)
_NO_GROUP = ""


class PairMonitor:
    """Watches one stream of pairs for a change of the model behind it.

    One monitor a stream; streams share nothing.

    `mode="gate"`: one comparison; the chance that it ever alarms when nothing changed is at most `alpha`.
    `mode="monitor"`: watches for ever; at most `alpha` within any `horizon` pairs of a reset, all groups'
    pairs counted. The promise holds when, given the past, the two answers of a pair could be exchanged
    (docs/explanation): it needs no assumption on prompts or temperature.

    A group's own status is `drift` when its evidence passes the threshold times the number of groups (gate;
    in a monitor the horizon already counts all groups' pairs) and the stream as a whole has alarmed.

    `labels` reads labels off answers; its first label counts as "yes". `seed` keys the text hash and is not
    part of the state.

    >>> monitor = PairMonitor(alpha=0.01)
    >>> monitor.update(control=Answer("[Yes]"), candidate=Answer("[Yes]")).status
    'unmeasured'
    """

    _group_type: type[Group] = Group

    def __init__(
        self,
        alpha: float = 0.01,
        mode: Mode = "gate",
        *,
        horizon: int | None = None,
        stream: str = "candidate",
        labels: LabelRule | None = None,
        seed: bytes = b"",
    ) -> None:
        _check(alpha=alpha, mode=mode, horizon=horizon, stream=stream, labels=labels, seed=seed)
        self.alpha, self.mode, self.horizon, self.stream = float(alpha), mode, horizon, stream
        self.labels, self.seed = labels, seed
        self.epoch = 1
        self._reset()

    def _reset(self) -> None:
        self._all = self._group_type(self.mode)
        # While there is one group it *is* the whole: one learner, one history. A second group makes a copy.
        self._groups: dict[str, Group] = {}
        self._union = Union(self.mode)

    # -- taking pairs in

    def update(
        self,
        control: Answer,
        candidate: Answer,
        group: str | None = None,
        prompt: str | None = None,
        reference: str | None = None,
    ) -> Verdict:
        """Take in one pair and return the verdict so far (without explanation).

        The same as `vectorise`, then `observe`.

        A side with `error` makes the pair skipped and counted. ValueError names a wrong argument; no text
        raises.
        """
        for name, answer in (("control", control), ("candidate", candidate)):
            if not isinstance(answer, Answer):
                raise ValueError(f"{name} must be an Answer, not {type(answer).__name__}")
        if control.error is not None or candidate.error is not None:
            lost = (control.error is not None, candidate.error is not None)
            side = {(True, False): "control", (False, True): "candidate"}.get(lost, "both")
            return self.skip(f"{side}_error", group)
        vector = vectorise(
            control, candidate, prompt=prompt, reference=reference, seed=self.seed, labels=self.labels
        )
        return self.observe(vector, group)

    def observe(self, vector: PairVector, group: str | None = None) -> Verdict:
        """Take in one quantised pair and return the verdict so far (without explanation).

        About 100 microseconds.
        """
        if not isinstance(vector, PairVector):
            raise ValueError(f"vector must be a PairVector, not {type(vector).__name__}")
        name = _group_name(group)
        own = self._group(name)
        seen = difference(vector)
        together = self._all.bet(seen)
        self._union.pay(name, together, together if own is self._all else own.bet(seen))
        self._all.history.add(vector)
        if own is not self._all:
            own.history.add(vector)
        self._ring(own)
        return self._brief()

    def skip(self, side_reason: str, group: str | None = None) -> Verdict:
        """Count a pair that could not be made, and why: `control_error`, `both_error`, `queue_full`, ...

        Reasons that begin with `control_`, `candidate_` or `both_` are lost answers and are judged (too many,
        or more on one side, make the verdict `unmeasured`); any other is a rule that cannot see the sides,
        and is only counted.
        """
        if not isinstance(side_reason, str) or not side_reason:
            raise ValueError("side_reason must be a non-empty string")
        name = _group_name(group)
        own = self._group(name)
        self._all.losses.count(side_reason)
        if own is not self._all:
            own.losses.count(side_reason)
        return self._brief()

    def brief(self, group: str | None = None) -> Verdict:
        """Return the verdict of all pairs, or of one group, without explanation; costs microseconds.

        Raises ValueError for a group of which nothing has been seen.
        """
        if group is None:
            return self._brief()
        if group not in self._groups:
            raise ValueError(f"group {group!r} has no pairs")
        return self._state_of(self._groups[group], group)

    def acknowledge(self) -> Verdict:
        """Begin a new epoch: evidence, learners and counts start again, and the promise with them.

        Never done silently.
        """
        self.epoch += 1
        self._reset()
        return self._brief()

    def _group(self, name: str) -> Group:
        group = self._groups.get(name)
        if group is None:
            if not self._groups:
                group = self._all
            else:
                if len(self._groups) == 1:
                    only = next(iter(self._groups))
                    self._groups[only] = copy.deepcopy(self._all)
                group = self._group_type(self.mode)
            self._groups[name] = group
        return group

    def _ring(self, own: Group) -> None:
        whole = self._all.history
        if whole.alarm_at is None and self._union.log >= self._threshold():
            whole.alarm_at = whole.all.pairs
        if (
            own is not self._all
            and own.history.alarm_at is None
            and own.process.log >= self._threshold(len(self._groups))
        ):
            own.history.alarm_at = own.pairs

    def _threshold(self, groups: int = 1) -> float:
        """Return the log of the evidence that rings, for all pairs together or for one of `groups` groups."""
        if self.horizon is not None:
            return math.log(self.horizon / self.alpha)
        return math.log(groups / self.alpha)

    # -- telling

    def verdict(self) -> Verdict:
        """Return the verdict with its explanation; the same as `explain()`."""
        return self.explain()

    def explain(self, effect_from: int | None = None) -> Verdict:
        """Return the verdict with onset, changes, ability and groups; costs milliseconds.

        `effect_from` is the number of the first pair whose differences the effect intervals use; by default
        the first after the alarm. A later pair may be given (after routing, say), fixed without looking at
        the answers.
        """
        if effect_from is not None and (
            isinstance(effect_from, bool) or not isinstance(effect_from, int) or effect_from < 1
        ):
            raise ValueError(f"effect_from must be a pair number of at least 1 or None, not {effect_from!r}")
        told = self._told(self._all, None, effect_from)
        groups = tuple(
            replace(told, group=name) if group is self._all else self._told(group, name, None)
            for name, group in self._groups.items()
            if name != _NO_GROUP or len(self._groups) > 1
        )
        return replace(told, groups=groups)

    def _brief(self) -> Verdict:
        return self._state_of(self._all, None)

    def _told(self, group: Group, name: str | None, effect_from: int | None) -> Verdict:
        brief = self._state_of(group, name)
        history = group.history
        if brief.alarm_at is None:
            hidden = None
            if brief.status == "no_drift":
                hidden = largest_hidden(brief.pairs, _noise(history.all), brief.log10_threshold * _LN10)
            return replace(brief, largest_hidden_drift=hidden)
        onset = find_onset(history.window(), brief.alarm_at)
        if onset is None:
            return brief
        changes, examples = explain(history, onset, effect_from or brief.alarm_at + 1)
        _, since = history.split(onset.pair)
        positive = next(iter(self.labels.patterns)) if self.labels else None
        ability = measure_ability(since, history.labels.names, positive)
        return replace(brief, onset=onset, changes=changes, ability=ability, examples=examples)

    def _state_of(self, group: Group, name: str | None) -> Verdict:
        whole = name is None or group is self._all
        threshold = self._threshold() if whole else self._threshold(len(self._groups))
        log = self._union.log if whole else group.process.log
        alarm_at = group.history.alarm_at if self._all.history.alarm_at is not None else None
        status, reason = self._status(group, alarm_at, threshold)
        return Verdict(
            status=status,
            reason=reason,
            stream=self.stream,
            mode=self.mode,
            alpha=self.alpha,
            pairs=group.pairs,
            skipped=dict(group.losses.by_reason),
            alarm_at=alarm_at,
            log10_evidence=0.0 if log == -math.inf else log / _LN10,
            log10_threshold=threshold / _LN10,
            epoch=self.epoch,
            horizon=self.horizon,
            group=name,
        )

    def _status(self, group: Group, alarm_at: int | None, threshold: float) -> tuple[Status, str | None]:
        problem = group.losses.problem(group.pairs)
        if problem:
            return "unmeasured", problem
        if alarm_at is not None:
            return "drift", None
        # what is below this ceiling could not have been enough, whatever the answers said
        if group.log_ceiling < threshold - 1e-9:
            return "unmeasured", "too few pairs"
        return "no_drift", None

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the seed as JSON values; `from_state` continues bit for bit."""
        shared = [name for name, group in self._groups.items() if group is self._all]
        state = {
            "state": STATE,
            "schema": SCHEMA,
            "alpha": self.alpha,
            "mode": self.mode,
            "horizon": self.horizon,
            "stream": self.stream,
            "labels": None if self.labels is None else self.labels.to_dict(),
            "epoch": self.epoch,
            "union": self._union.state_dict(),
            "all": self._all.state_dict(),
            "groups": [
                [name, None if name in shared else group.state_dict()] for name, group in self._groups.items()
            ],
        }
        frozen: dict[str, Any] = freeze(state)
        return frozen

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, seed: bytes = b"") -> PairMonitor:
        """Rebuild a monitor from `state_dict()`.

        ValueError when it is of another version or not a state at all.
        """
        if not isinstance(state, Mapping) or state.get("state") != STATE or state.get("schema") != SCHEMA:
            raise ValueError(
                f"state must be a state_dict() of version {STATE}, features {SCHEMA}; else replay the pairs"
            )
        try:
            thawed = thaw(dict(state))
            rule = None if thawed["labels"] is None else LabelRule.from_dict(thawed["labels"])
            monitor = cls(
                thawed["alpha"],
                thawed["mode"],
                horizon=thawed["horizon"],
                stream=thawed["stream"],
                labels=rule,
                seed=seed,
            )
            monitor.epoch = thawed["epoch"]
            monitor._all = cls._group_type.from_state(monitor.mode, thawed["all"])
            monitor._union = Union.from_state(monitor.mode, thawed["union"])
            monitor._groups = {
                name: monitor._all if group is None else cls._group_type.from_state(monitor.mode, group)
                for name, group in thawed["groups"]
            }
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"state is damaged: {error!r}") from error
        return monitor


def _noise(tally: Tally) -> float:
    """Return the flip rate each way of the noisiest flag: what a shift has to stand out from."""
    flips = (tally.plus + tally.minus)[list(BINARY)] / 2.0
    return float(flips.max()) / max(1, tally.pairs)


def _group_name(group: str | None) -> str:
    if group is None:
        return _NO_GROUP
    if not isinstance(group, str) or not group:
        raise ValueError("group must be a non-empty string or None")
    return group


def _check(
    *, alpha: object, mode: object, horizon: object, stream: object, labels: object, seed: object
) -> None:
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be a number between 0 and 1, not {alpha!r}")
    if mode not in ("gate", "monitor"):
        raise ValueError(f"mode must be 'gate' or 'monitor', not {mode!r}")
    if mode == "gate" and horizon is not None:
        raise ValueError("horizon belongs to mode='monitor'; a gate has none")
    if mode == "monitor" and (isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1):
        raise ValueError(
            f"horizon must be the pairs between resets (at least 1) in mode='monitor', not {horizon!r}"
        )
    if not isinstance(stream, str) or not stream:
        raise ValueError("stream must be a non-empty string")
    if labels is not None and not isinstance(labels, LabelRule):
        raise ValueError(f"labels must be a LabelRule or None, not {type(labels).__name__}")
    if not isinstance(seed, bytes):
        raise ValueError(f"seed must be bytes, not {type(seed).__name__}")
