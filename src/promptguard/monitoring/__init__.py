"""What others need to watch PromptGuard: Grafana's dashboards, rules for Prometheus, runbooks. Files, and copying them."""
