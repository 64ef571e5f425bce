"""docs/reference/settings.md, made from the models; `python -m tests.settings.page` writes it, and a test compares it."""

from __future__ import annotations

from pathlib import Path

from promptguard.core.options import Option
from promptguard.core.options.base import accepted, default_of
from promptguard.settings.listing import Described, described

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
HEAD = (Path(__file__).parent / "page_head.md").read_text("utf-8")


def page() -> str:
    """Return the page."""
    parts: list[str] = [HEAD.rstrip(), ""]
    rows: list[str] = []
    for each in described():
        if each.option is not None and len(each.path) == 1:
            parts += [
                *_table(rows),
                f"### {each.path[0]}: `promptguard.{each.option.__name__}`",
                _summary(each.option),
                "",
            ]
            rows = []
        elif len(each.path) == 1 and parts[-1] != "" and not rows:
            parts.append("")
        if each.option is None:
            rows.append(_row(each))
    parts += _table(rows)
    return "\n".join(parts).rstrip() + "\n"


def _summary(option: type[Option]) -> str:
    return (option.__doc__ or "").partition("\n\nParameters:")[0].partition("\n\n")[0].strip()


def _table(rows: list[str]) -> list[str]:
    return (
        ["| setting | variable | default | what it is | accepted |", "|---|---|---|---|---|", *rows, ""]
        if rows
        else []
    )


def _row(each: Described) -> str:
    field = each.field
    default = "required" if field.is_required() else f"`{_text(default_of(field))}`"
    cells = (
        f"`{'.'.join(each.path)}`", f"`PROMPTGUARD_{'__'.join(each.path).upper()}`", default, field.description or "",
        _accepts(each),
    )  # fmt: skip
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _accepts(each: Described) -> str:
    known = {"on_drift": "", "fields": "a mapping", "ledger": "the path of a directory, or an address"}
    words = known.get(each.path[0]) if len(each.path) == 1 else None
    return words if words is not None else accepted(each.field).words


def _text(value: object) -> str:
    if value == "":
        return '""'
    return (
        "none"
        if value is None or value == ()
        else "warn"
        if isinstance(value, tuple) and value
        else str(value)
    )


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
