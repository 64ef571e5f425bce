"""The report page: one HTML file that needs no network and no script."""

from promptguard.dashboard.page import render_report as render_report

__all__ = ["render_report"]
