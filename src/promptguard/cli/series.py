"""`promptguard analyze --series`: one model's history, earlier answers against later ones of the same prompts.

Each stored answer is used once. What is stored and what is compared is decided by counts or times alone, never by
what an answer says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from promptguard.errors import ConfigurationError, InputFileError
from promptguard.verdict.ages import DAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from promptguard.drift import Answer, LabelRule, PairMonitor, SetMonitor, Verdict
    from promptguard.report.lines_file import BadLine
    from promptguard.report.series_file import SeriesLine

STREAM = "canary"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a history is divided: `since` (seconds since 1970) or `bank` answers a prompt; else half of each prompt's."""

    bank: int | None = None
    since: float | None = None
    size: int = 5
    """answers a side and round"""


@dataclass(frozen=True, slots=True)
class Round:
    """Some stored and as many later answers to one prompt."""

    banked: tuple[SeriesLine, ...]
    live: tuple[SeriesLine, ...]


@dataclass(slots=True)
class Told:
    """The verdict of a history, and how its answers were used."""

    verdict: Verdict
    prompts: int
    banked: int
    live: int
    unused: int
    compared: list[tuple[SeriesLine, SeriesLine]] = field(default_factory=list)
    """(stored, later) answer of every pair the verdict counts, in the order of time"""
    alarm: SeriesLine | None = None
    """the answer with which the alarm rang"""

    def to_dict(self) -> dict[str, Any]:
        """Return what verdict.json says under `series`."""
        onset = self.verdict.onset
        return {
            "prompts": self.prompts,
            "banked": self.banked,
            "live": self.live,
            "unused": self.unused,
            "alarm_time": None if self.alarm is None else _written(self.alarm.at),
            "onset_time": None if onset is None else self._time(onset.pair),
            "onset_between": None if onset is None else [self._time(onset.low), self._time(onset.high)],
        }

    def _time(self, pair: int | None) -> str | None:
        if pair is None or not 0 < pair <= len(self.compared):
            return None
        return _written(self.compared[pair - 1][1].at)


def _written(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def judge(
    file: str,
    plan: Plan,
    *,
    alpha: float,
    mode: Literal["gate", "monitor"],
    horizon: int | None,
    rule: LabelRule | None,
    tolerance: float | None = None,
    bad: Callable[[BadLine], None],
) -> Told:
    """Read a history and judge it, in rounds of sets where prompts repeat often enough, else in pairs.

    Raises InputFileError for a file without two answers to one prompt, ConfigurationError for wrong settings.
    """
    from promptguard.drift import SetMonitor
    from promptguard.report.series_file import SeriesFile

    answers = in_time(list(SeriesFile(file, bad)))
    divided = [_divided(found, plan) for found in by_prompt(answers).values()]
    rounds = in_order([one for banked, live in divided for one in _rounds(banked, live, plan.size)])
    if not rounds:
        raise InputFileError(
            f"{file}: no prompt has an earlier and a later answer; each prompt_id must occur at least twice"
        )
    sets = any(len(one.live) > 1 for one in rounds)
    monitor = _monitor(sets, alpha, mode, horizon, rule, tolerance)
    used = sum(len(one.live) for one in rounds)
    told = Told(
        monitor.verdict(),
        prompts=len(divided),
        banked=sum(len(banked) for banked, _ in divided),
        live=sum(len(live) for _, live in divided),
        unused=len(answers) - 2 * used,
    )
    if isinstance(monitor, SetMonitor):
        monitor.learn_days(list(_past_days([banked for banked, _ in divided], plan.size)))
    for one in rounds:
        _take(monitor, one, told, sets=sets)
    told.verdict = monitor.verdict()
    if sets:
        _tell_in_time(told, alpha, mode, horizon, rule, tolerance)
    return told


def _tell_in_time(
    told: Told,
    alpha: float,
    mode: Literal["gate", "monitor"],
    horizon: int | None,
    rule: LabelRule | None,
    tolerance: float | None,
) -> None:
    """Date and explain a change that rounds of sets have found by the same pairs in the order of time.

    A round is judged when its last answer is there, so its pairs may be older than those of rounds before it.
    """
    from promptguard.drift import Answer, PairMonitor

    told.compared.sort(key=lambda pair: _place(pair[1]))
    if told.alarm is None or told.verdict.alarm_at is None:
        return
    pairs = PairMonitor(alpha, mode, horizon=horizon, stream=STREAM, labels=rule, tolerance=tolerance)
    until = _place(told.alarm)
    for number, (stored, later) in enumerate(told.compared, 1):
        pairs.update(Answer(stored.text), Answer(later.text), later.group)
        if number == len(told.compared) or _place(told.compared[number][1]) > until:
            pairs.note_alarm()
    known = pairs.explain()
    told.verdict = replace(
        told.verdict,
        alarm_at=known.alarm_at,
        onset=known.onset,
        changes=known.changes,
        ability=known.ability,
        examples=known.examples,
        characters=known.characters,
    )


def _day(answer: SeriesLine) -> int | None:
    """Return the day of an answer, UTC, counted from 1970; None where its line tells no time."""
    return None if answer.at is None else int(answer.at // DAY)


def _past_days(
    stored: Sequence[list[SeriesLine]], size: int
) -> Iterator[list[tuple[list[Answer], list[Answer]]]]:
    """Yield what each second day of the stored answers is beside the day before it: by prompt, both days' answers.

    Each answer is used once: used twice, it would look as if days differed. Nothing where there are no times.
    """
    from promptguard.drift import Answer

    days = sorted({day for answers in stored for answer in answers if (day := _day(answer)) is not None})
    for first, second in zip(days[::2], days[1::2], strict=False):
        rounds = []
        for answers in stored:
            sides = [[Answer(each.text) for each in answers if _day(each) == day] for day in (first, second)]
            both = min(size, *map(len, sides))
            if both > 1:
                rounds.append((sides[0][:both], sides[1][:both]))
        yield rounds


def _place(answer: SeriesLine) -> tuple[float, int]:
    """Return where an answer lies in time; where lines tell none, in the file."""
    return answer.at or 0.0, answer.line


def in_time(answers: list[SeriesLine]) -> list[SeriesLine]:
    """Sort by time where every line tells one; else the file's order is the order of time, and no times are known."""
    if any(answer.at is None for answer in answers):
        return [replace(answer, at=None) for answer in answers]
    return sorted(answers, key=lambda answer: answer.at or 0.0)


def by_prompt(answers: Sequence[SeriesLine]) -> dict[tuple[str | None, str], list[SeriesLine]]:
    """Return each prompt's answers in order."""
    found: dict[tuple[str | None, str], list[SeriesLine]] = {}
    for answer in answers:
        found.setdefault((answer.group, answer.prompt_id), []).append(answer)
    return found


def _divided(answers: list[SeriesLine], plan: Plan) -> tuple[list[SeriesLine], list[SeriesLine]]:
    if plan.since is not None:
        if any(answer.at is None for answer in answers):
            raise ConfigurationError("--since needs a time (`at`) on every line; use --bank instead")
        banked = [answer for answer in answers if (answer.at or 0.0) < plan.since]
        return banked, answers[len(banked) :]
    kept = len(answers) // 2 if plan.bank is None else plan.bank
    return answers[:kept], answers[kept:]


def _rounds(banked: list[SeriesLine], live: list[SeriesLine], size: int) -> Iterator[Round]:
    """Pair off stored answers with as many of the newest later ones, in rounds of about equal size, at most `size`.

    The newest answers are what the question is about: where there are more later answers than stored ones, those left out
    are the oldest of them.
    """
    both = min(len(banked), len(live))
    newest = live[len(live) - both :]
    number = -(-both // size)
    start = 0
    for place in range(number):
        end = both * (place + 1) // number
        yield Round(tuple(banked[start:end]), tuple(newest[start:end]))
        start = end


def in_order(rounds: list[Round]) -> list[Round]:
    """Sort rounds by when their last answer came, which is when they could first be judged."""
    if any(one.live[-1].at is None for one in rounds):
        return sorted(rounds, key=lambda one: one.live[-1].line)
    return sorted(rounds, key=lambda one: (one.live[-1].at or 0.0, one.live[-1].line))


def _monitor(
    sets: bool,
    alpha: float,
    mode: Literal["gate", "monitor"],
    horizon: int | None,
    rule: LabelRule | None,
    tolerance: float | None,
) -> PairMonitor | SetMonitor:
    from promptguard.drift import PairMonitor, SetMonitor

    kind = SetMonitor if sets else PairMonitor
    try:
        return kind(alpha, mode, horizon=horizon, stream=STREAM, labels=rule, tolerance=tolerance)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _take(monitor: Any, one: Round, told: Told, *, sets: bool) -> None:
    from promptguard.drift import Answer

    banked, live = ([Answer(answer.text) for answer in side] for side in (one.banked, one.live))
    group = one.live[0].group
    if not sets:
        monitor.update(banked[0], live[0], group, day=_day(one.live[0]))
    else:
        monitor.update(banked, live, group, day=_day(one.live[-1]))
        if len(live) == 1:
            return  # counted as a short round
    told.compared.extend(zip(one.banked, one.live, strict=True))
    if told.alarm is None and monitor.brief().alarm_at is not None:
        told.alarm = one.live[-1]


def show_series(told: Told) -> None:
    """Print the verdict of one model's history, and when in it the change lies."""
    from promptguard.terminal.verdict import console, verdict_parts

    out = console()
    for part in verdict_parts(told.verdict):
        out.print(part)
    when = told.to_dict()
    out.print(
        f"{when['prompts']} prompts: {when['banked']} earlier answers, {when['live']} later ones, {when['unused']} unused"
        + _why_unused(told)
    )
    if when["alarm_time"]:
        low, high = when["onset_between"] or (None, None)
        began = (
            f"; the change began {when['onset_time']} (90 % set {low} to {high})"
            if when["onset_time"]
            else ""
        )
        out.print(f"alarm with the answer of {when['alarm_time']}{began}")


def _why_unused(told: Told) -> str:
    """Say which answers were not compared: each stored answer is used once, with the newest of the later ones."""
    if not told.unused:
        return ""
    if told.live > told.banked:
        return (
            ": the oldest of the later ones, as each stored answer is used once (a larger --bank uses more)"
        )
    return ": stored ones, as there are fewer later answers (a smaller --bank uses more)"
