"""Rendering the report.

What models and users wrote is hostile: everything is escaped, and nothing is ever a link.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from promptguard.dashboard import svg
from promptguard.report.identity_words import NO_VERDICT, sentence, worth_telling
from promptguard.report.model import Example, Moment, Noted, Report, StreamReport
from promptguard.verdict import words

Rows = Sequence[Sequence[Any]]
_CLIP = 700
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_KEPT = "\n\t\u200d"


def render_report(
    report: Report, *, extra: Sequence[tuple[str, Rows]] = (), true_switch: int | None = None
) -> str:
    """Return the page.

    `extra` adds (title, rows) tables, their first row the headings, after the headline.
    `true_switch` is the call at which the model was really switched, where that is known.
    """
    page = _environment().get_template("report.html.j2")
    return page.render(
        report=report,
        extra=extra,
        true_switch=true_switch,
        headline=headline(report),
        effects=_effects(report),
    )


def headline(report: Report) -> str:
    """Return the page's first sentence."""
    models = sorted({str(noted.detail["asked"]) for noted in report.actions if noted.kind == "alarm"})
    if report.status == "drift":
        return f"The model behind {' and '.join(models) or 'this prompt'} changed."
    if report.status == "no_drift":
        return "No change of the model was found."
    return "Not enough was measured to say whether the model changed."


def sides(stream: StreamReport) -> tuple[str, str]:
    """Return what the two sides of `stream.verdict.told_forward()` are called."""
    if stream.stream in {"replay", "placebo"}:
        return f"{stream.control}, stored answer", f"{stream.candidate}, asked again"
    if stream.stream == "repeat":
        return stream.control, f"{stream.candidate}, second answer"
    names = stream.control or "control", stream.candidate or "candidate"
    return names[::-1] if stream.verdict.control_moved else names


def answers(stream: StreamReport, example: Example) -> tuple[str, str]:
    """Return both answers of an example, in the order of `sides`."""
    both = example.control, example.candidate
    return both[::-1] if stream.verdict.control_moved else both


def action_words(noted: Noted) -> str:
    """Return what was done, in words."""
    detail = noted.detail
    if noted.kind == "alarm":
        after = f"after {detail['pairs']} pairs of the {noted.stream} stream"
        return f"Alarm: {detail['asked']} changed, {after} (evidence 10^{detail['log10_evidence']:.1f})."
    if noted.kind == "route":
        return f"Calls that ask for {detail['asked']} are sent to {detail['to']} from here on."
    if noted.kind == "acknowledge":
        return f"The {noted.stream} alarm was acknowledged: routes ended, and its evidence began anew."
    if noted.kind == "raise":
        return f"Calls of this group raise from here on: {detail['message']}"
    return noted.kind


def shown(value: Any) -> Any:
    """Make invisible characters visible; Jinja's last step before escaping, so nothing goes around it."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "".join(
        f"⟨U+{ord(char):04X}⟩" if unicodedata.category(char) in _HIDDEN and char not in _KEPT else char
        for char in value
    )


@functools.cache
def _environment() -> Environment:
    page = Environment(
        loader=PackageLoader("promptguard.dashboard"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters.update(
        sentence=sentence,
        when=_when,
        usd=_usd,
        interval=words.difference_interval,
        figure=words.figure,
        difference=words.difference,
        measured=words.measured,
        clip=_clip,
        moment=_moment,
    )
    page.globals.update(
        STATUS=words.STATUS,
        MEASURES=words.MEASURES,
        NO_VERDICT=NO_VERDICT,
        worth_telling=worth_telling,
        sides=sides,
        answers=answers,
        action_words=action_words,
        curve=_curve,
        chart=_chart,
    )
    return page


def _curve(stream: StreamReport, true_switch: int | None) -> Markup:
    return (
        svg.both(lambda width: svg.evidence_curve(stream, width, true_switch)) if stream.curve else Markup("")
    )


def _chart(stream: StreamReport) -> Markup:
    return svg.both(
        lambda width: svg.changes_chart(stream.verdict.told_forward().changes, sides(stream), width)
    )


def _effects(report: Report) -> list[StreamReport]:
    """Return the pairs made after a route: they show what the calls would have got without it."""
    return [stream for stream in report.streams if stream.routed]


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _moment(moment: Moment) -> str:
    stored = (
        f", against the answer stored at call {moment.banked_call:,}"
        if moment.banked_call is not None
        else ""
    )
    return f"call {moment.call:,}{stored} ({_when(moment.at)})"


def _usd(value: float | None) -> str:
    return (
        "no list price" if value is None else f"${value:,.2f}" if value >= 1 or not value else f"${value:.4f}"
    )


def _clip(text: str) -> tuple[str, str]:
    """Return the text that is shown at once and the text behind a click, empty when all fits."""
    return (text, "") if len(text) <= _CLIP else (text[:_CLIP].rstrip() + " …", text)
