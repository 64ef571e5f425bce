"""The report page: one HTML file that needs no network and no script."""

from promptguard.dashboard.page import render_cell as render_cell
from promptguard.dashboard.page import render_report as render_report

__all__ = ["render_cell", "render_report"]
