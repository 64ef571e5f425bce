"""Charts as inline SVG, drawn on the server: no script, and colours from the page's own style sheet."""

from promptguard.dashboard.charts.bars import days_chart as days_chart
from promptguard.dashboard.charts.bars import funnel as funnel
from promptguard.dashboard.charts.changes import changes_chart as changes_chart
from promptguard.dashboard.charts.evidence import Mark as Mark
from promptguard.dashboard.charts.evidence import evidence_chart as evidence_chart
from promptguard.dashboard.charts.lanes import lanes_chart as lanes_chart
from promptguard.dashboard.charts.spark import sparkline as sparkline
