"""The backends whose prompt views need attributes of their own."""

from __future__ import annotations

from typing import Literal, get_args

Backend = Literal["langfuse", "datadog", "phoenix", "mlflow"]
BACKENDS: tuple[str, ...] = get_args(Backend)
