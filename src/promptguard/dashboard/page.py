"""The report: the pages of a ledger as one HTML file that needs no network and no script, from the pages' own parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from markupsafe import Markup

from promptguard.dashboard.rendering import OpenCase, environment, standing_case, take_back
from promptguard.report.headline import headline
from promptguard.report.overview import Overview, Row
from promptguard.report.whole import Whole

Rows = Sequence[Sequence[object]]
MOST_CARDS = 10
MOST_ROWS = 200
_STYLE = Path(__file__).parent / "static" / "style.css"


def render_report(
    whole: Whole, *, extra: Sequence[tuple[str, Rows]] = (), true_switch: int | None = None
) -> str:
    """Return the page.

    `extra` adds (title, rows) tables, their first row the headings, after the headline.
    `true_switch` is the call at which the model was really switched, where that is known.
    """
    overview = whole.overview
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            whole=whole,
            overview=overview,
            head=headline(overview),
            cards=[(row, None) for row in overview.alarms[:MOST_CARDS]],
            rows=overview.rows[:MOST_ROWS],
            extra=extra,
            true_switch=true_switch,
            case_in=partial(_case_in, whole),
            recorded=overview.recorded_content,
            style=_style(),
            link=no_link,
            trace_link=lambda _trace: "",
            take_back=partial(take_back, ledger=overview.ledger),
        )
    )


def render_cell(overview: Overview) -> str:
    """Return headline and rows as a part of another page, for a notebook: its style holds within it alone, no script."""
    return (
        environment()
        .get_template("cell.html.j2")
        .render(
            overview=overview,
            head=headline(overview),
            rows=overview.rows[:MOST_CARDS],
            style=_cell_style(),
            link=no_link,
        )
    )


def no_link(name: str, **values: object) -> str:
    """Return the address that nothing has in a file: none."""
    del name, values
    return ""


def _case_in(whole: Whole, row: Row) -> OpenCase | None:
    prompt = next((each for each in whole.prompts if each.group == row.group), None)
    return standing_case(row, prompt, opened=True)


@cache
def _style() -> Markup:
    # Our own file: the one text that goes into a page as it is.
    return Markup(_STYLE.read_text("utf-8"))  # noqa: S704


@cache
def _cell_style() -> Markup:
    """Return the style as it holds within a cell: what is said of the page itself is said of the cell."""
    return Markup(re.sub(r":root|(?<![-\w.])(?:html|body)(?= \{)", ":scope", _style()))  # noqa: S704 - our own file
