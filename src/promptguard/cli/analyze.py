"""`promptguard analyze FILE`: judge the pairs in a file."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from promptguard.cli import exits
from promptguard.core.streams import SELF_TESTS, doubt
from promptguard.errors import ConfigurationError, InputFileError

if TYPE_CHECKING:
    from promptguard.drift import LabelRule, PairMonitor, Verdict
    from promptguard.report.lines_file import BadLine
    from promptguard.report.pairs_file import PairLine
    from promptguard.report.repeats import Repeated

SHARES = {"candidate": 0.4, "replay": 0.4, "canary": 0.2}
"""How a group's alpha is split between the streams that judge; self-tests have their own and only gate."""
Mode = Literal["gate", "monitor"]
Repeats = Literal["auto", "separate"]
REPEATED = "repeated answer"
"""why a pair is left out whose answer is in an earlier pair"""
Texts = dict[str, deque[tuple[int, int, str, str]]]
"""By stream: pair number, line, and both texts cut short, of the last pairs."""
_ANSWER = (
    "text",
    "finish_reason",
    "tool_calls",
    "refusal",
    "output_tokens",
    "latency_s",
    "label",
    "error",
    "logprobs",
)
_EXAMPLES_KEPT = 2_000
_EXAMPLE_LENGTH = 600
_BAD_LINES_SHOWN = 20

SHORT = "judge recorded pairs of answers: did the model change"
EXAMPLES = (
    "promptguard analyze pairs.jsonl",
    "zcat pairs.jsonl.gz | promptguard analyze - --json",
    "promptguard analyze pairs.jsonl --mode monitor --horizon 1000",
)


def run(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="pairs.jsonl, plain or gzip; - for standard input")
    ],
    alpha: Annotated[float, typer.Option(help="chance of a false alarm, at most")] = 0.01,
    mode: Annotated[Mode, typer.Option(help="gate: one comparison; monitor: an ongoing watch")] = "gate",
    horizon: Annotated[int | None, typer.Option(help="monitor: pairs between resets")] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="alarm only when some feature differs by more than this share of answers"),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(help="another key of each line to take the group from")
    ] = None,
    cluster_by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="a key of each line, such as a conversation: one pair each is judged"
        ),
    ] = None,
    repeats: Annotated[
        Repeats,
        typer.Option(
            help="one answer of one side in several pairs of a prompt: auto judges one pair of each such prompt, and says "
            "so; separate judges all, which is right only if every answer was asked for by itself"
        ),
    ] = "auto",
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=REGEX", help="name answers by pattern; first match wins")
    ] = None,
    label_from: Annotated[
        str | None, typer.Option(metavar="KEY", help="take labels from another key of each answer")
    ] = None,
    series: Annotated[
        bool,
        typer.Option(
            "--series", help="FILE is series.jsonl: one model's answers to prompts that repeat, in time"
        ),
    ] = False,
    bank: Annotated[
        int | None,
        typer.Option(min=1, help="series: first answers of each prompt to compare with; default half"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="series: answers from this time on are compared with earlier ones"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print verdict.json")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="a bad line is exit 2")] = False,
) -> None:
    """Judge recorded pairs of answers: did the model change, since when, what, and by how much.

    What a line holds is in docs/reference/recorded-answers.md; pairs of `promptguard export` go into a ledger, by import.
    Exit codes: 0 no drift, 1 drift, 2 wrong use, 3 unmeasured.
    """
    if label and label_from:
        raise ConfigurationError("--label and --label-from both name answers: give one of them")
    if not series and (bank is not None or since is not None):
        raise ConfigurationError("--bank and --since divide a history: give --series too")
    if series and (group_by or cluster_by or label_from):
        raise ConfigurationError(
            "--group-by, --cluster-by and --label-from are about pairs: leave them out with --series"
        )
    if series:
        judged = {
            "alpha": alpha,
            "mode": mode,
            "horizon": horizon,
            "tolerance": tolerance,
            "rule": _rule(label),
        }
        _judge_series(file, judged, (bank, since), as_json=as_json, strict=strict)
    analysis = Analysis(
        alpha=alpha,
        mode=mode,
        horizon=horizon,
        tolerance=tolerance,
        rule=_rule(label),
        group_by=group_by,
        cluster_by=cluster_by,
        label_from=label_from,
        repeats=repeats,
    )
    analysis.read(file, strict=strict)
    verdicts = analysis.verdicts()
    if not verdicts:
        raise InputFileError(f"{file}: no line holds a usable pair; the messages above say what to mend")
    status = overall(verdicts)
    if as_json:
        json.dump(document(verdicts, status, alpha), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        from promptguard.terminal.verdict import show_verdicts

        show_verdicts(verdicts, analysis.texts)
    raise typer.Exit(exits.of_status(status))


def _judge_series(
    file: str,
    judged: dict[str, Any],
    divide: tuple[int | None, str | None],
    *,
    as_json: bool,
    strict: bool,
) -> NoReturn:
    from promptguard.cli import series
    from promptguard.report.series_file import moment

    bank, since = divide
    if bank is not None and since is not None:
        raise ConfigurationError("--bank and --since both divide the history: give one of them")
    try:
        plan = series.Plan(bank, moment(since))
    except ValueError as error:
        raise ConfigurationError(f"--since: {error}") from None
    reported = BadLines(file)
    told = series.judge(file, plan, **judged, bad=reported.add)
    reported.close(strict=strict)
    if as_json:
        json.dump({**told.verdict.to_dict(), "series": told.to_dict()}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        from promptguard.cli.series import show_series

        show_series(told)
    raise typer.Exit(exits.of_status(told.verdict.status))


class BadLines:
    """Tells the first bad lines of a file, counts the rest."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.count = 0

    def add(self, bad: BadLine) -> None:
        """Tell one."""
        self.count += 1
        if self.count <= _BAD_LINES_SHOWN:
            sys.stderr.write(f"{bad}\n")

    def close(self, *, strict: bool) -> None:
        """Tell how many more there were. InputFileError when `strict` and there was any."""
        if self.count > _BAD_LINES_SHOWN:
            sys.stderr.write(f"{self._file}: {self.count - _BAD_LINES_SHOWN} more bad lines were skipped\n")
        if strict and self.count:
            raise InputFileError(f"{self._file}: {self.count} bad line(s) and --strict; mend or remove them")


class Analysis:
    """One monitor a stream over one file."""

    def __init__(
        self,
        *,
        alpha: float,
        mode: Mode,
        horizon: int | None,
        tolerance: float | None = None,
        rule: LabelRule | None = None,
        group_by: str | None = None,
        cluster_by: str | None = None,
        label_from: str | None = None,
        repeats: Repeats = "auto",
    ) -> None:
        self._look_for_repeats = repeats == "auto" and cluster_by is None
        self._repeated: dict[str, Repeated] = {}
        self._alpha, self._mode, self._horizon, self._tolerance = alpha, mode, horizon, tolerance
        self._rule, self._group_by, self._label_from = rule, group_by, label_from
        self._cluster_by = cluster_by
        self._clusters: set[tuple[str, str]] = set()
        self._monitors: dict[str, PairMonitor] = {}
        self.texts: Texts = {}
        self._monitor("candidate", 1.0)  # wrong settings are told before the file is read

    def read(self, file: str, *, strict: bool = False) -> None:
        """Read the whole file, one monitor a stream; alpha is split between the streams there are."""
        from promptguard.cli.progress import reading
        from promptguard.report.pairs_file import PairsFile
        from promptguard.report.repeats import find_repeated

        self._bad = BadLines("standard input" if file == "-" else file)
        pairs = PairsFile(file, self._bad.add)
        streams = pairs.streams()
        total = sum(SHARES.get(stream, 0.0) for stream in streams)
        self._monitors = {
            stream: self._monitor(stream, SHARES[stream] / total if stream in SHARES else 1.0)
            for stream in sorted(streams)
        }
        if self._look_for_repeats:
            self._repeated = find_repeated(pairs.usable())
        with reading(pairs) as counted:
            for pair in counted:
                self._take(pair)
        self._bad.close(strict=strict)
        for stream, repeated in self._repeated.items():
            left_out = self._monitors[stream].brief().skipped.get(REPEATED, 0)
            if left_out:
                sys.stderr.write(f"{pairs.name}: {_told(stream, repeated, left_out)}\n")

    def verdicts(self) -> list[Verdict]:
        """Return a verdict a stream; when a self-test alarms, those it tests are unmeasured for that reason."""
        found = [monitor.verdict() for monitor in self._monitors.values()]
        found = [verdict for verdict in found if verdict.pairs or verdict.skipped]
        alarmed = {verdict.stream for verdict in found if verdict.status == "drift"}
        reasons = [doubt(verdict.stream, alarmed) for verdict in found]
        return [
            verdict if reason is None else verdict.unmeasured(reason)
            for verdict, reason in zip(found, reasons, strict=True)
        ]

    def _take(self, pair: PairLine) -> None:
        from promptguard.drift import Answer
        from promptguard.report.lines_file import BadLine

        try:
            control, candidate = (Answer(**self._answer(side)) for side in (pair.control, pair.candidate))
            repeat = None if pair.repeat is None else Answer(**self._answer(pair.repeat))
        except ValueError as error:
            return self._bad.add(BadLine(pair.source, pair.line, f"{error}; mend or leave out that value"))
        if self._dependent(pair):
            reason = REPEATED if pair.stream in self._repeated else "same cluster"
            self._monitors[pair.stream].skip(reason, self._group(pair))
            return None
        asked = pair.extra.get("response_format")
        verdict = self._monitors[pair.stream].update(
            control,
            candidate,
            self._group(pair),
            pair.prompt,
            pair.reference,
            asked if isinstance(asked, dict) else None,
            repeat,
        )
        if control.error is None and candidate.error is None:
            kept = self.texts.setdefault(pair.stream, deque(maxlen=_EXAMPLES_KEPT))
            shown = (control.text[:_EXAMPLE_LENGTH], candidate.text[:_EXAMPLE_LENGTH])
            kept.append((verdict.pairs, pair.line, *shown))
        return None

    def _dependent(self, pair: PairLine) -> bool:
        """Whether its cluster has had its pair: two pairs of one conversation repeat each other's accidents."""
        repeated = self._repeated.get(pair.stream)
        name = None if self._cluster_by is None else self._named(pair, self._cluster_by)
        name = name if repeated is None else repeated.cluster(pair)
        if name is None:
            return False
        place = (pair.stream, name)
        known = place in self._clusters
        self._clusters.add(place)
        return known

    def _answer(self, side: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: side[name] for name in _ANSWER if side.get(name) is not None}
        if self._label_from is not None:
            found = side.get(self._label_from)
            given["label"] = None if found is None else str(found)
        return given

    def _group(self, pair: PairLine) -> str | None:
        return pair.group if self._group_by is None else self._named(pair, self._group_by)

    @staticmethod
    def _named(pair: PairLine, key: str) -> str | None:
        own = {"prompt": pair.prompt, "group": pair.group}
        found = pair.extra.get(key, own.get(key))
        return None if found is None else str(found) or None

    def _monitor(self, stream: str, share: float) -> PairMonitor:
        from promptguard.drift import PairMonitor

        try:
            return PairMonitor(
                self._alpha * share,
                self._mode,
                horizon=self._horizon,
                stream=stream,
                labels=self._rule,
                tolerance=None if stream in SELF_TESTS else self._tolerance,
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None


def _told(stream: str, repeated: Repeated, left_out: int) -> str:
    """Say what was done about answers that occur in several pairs, and how to have it otherwise."""
    of = "answers" if repeated.by_text else "prompts"
    return (
        f"in the {stream} stream {repeated.prompts:,} {of} have the same {repeated.side} answer in several pairs, which "
        f"are not independent: one pair of each is judged, {left_out:,} are left out (--repeats separate judges all: "
        "right only if every answer was asked for by itself)"
    )


def overall(verdicts: Sequence[Verdict]) -> str:
    """Return one status for all streams: drift if any drifted, else unmeasured if any is, else no_drift."""
    found = {verdict.status for verdict in verdicts if verdict.stream not in SELF_TESTS or len(verdicts) == 1}
    return next((status for status in ("drift", "unmeasured", "no_drift") if status in found), "unmeasured")


def document(verdicts: Sequence[Verdict], status: str, alpha: float) -> dict[str, Any]:
    """Return verdict.json: the verdict itself for one stream, else the status over `streams`."""
    if len(verdicts) == 1:
        return verdicts[0].to_dict()
    return {"status": status, "alpha": alpha, "streams": [verdict.to_dict() for verdict in verdicts]}


def _rule(labels: list[str] | None) -> LabelRule | None:
    if not labels:
        return None
    from promptguard.drift import LabelRule

    parts = [label.partition("=") for label in labels]
    for name, _, pattern in parts:
        if not name or not pattern:
            raise ConfigurationError("--label must be NAME=REGEX, as in --label 'yes=(?i)yes'")
    try:
        return LabelRule("command line", "1", {name: pattern for name, _, pattern in parts})
    except ValueError as error:
        raise ConfigurationError(f"--label: {error}") from None
