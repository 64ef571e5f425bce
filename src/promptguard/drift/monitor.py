"""PairMonitor: one stream's detector.

A pure fold: the same pairs in the same order give the same verdict, bit for bit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from promptguard.drift.betting.days import CHANCE, Days
from promptguard.drift.betting.evidence import Union, epoch_alpha
from promptguard.drift.betting.experts import difference
from promptguard.drift.betting.group import Group
from promptguard.drift.betting.naming import changed_groups, leading_group
from promptguard.drift.betting.plan import power_of, with_hidden
from promptguard.drift.betting.shift import onset_beyond
from promptguard.drift.checks import NO_GROUP, check_settings, check_share, check_tolerance, group_name
from promptguard.drift.explain.causes import LEVEL
from promptguard.drift.explain.verdicts import Telling, explained
from promptguard.drift.features.answer import Answer
from promptguard.drift.features.catalogue import SCHEMA
from promptguard.drift.features.labels import Labeller, restored_labeller
from promptguard.drift.features.vector import PairVector, vectorise
from promptguard.drift.history.frozen import freeze, thaw
from promptguard.drift.history.history import roots_of
from promptguard.drift.history.onset import find_onset
from promptguard.verdict import Mode, Onset, Verdict
from promptguard.verdict.window import Power

STATE = 4
_LN10 = math.log(10.0)


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

    `tolerance` (0 to 1) is for a candidate that is known to differ: the alarm then means that some feature differs
    by more than `tolerance` on average (a share of answers for flags), and wording is left out. `lifetime=True`
    divides alpha between all epochs, 6 alpha / (pi k)^2 for the k-th, instead of renewing it with each.

    `cause_error` is how often a stated cause may be wrong: of all changes that verdicts name, the expected share that did
    not change. It decides nothing about alarms.

    >>> monitor = PairMonitor(alpha=0.01)
    >>> monitor.update(control=Answer("[Yes]"), candidate=Answer("[Yes]")).status
    'unmeasured'
    """

    _group_type: type[Group] = Group
    _chance = CHANCE

    def __init__(
        self,
        alpha: float = 0.01,
        mode: Mode = "gate",
        *,
        horizon: int | None = None,
        stream: str = "candidate",
        labels: Labeller | None = None,
        seed: bytes = b"",
        tolerance: float | None = None,
        lifetime: bool = False,
        cause_error: float = LEVEL,
    ) -> None:
        check_settings(alpha=alpha, mode=mode, horizon=horizon, stream=stream, labels=labels, seed=seed)
        check_tolerance(tolerance)
        check_share("cause_error", cause_error)
        self.mode, self.horizon, self.stream = mode, horizon, stream
        self.labels, self.seed, self.tolerance, self.lifetime = labels, seed, tolerance, bool(lifetime)
        self.cause_error = float(cause_error)
        self._alpha = float(alpha)
        self.epoch = 1
        self._reset()

    @property
    def alpha(self) -> float:
        """What this epoch may spend."""
        return epoch_alpha(self._alpha, self.epoch) if self.lifetime else self._alpha

    def _reset(self) -> None:
        self._log_bar = math.log(self.horizon or 1) - math.log(self.alpha)
        self._all = self._new_group()
        # While there is one group it *is* the whole: one learner, one history. A second group makes a copy.
        self._groups: dict[str, Group] = {}
        self._union = Union(self.mode)

    def _new_group(self) -> Group:
        return self._group_type(self.mode, self.tolerance)

    # -- taking pairs in

    def update(
        self,
        control: Answer,
        candidate: Answer,
        group: str | None = None,
        prompt: str | None = None,
        reference: str | None = None,
        response_format: Mapping[str, object] | None = None,
        repeat: Answer | None = None,
        day: int | None = None,
    ) -> Verdict:
        """Take in one pair and return the verdict so far (without explanation).

        The same as `vectorise`, then `observe`. `repeat` is a second answer of the control's model; `day` as for `fold`.

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
            control,
            candidate,
            prompt=prompt,
            reference=reference,
            seed=self.seed,
            labels=self.labels,
            response_format=response_format,
            repeat=repeat,
        )
        return self.observe(vector, group, day)

    def observe(self, vector: PairVector, group: str | None = None, day: int | None = None) -> Verdict:
        """Take in one quantised pair and return the verdict so far (without explanation).

        Some 50 microseconds, twice that with groups.
        """
        self.fold(vector, group, day)
        return self._brief()

    def fold(self, vector: PairVector, group: str | None = None, day: int | None = None) -> bool:
        """Take in one quantised pair, as `observe`, but make no verdict; return whether the stream stands at an alarm.

        `day` is given where the control's answer is of another day than the candidate's (replay): the number of the
        candidate's, counted from 1970, UTC. An alarm then has to outlast one day, or to be sudden (`betting.days`).
        """
        if not isinstance(vector, PairVector):
            raise ValueError(f"vector must be a PairVector, not {type(vector).__name__}")
        name = group_name(group)
        own = self._group(name)
        seen = difference(vector)
        self._know_days(own, day)
        together = self._all.bet(seen, day)
        self._union.pay(name, together, together if own is self._all else own.bet(seen, day))
        roots = roots_of(vector)
        self._all.remember(vector, roots)
        if own is not self._all:
            own.remember(vector, roots)
        self._ring(own)
        return self._all.history.alarm_at is not None

    def skip(self, side_reason: str, group: str | None = None) -> Verdict:
        """Count a pair that could not be made, and why: `control_error`, `both_error`, `queue_full`, ...

        Reasons that begin with `control_`, `candidate_` or `both_` are lost answers: one that lost one side is
        charged the least that any answer could have paid, and too many make the verdict `unmeasured`; any other
        is a rule that cannot see the sides, and is only counted.
        """
        if not isinstance(side_reason, str) or not side_reason:
            raise ValueError("side_reason must be a non-empty string")
        name = group_name(group)
        own = self._group(name)
        together = self._all.lose(side_reason)
        self._union.charge(name, together, together if own is self._all else own.lose(side_reason))
        return self._brief()

    def note_alarm(self) -> None:
        """Take an alarm that another look at the same pairs has rung as this stream's, with the last pair taken in."""
        if self._all.history.alarm_at is None:
            self._all.history.alarm_at = self._all.pairs

    def brief(self, group: str | None = None) -> Verdict:
        """Return the verdict of all pairs, or of one group, without explanation; costs microseconds.

        Raises ValueError for a group of which nothing has been seen.
        """
        if group is None:
            return self._brief()
        if group not in self._groups:
            raise ValueError(f"group {group!r} has no pairs")
        return self._state_of(self._groups[group], group)

    def log10_evidence(self, group: str | None = None) -> float:
        """Return the evidence of all pairs, or of a group that has pairs: what `brief` says, for a tenth of its cost."""
        known = self._all if group is None else self._groups[group]
        log = self._union.log if known is self._all else known.process.log
        return 0.0 if log == -math.inf else log / _LN10

    def acknowledge(self) -> Verdict:
        """Begin a new epoch: evidence, learners and counts start again, and the promise with them.

        Never done silently.
        """
        self.epoch += 1
        days = self._all.days
        self._reset()
        self._all.days = None if days is None else days.of_epoch(-math.log(self.alpha))
        return self._brief()

    def follow(self, earlier: PairMonitor) -> None:
        """Take over what an earlier epoch, judged by a monitor of its own, has learned of days."""
        days = earlier._all.days
        self._all.days = None if days is None else days.of_epoch(-math.log(self.alpha))

    def _group(self, name: str) -> Group:
        group = self._groups.get(name)
        if group is None:
            if not self._groups:
                group = self._all
            else:
                if len(self._groups) == 1:
                    only = next(iter(self._groups))
                    self._groups[only] = copy.deepcopy(self._all)
                group = self._new_group()
            self._groups[name] = group
        return group

    def _know_days(self, own: Group, day: int | None) -> None:
        if day is not None and own.days is None:
            self._all.days = self._all.days or Days(self.mode, -math.log(self.alpha), self._chance)
            own.days = self._all.days if own is self._all else self._all.days.of_group()

    def _ring(self, own: Group) -> None:
        whole, bar, alone = self._all.history, self._threshold(), self._threshold(len(self._groups))
        changed = own is not self._all and own.rings(alone)
        if whole.alarm_at is None and self._union.reaches(bar) and (changed or self._all.allows(bar)):
            whole.alarm_at = whole.pairs
        if changed and own.history.alarm_at is None:
            own.history.alarm_at = own.pairs

    def _threshold(self, groups: int = 1) -> float:
        """Return the log of the evidence that rings, for all pairs together or for one of `groups` groups."""
        return self._log_bar + math.log(groups) if groups > 1 and self.mode == "gate" else self._log_bar

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
        told = self.explain_whole(effect_from)
        groups = tuple(
            replace(told, group=name) if group is self._all else self._told(group, name, None)
            for name, group in self._groups.items()
            if name != NO_GROUP or len(self._groups) > 1
        )
        return replace(told, groups=groups)

    def explain_whole(self, effect_from: int | None = None) -> Verdict:
        """Return the verdict of all pairs with its explanation, without the groups' own."""
        alarmed = self._all.history.alarm_at is not None
        named = changed_groups(self._groups, self.alpha, self.horizon) if alarmed else ()
        count = len(self.groups)
        told = replace(self._told(self._all, None, effect_from), named=named, group_count=count)
        leading = self._leading(named) if alarmed else None
        own = None if leading is None else self._explained(self._groups[leading], told, None)
        if own is None or own.onset is None:
            return told
        return replace(own, onset=told.onset, own_onset=own.onset, speaks_of=leading)

    def _leading(self, named: tuple[str, ...]) -> str | None:
        return leading_group(self._groups, self._union, named, self._log_bar, len(self.groups))

    def has_leader(self) -> bool:
        """Whether one group holds nearly all of the evidence, or some may be named: the others may be as they were."""
        named = changed_groups(self._groups, self.alpha, self.horizon)
        return self._leading(named) is not None

    def explain_group(self, group: str) -> Verdict:
        """Return the verdict of one group with its explanation. Raises ValueError for one that has no pairs."""
        self.brief(group)
        return self._told(self._groups[group], group, None)

    def has_alarmed(self, group: str) -> bool:
        """Whether a group that has pairs stands at an alarm of its own, and the stream as well."""
        own = self._groups[group].history.alarm_at
        return own is not None and self._all.history.alarm_at is not None

    @property
    def pairs(self) -> int:
        """Pairs measured in this epoch."""
        return self._all.pairs

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups that have pairs, in the order in which they came."""
        return tuple(name for name in self._groups if name != NO_GROUP)

    def power(self, group: str | None = None) -> Power:
        """Return what decides how large a shift could hide in so many pairs of all groups, or of one that has pairs."""
        known = self._all if group is None else self._groups[group]
        whole = known is self._all
        threshold = self._threshold() if whole else self._threshold(len(self._groups))
        return power_of(known.history.all, threshold, self.tolerance, known.losses.one_sided)

    def _brief(self) -> Verdict:
        return self._state_of(self._all, None)

    def _told(self, group: Group, name: str | None, effect_from: int | None) -> Verdict:
        brief = self._state_of(group, name)
        history = group.history
        if brief.alarm_at is None:
            return (
                with_hidden(brief, history.all, group.losses.one_sided)
                if brief.status == "no_drift"
                else brief
            )
        return self._explained(group, brief, effect_from)

    def _explained(self, group: Group, brief: Verdict, effect_from: int | None) -> Verdict:
        """Return `brief` with what changed in the pairs of `group`, until its alarm or, where it has none, until now."""
        onset = self._onset(group, group.history.alarm_at or group.pairs)
        if onset is None:
            return brief
        telling = Telling(self.labels, self.tolerance, self.cause_error)
        return explained(brief, group.history, onset, group.register, telling, effect_from)

    def _onset(self, group: Group, latest: int) -> Onset | None:
        if self.tolerance is None:
            return find_onset(group.history.window(), latest, group.register)
        return onset_beyond(group.history.window(), self.tolerance, latest)

    def _state_of(self, group: Group, name: str | None) -> Verdict:
        whole = name is None or group is self._all
        threshold = self._threshold() if whole else self._threshold(len(self._groups))
        alarm_at = group.history.alarm_at if self._all.history.alarm_at is not None else None
        status, reason = group.status(alarm_at, threshold)
        return Verdict(
            status=status,
            reason=reason,
            stream=self.stream,
            mode=self.mode,
            alpha=self.alpha,
            pairs=group.pairs,
            skipped=dict(group.losses.by_reason),
            alarm_at=alarm_at,
            log10_evidence=self.log10_evidence(None if whole else name),
            log10_threshold=threshold / _LN10,
            epoch=self.epoch,
            horizon=self.horizon,
            tolerance=self.tolerance,
            group=name,
            days=None if group.days is None else group.days.told(),
        )

    # -- state

    def state_dict(self) -> dict[str, object]:
        """Return everything but the seed as JSON values; `from_state` continues bit for bit."""
        return {**self.head_state(), "groups": [[name, self.group_state(name)] for name in self._groups]}

    def group_state(self, group: str) -> dict[str, object] | None:
        """Return one group's part of `state_dict`; None while it is the only one, whose state is the whole's."""
        known = self._groups[group]
        frozen: dict[str, object] | None = None if known is self._all else freeze(known.state_dict())
        return frozen

    def head_state(self) -> dict[str, object]:
        """Return `state_dict` without the groups."""
        state = {
            "state": STATE,
            "schema": SCHEMA,
            "alpha": self._alpha,
            "lifetime": self.lifetime,
            "tolerance": self.tolerance,
            "cause_error": self.cause_error,
            "mode": self.mode,
            "horizon": self.horizon,
            "stream": self.stream,
            "labels": None if self.labels is None else self.labels.to_dict(),
            "epoch": self.epoch,
            "union": self._union.state_dict(),
            "all": self._all.state_dict(),
        }
        frozen: dict[str, object] = freeze(state)
        return frozen

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], *, seed: bytes = b"", labels: Labeller | None = None
    ) -> Self:
        """Rebuild a monitor from `state_dict()`.

        `labels` is needed, and looked at, only where the state was made with a LabelFunction. ValueError when
        the state is of another version or not a state at all.
        """
        if not isinstance(state, Mapping) or state.get("state") != STATE or state.get("schema") != SCHEMA:
            raise ValueError(
                f"state must be a state_dict() of version {STATE}, features {SCHEMA}; else replay the pairs"
            )
        try:
            thawed = thaw(dict(state))
            rule = restored_labeller(thawed["labels"], labels)
            monitor = cls(
                thawed["alpha"],
                thawed["mode"],
                horizon=thawed["horizon"],
                stream=thawed["stream"],
                tolerance=thawed["tolerance"],
                lifetime=thawed["lifetime"],
                cause_error=thawed.get("cause_error", LEVEL),
                labels=rule,
                seed=seed,
            )
            monitor.epoch = thawed["epoch"]
            monitor._reset()  # the epoch decides what alpha is left
            monitor._all = cls._group_type.from_state(monitor.mode, thawed["all"])
            monitor._union = Union.from_state(monitor.mode, thawed["union"])
            monitor._groups = {
                name: monitor._all if group is None else cls._group_type.from_state(monitor.mode, group)
                for name, group in thawed["groups"]
            }
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"state is damaged: {error!r}") from error
        return monitor
