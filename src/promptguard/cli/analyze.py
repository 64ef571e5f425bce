"""`promptguard analyze FILE`: judge the pairs in a file."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from promptguard.cli import exits
from promptguard.errors import ConfigurationError, InputFileError

if TYPE_CHECKING:
    from promptguard.drift import LabelRule, PairMonitor, Verdict
    from promptguard.report.pairs_file import BadLine, PairLine

SHARES = {"candidate": 0.4, "replay": 0.4, "canary": 0.2}
"""How a group's alpha is split between the streams that judge; `repeat` has its own and only gates."""
Mode = Literal["gate", "monitor"]
Texts = dict[str, deque[tuple[int, int, str, str]]]
"""By stream: pair number, line, and both texts cut short, of the last pairs."""
_ANSWER = ("text", "finish_reason", "tool_calls", "refusal", "output_tokens", "latency_s", "label", "error")
_EXAMPLES_KEPT = 2_000
_EXAMPLE_LENGTH = 600
_BAD_LINES_SHOWN = 20


def run(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="pairs.jsonl, plain or gzip; - for standard input")
    ],
    alpha: Annotated[float, typer.Option(help="chance of a false alarm, at most")] = 0.01,
    mode: Annotated[Mode, typer.Option(help="gate: one comparison; monitor: an ongoing watch")] = "gate",
    horizon: Annotated[int | None, typer.Option(help="monitor: pairs between resets")] = None,
    group_by: Annotated[
        str | None, typer.Option(help="another key of each line to take the group from")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=REGEX", help="name answers by pattern; first match wins")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print verdict.json")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="a bad line is exit 2")] = False,
) -> None:
    """Judge recorded pairs of answers: did the model change, since when, what, and by how much.

    Exit codes: 0 no drift, 1 drift, 2 wrong use, 3 unmeasured.
    """
    analysis = Analysis(alpha=alpha, mode=mode, horizon=horizon, rule=_rule(label), group_by=group_by)
    analysis.read(file)
    if strict and analysis.bad_lines:
        raise InputFileError(f"{file}: {analysis.bad_lines} bad line(s) and --strict; mend or remove them")
    verdicts = analysis.verdicts()
    status = overall(verdicts)
    if as_json:
        json.dump(document(verdicts, status, alpha), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        from promptguard.cli.present import show_verdicts

        show_verdicts(verdicts, analysis.texts)
    raise typer.Exit(exits.of_status(status))


class Analysis:
    """One monitor a stream over one file."""

    def __init__(
        self,
        *,
        alpha: float,
        mode: Mode,
        horizon: int | None,
        rule: LabelRule | None = None,
        group_by: str | None = None,
    ) -> None:
        self._alpha, self._mode, self._horizon = alpha, mode, horizon
        self._rule, self._group_by = rule, group_by
        self._monitors: dict[str, PairMonitor] = {}
        self.texts: Texts = {}
        self.bad_lines = 0
        self._monitor("candidate", 1.0)  # wrong settings are told before the file is read

    def read(self, file: str) -> None:
        """Read the whole file, one monitor a stream; alpha is split between the streams there are."""
        from promptguard.cli.present import reading
        from promptguard.report.pairs_file import PairsFile

        pairs = PairsFile(file, self._bad_line)
        streams = pairs.streams()
        total = sum(SHARES.get(stream, 0.0) for stream in streams)
        self._monitors = {
            stream: self._monitor(stream, SHARES[stream] / total if stream in SHARES else 1.0)
            for stream in sorted(streams)
        }
        with reading(pairs) as counted:
            for pair in counted:
                self._take(pair)
        if self.bad_lines > _BAD_LINES_SHOWN:
            sys.stderr.write(
                f"{pairs.name}: {self.bad_lines - _BAD_LINES_SHOWN} more bad lines were skipped\n"
            )

    def verdicts(self) -> list[Verdict]:
        """Return a verdict a stream; when `repeat` alarms, the others are unmeasured for that reason."""
        found = [monitor.verdict() for monitor in self._monitors.values()]
        found = [verdict for verdict in found if verdict.pairs or verdict.skipped]
        if any(verdict.stream == "repeat" and verdict.status == "drift" for verdict in found):
            reason = "failed self-test"
            return [v if v.stream == "repeat" else v.unmeasured(reason) for v in found]
        return found

    def _take(self, pair: PairLine) -> None:
        from promptguard.drift import Answer
        from promptguard.report.pairs_file import BadLine

        try:
            control, candidate = (
                Answer(**{name: side[name] for name in _ANSWER if side.get(name) is not None})
                for side in (pair.control, pair.candidate)
            )
        except ValueError as error:
            return self._bad_line(BadLine(pair.source, pair.line, f"{error}; mend or leave out that value"))
        asked = pair.extra.get("response_format")
        verdict = self._monitors[pair.stream].update(
            control,
            candidate,
            self._group(pair),
            pair.prompt,
            pair.reference,
            asked if isinstance(asked, dict) else None,
        )
        if control.error is None and candidate.error is None:
            kept = self.texts.setdefault(pair.stream, deque(maxlen=_EXAMPLES_KEPT))
            shown = (control.text[:_EXAMPLE_LENGTH], candidate.text[:_EXAMPLE_LENGTH])
            kept.append((verdict.pairs, pair.line, *shown))
        return None

    def _group(self, pair: PairLine) -> str | None:
        if self._group_by is None:
            return pair.group
        found = pair.extra.get(self._group_by, pair.prompt if self._group_by == "prompt" else None)
        return None if found is None else str(found) or None

    def _monitor(self, stream: str, share: float) -> PairMonitor:
        from promptguard.drift import PairMonitor

        try:
            return PairMonitor(
                self._alpha * share, self._mode, horizon=self._horizon, stream=stream, labels=self._rule
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

    def _bad_line(self, bad: BadLine) -> None:
        self.bad_lines += 1
        if self.bad_lines <= _BAD_LINES_SHOWN:
            sys.stderr.write(f"{bad}\n")


def overall(verdicts: Sequence[Verdict]) -> str:
    """Return one status for all streams: drift if any drifted, else unmeasured if any is, else no_drift."""
    found = {verdict.status for verdict in verdicts if verdict.stream != "repeat" or len(verdicts) == 1}
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
