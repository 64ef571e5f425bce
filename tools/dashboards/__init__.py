"""Makes the Grafana dashboards of the wheel: `python -m tools.dashboards`. Their JSON is committed; a test compares it."""
