"""docs/reference/telemetry.md says what is recorded."""

from __future__ import annotations

from promptguard.telemetry import semconv
from tests.telemetry.page import PAGE, first_half, page


def test_the_page_is_up_to_date():
    assert PAGE.read_text("utf-8") == page(), "write it anew: python -m tests.telemetry.page"
    assert PAGE.read_text("utf-8").startswith(first_half())


def test_every_attribute_of_a_span_is_told_and_every_metrics_name_is_unique():
    names = {value for key, value in vars(semconv).items() if key.isupper() and isinstance(value, str)}
    told = {*semconv.SPAN_ATTRIBUTES, *semconv.METRICS}
    told |= {attribute for metric in semconv.METRICS.values() for attribute in metric.attributes}
    events = {name for name in names if name.startswith("gen_ai.evaluation")}
    others = {
        semconv.SCHEMA_URL,
        semconv.SCOPE,
        semconv.SCOPE_GENAI,
        semconv.EVENT_DETAILS,
        semconv.SPAN_BESIDE,
    }
    assert names - told - events - others == {semconv.LINK_KIND, "promptguard.drift"}
    assert len(semconv.METRICS) == len(semconv.CALL_METRICS + semconv.EVENT_METRICS + semconv.STATE_METRICS)
