"""The first half of docs/reference/telemetry.md, made from semconv.py: `python -m tests.telemetry.page` writes it.

The second half is what `make telemetry-matrix` found, and stays as it is.
"""

from __future__ import annotations

from pathlib import Path

from promptguard.telemetry import semconv as name

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "telemetry.md"
HEAD = (Path(__file__).parent / "page_head.md").read_text("utf-8")
MATRIX = "## Beside other instrumentation\n"
MATRIX_HEAD = (Path(__file__).parent / "page_matrix.md").read_text("utf-8")


def first_half() -> str:
    """Return what is made from semconv.py."""
    parts = [HEAD.rstrip(), ""]
    for title, metrics in (
        ("Metrics of calls (scope `promptguard.genai`)", name.CALL_METRICS),
        ("Metrics of events (scope `promptguard`)", name.EVENT_METRICS),
        ("Metrics of state (scope `promptguard`)", name.STATE_METRICS),
    ):
        parts += [
            f"## {title}",
            "| metric | kind | unit | what it is | attributes |",
            "|---|---|---|---|---|",
        ]
        parts += [_metric(each) for each in metrics] + [""]
    parts += ["## Attributes of spans", "| attribute | what it is |", "|---|---|"]
    parts += [f"| `{attribute}` | {told} |" for attribute, told in name.SPAN_ATTRIBUTES.items()]
    return "\n".join([*parts, "", MATRIX]) + MATRIX_HEAD


def _metric(each: name.Metric) -> str:
    attributes = ", ".join(f"`{attribute}`" for attribute in each.attributes)
    return f"| `{each.name}` | {each.kind} | {each.unit} | {each.description} | {attributes} |"


def page() -> str:
    """Return the page with the matrix that is in it."""
    _, _, matrix = PAGE.read_text("utf-8").partition("\n| beside ")
    return first_half() + (f"\n| beside {matrix}" if matrix else "")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
