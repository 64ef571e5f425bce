"""`promptguard plan`: how many pairs, days and dollars a change of given size needs to be seen."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from promptguard.errors import ConfigurationError

if TYPE_CHECKING:
    from promptguard.report.model import Pace

SHIFTS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
GUESSED_NOISE = 0.02


@dataclass(frozen=True, slots=True)
class Row:
    """What one size of change needs; None where it is not known, or where no number of pairs is enough."""

    shift: float
    pairs: int | None
    days: float | None
    usd: float | None


SHORT = "how many pairs, days and dollars a change takes to be seen"
EXAMPLES = (
    "promptguard plan --shift 0.05 --pairs-per-day 200",
    "promptguard plan --ledger .promptguard       from what was measured",
    "promptguard plan --stream replay --calls-per-day 1000 --share 0.05",
)


def run(
    shift: Annotated[
        list[float] | None,
        typer.Option(help="net share of answers that change, 0 to 1; may be given several times"),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(help="share that flips each way when nothing changed; measured when --ledger is given"),
    ] = None,
    ledger: Annotated[
        str | None, typer.Option(help="take noise, pairs a day and cost a pair from this ledger")
    ] = None,
    stream: Annotated[str, typer.Option(help="candidate, replay or canary")] = "candidate",
    alpha: Annotated[
        float, typer.Option(help="chance of a false alarm, at most, of all streams together")
    ] = 0.01,
    mode: Annotated[Literal["gate", "monitor"], typer.Option(help="as in Drift(mode=...)")] = "monitor",
    horizon: Annotated[int, typer.Option(help="monitor: pairs between resets")] = 1000,
    pairs_per_day: Annotated[float | None, typer.Option(help="instead of the ledger's own")] = None,
    usd_per_pair: Annotated[float | None, typer.Option(help="instead of the ledger's own")] = None,
    calls_per_day: Annotated[
        float | None, typer.Option(help="replay: calls of the application, in place of --pairs-per-day")
    ] = None,
    share: Annotated[float, typer.Option(help="replay: as in Replay(share=...)")] = 0.02,
    after: Annotated[str, typer.Option(help="replay: as in Replay(after=...)")] = "6h",
    reservoir: Annotated[int, typer.Option(help="replay: as in Replay(reservoir=...)")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Tell how many pairs, days and dollars it takes to see a change: medians, by formula.

    A change of format or refusal in half of the answers is a shift of 0.5. Exit codes: 0 told, 2 wrong use.
    """
    known = _measured(ledger, stream)
    noise = noise if noise is not None else known.noise if known and known.noise is not None else None
    plan = {
        "stream": stream,
        "mode": mode,
        "alpha": alpha,
        "noise": GUESSED_NOISE if noise is None else noise,
        "noise_from": _source(noise, known),
        "pairs_per_day": pairs_per_day or (known.pairs_per_day if known else None),
        "usd_per_pair": usd_per_pair if usd_per_pair is not None else known.usd_per_pair if known else None,
    }
    if calls_per_day is not None:
        if stream != "replay":
            raise ConfigurationError("--calls-per-day, --share and --after belong to --stream replay")
        plan["pairs_per_day"] = calls_per_day * share
    ages = _ages(plan, ledger, after, reservoir) if stream == "replay" and plan["pairs_per_day"] else None
    if ages is not None:
        plan["pairs_per_day"] = sum(rate for _, rate in ages)
        plan["ages"] = [{"days": age, "answers_per_day": rate} for age, rate in ages]
    bar = _log_threshold(alpha, stream, mode, horizon)
    rows = [_row(size, plan, bar, ages) for size in _checked(shift or list(SHIFTS), plan)]
    if as_json:
        json.dump({**plan, "rows": [asdict(row) for row in rows]}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _show(plan, rows)


def _measured(ledger: str | None, stream: str) -> Pace | None:
    if ledger is None:
        return None
    from promptguard.report.full import measured_pace

    return measured_pace(ledger, stream)


def _source(noise: float | None, known: Pace | None) -> str:
    if noise is None and known is not None and known.noise_pairs:
        return f"a guess: {known.noise_pairs} repeat pairs of the ledger are too few to tell"
    if noise is None:
        return "a guess: give --noise, or a --ledger with repeat pairs"
    if known is not None and known.noise == noise:
        return f"{known.noise_pairs} repeat pairs of the ledger"
    return "given"


def _log_threshold(alpha: float, stream: str, mode: str, horizon: int) -> float:
    from promptguard.core.options import Drift

    own = Drift(alpha=alpha, horizon=horizon).alpha_of(stream)
    if not own:
        raise ConfigurationError(f"--stream {stream}: give candidate, replay or canary")
    return math.log((horizon if mode == "monitor" else 1) / own)


def _checked(shifts: list[float], plan: dict[str, Any]) -> list[float]:
    for shift in shifts:
        if not 0.0 < shift <= 1.0:
            raise ConfigurationError(
                f"--shift {shift:g}: give a share above 0, at most 1 (0.2 is one answer in five)"
            )
    if not 0.0 <= plan["noise"] <= 0.5:
        raise ConfigurationError(f"--noise {plan['noise']:g}: give a share of 0 to 0.5")
    for name in ("pairs_per_day", "usd_per_pair"):
        if plan[name] is not None and plan[name] < 0:
            raise ConfigurationError(f"--{name.replace('_', '-')} must not be below 0")
    return shifts


def _ages(plan: dict[str, Any], ledger: str | None, after: str, reservoir: int) -> list[tuple[float, float]]:
    """Return how many stored answers a day wait how long: (days, answers a day), of a ledger as it was."""
    from promptguard.core.ladder import DAY, flows, ladder
    from promptguard.core.options import seconds

    waits: list[float] = []
    if ledger is not None:
        from promptguard.report.read import read_waits

        waits = read_waits(ledger, time.time())
    if waits:
        return [(wait / DAY, plan["pairs_per_day"] / len(waits)) for wait in waits]
    rungs = ladder(seconds(_number_or_text(after), "--after"), reservoir)
    return [(flow.age / DAY, flow.per_day) for flow in flows(rungs, plan["pairs_per_day"])]


def _number_or_text(given: str) -> float | str:
    try:
        return float(given)
    except ValueError:
        return given


def _row(
    shift: float, plan: dict[str, Any], bar: float, ages: list[tuple[float, float]] | None = None
) -> Row:
    from promptguard.drift import days_needed, pairs_needed

    price = plan["usd_per_pair"]
    if ages is not None:
        found = days_needed(shift, plan["noise"], bar, ages)
        if found is None:
            return Row(shift, None, None, None)
        days, asked = found[0], math.ceil(found[1])
        return Row(shift, asked, days, None if price is None else asked * price)
    needed = pairs_needed(shift, plan["noise"], bar)
    if not math.isfinite(needed):
        return Row(shift, None, None, None)
    # No pair pays more than 2, whatever the formula says.
    pairs = max(math.ceil(needed), math.ceil(bar / math.log(2.0)))
    rate = plan["pairs_per_day"]
    return Row(shift, pairs, pairs / rate if rate else None, None if price is None else pairs * price)


def _show(plan: dict[str, Any], rows: list[Row]) -> None:
    from promptguard.terminal.verdict import console, table

    out = console()
    out.print(
        f"{plan['stream']} pairs, {plan['mode']}, alpha {plan['alpha']:g} of all streams; "
        f"noise {100 * plan['noise']:.1f} % each way ({plan['noise_from']})"
    )
    shown = table("answers that change", "pairs (median)", "days", "USD")
    for row in rows:
        shown.add_row(
            f"{row.shift:.0%}",
            "never" if row.pairs is None else f"{row.pairs:,}",
            "-" if row.days is None else f"{row.days:.1f}",
            "-" if row.usd is None else f"{row.usd:,.2f}",
        )
    out.print(shown)
    if plan["pairs_per_day"] is None:
        out.print(
            "days: give --pairs-per-day, or a --ledger whose pairs of the stream are of more than an hour"
        )
    if "ages" in plan:
        longest = max(each["days"] for each in plan["ages"])
        out.print(
            f"{plan['pairs_per_day']:.3g} stored answers a day are asked again, after {longest:.3g} days at most: then "
            "only new answers are left, and a change that was not found by then is not found any more"
        )
    out.print(
        "pairs counted after the change; half of all runs need more, measured medians were .58 to 1.06 of this"
    )
