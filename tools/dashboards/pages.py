"""The three dashboards: overview, one prompt, fleet and budget."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model
from tools.dashboards import parts
from tools.dashboards.parts import (
    BY_PROMPT,
    GREEN,
    GREY,
    HERE,
    NAMED,
    ORANGE,
    PROMPT,
    RED,
    Panel,
    lines,
    number,
)

RATE = "$__rate_interval"
BY_PURPOSE = "promptguard_ledger, promptguard_purpose"
BY_LOSS = "promptguard_ledger, promptguard_stream, promptguard_pair_outcome, promptguard_skipped_reason"
LEDGER, PURPOSE = "{{promptguard_ledger}}", "{{promptguard_ledger}}: {{promptguard_purpose}}"
USD = "currencyUSD"
CALM, ALARM, CARE = (None, GREEN), (1.0, RED), (1.0, ORANGE)


def highest(metric: str, selector: str = PROMPT, by: str = BY_PROMPT) -> str:
    """Return a state as the process that tells the most of it has it."""
    return f"max by ({by}) ({metric}{{{selector}}})"


def lowest(metric: str, selector: str = PROMPT, by: str = BY_PROMPT) -> str:
    """Return the least of what processes tell."""
    return f"min by ({by}) ({metric}{{{selector}}})"


def hourly(metric: str, by: str) -> str:
    """Return how much a counter of a ledger grows in an hour."""
    return f"3600 * sum by ({by}) (rate({metric}{{{HERE}}}[{RATE}]))"


def within(metric: str, selector: str = HERE) -> str:
    """Return how much counters grew within the time range."""
    return f"sum(increase({metric}{{{selector}}}[$__range]))"


def count(status: str) -> str:
    """Return how many prompts and streams are in a state."""
    selector = f'{PROMPT}, promptguard_status="{status}"'
    return f"sum({highest('promptguard_drift_status', selector)})"


EVIDENCE, THRESHOLD = (
    highest("promptguard_drift_log10_evidence"),
    highest("promptguard_drift_log10_threshold"),
)
LAST_PAIR = lowest("promptguard_shadow_last_pair_age_seconds")
PAIRS = highest("promptguard_shadow_straddling_pairs")
EVALUATOR = lowest("promptguard_evaluator_age_seconds", HERE, "promptguard_ledger")
WAITING = f"sum by (promptguard_ledger) (promptguard_shadow_queue_size{{{HERE}}})"
PAIRS_A_MINUTE = (
    "60 * sum by (promptguard_stream, promptguard_pair_outcome) (rate(promptguard_shadow_pairs_total"
    f'{{gen_ai_prompt_name=~"$prompt", promptguard_stream=~"$stream"}}[{RATE}]))'
)
LOOKUPS_A_MINUTE = (
    "60 * sum by (promptguard_cache_result) (rate(promptguard_cache_lookups_total"
    f'{{gen_ai_prompt_name=~"$prompt"}}[{RATE}]))'
)
SLOWEST_LOOKUPS = (
    "histogram_quantile(0.99, sum by (le, promptguard_cache_result) "
    f"(rate(promptguard_cache_lookup_duration_seconds_bucket[{RATE}])))"
)


def _page(uid: str, title: str, what: str, *, prompt: bool, several: bool = True) -> build.Dashboard:
    made = (
        build.Dashboard(title)
        .uid(uid)
        .description(what)
        .tags(["promptguard"])
        .time("now-24h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
    )
    return parts.links(parts.variables(made, prompt=prompt, several=several), prompt=prompt and not several)


def _filled(made: build.Dashboard, *panels: Panel) -> build.Dashboard:
    for panel in panels:
        made = made.with_panel(panel)
    return made


def overview() -> build.Dashboard:
    """Return the page that one leaves on the wall: which prompts changed, and is everything measured."""
    what = "Which prompts' models changed, and whether everything is measured."
    return _filled(
        _page("promptguard-overview", "PromptGuard: overview", what, prompt=True),
        number(
            "Drift", "Prompts whose answers changed, not acknowledged.", count("drift"), steps=(CALM, ALARM)
        ),
        number("Unmeasured", "Nothing can be said of these.", count("unmeasured"), steps=(CALM, CARE)),
        number("No drift", "Measured, and no change shows.", count("no_drift"), steps=(CALM,)),
        number("Acknowledged", "Changes that are known.", count("acknowledged"), steps=((None, GREY),)),
        number(
            "Alarms",
            "Alarms within the time range.",
            within("promptguard_drift_alarms_total", PROMPT),
            steps=(CALM, ALARM),
        ),
        number(
            "Evaluator looked",
            "How long ago the evaluator last looked; the oldest of all ledgers.",
            f"max({EVALUATOR})",
            unit="s",
            steps=(CALM, (60.0, ORANGE), (300.0, RED)),
        ),
        parts.states(
            "State",
            "One band a prompt and stream. Grey is not fine: nothing can be said there.",
            parts.state_of(PROMPT),
            NAMED,
            height=10,
        ),
        parts.rows(
            "Prompts",
            "Evidence is a power of ten; an alarm rings at the threshold.",
            [
                ("state", parts.state_of(PROMPT)),
                ("evidence (log10)", EVIDENCE),
                ("threshold (log10)", THRESHOLD),
                ("last pair (s ago)", LAST_PAIR),
                ("pairs, last day", PAIRS),
            ],
        ),
        lines(
            "Evidence over its threshold",
            "Above 0 an alarm has rung. How fast it climbs says how large the change is.",
            [(f"{EVIDENCE} - {THRESHOLD}", NAMED)],
            width=24,
        ),
    )


def one_prompt() -> build.Dashboard:
    """Return the page of one prompt: evidence, what could be hidden, pairs."""
    what = "Evidence, pairs and cache of one prompt."
    named = "{{promptguard_stream}} @{{gen_ai_prompt_version}}"
    return _filled(
        _page("promptguard-prompt", "PromptGuard: one prompt", what, prompt=True, several=False),
        parts.states("State", "One band a stream and version.", parts.state_of(PROMPT), named, height=6),
        lines(
            "Evidence",
            "log10 of the evidence that the model changed, with the line at which the alarm rings.",
            [(EVIDENCE, named), (THRESHOLD, f"alarm, {named}")],
            width=24,
            height=10,
        ),
        lines(
            "What could be hidden",
            "The largest share of answers that could have changed unseen; absent while nothing can be said.",
            [(highest("promptguard_drift_hidden_shift"), named)],
            unit="percentunit",
        ),
        lines("Last pair", "Time since the last compared pair.", [(LAST_PAIR, named)], unit="s"),
        lines("Pairs of the last day", "What a change of today can show in.", [(PAIRS, named)]),
        lines(
            "Pairs a minute",
            "By outcome, of the processes that are scraped.",
            [(PAIRS_A_MINUTE, "{{promptguard_stream}}: {{promptguard_pair_outcome}}")],
        ),
        lines("Cache", "Lookups a minute by result.", [(LOOKUPS_A_MINUTE, "{{promptguard_cache_result}}")]),
        lines("Alarms", "Alarms so far.", [(highest("promptguard_drift_alarms_total"), named)]),
    )


def fleet() -> build.Dashboard:
    """Return the page of what it costs and what is lost."""
    what = "What shadowing costs and the cache saves, what is lost and why, and who judges."
    return _filled(
        _page("promptguard-fleet", "PromptGuard: fleet and budget", what, prompt=False),
        number(
            "Shadow cost",
            "USD of background calls within the time range.",
            within("promptguard_cost_total"),
            unit=USD,
            width=6,
        ),
        number(
            "Cache saved",
            "USD of calls that were answered from the cache, within the time range.",
            within("promptguard_cache_saved_total"),
            unit=USD,
            width=6,
        ),
        number("Calls waiting", "Calls that wait to be paired, all processes.", f"sum({WAITING})", width=6),
        number(
            "Ledgers",
            "Ledgers that are scraped.",
            f"count(count by (promptguard_ledger) (promptguard_drift_status{{{HERE}}}))",
            width=6,
        ),
        lines(
            "Budget left today",
            "USD, until midnight UTC; absent without `usd_per_day`.",
            [(lowest("promptguard_budget_left", HERE, BY_PURPOSE), PURPOSE)],
            unit=USD,
        ),
        lines(
            "Calls left today",
            "Absent without `calls_per_day`.",
            [(lowest("promptguard_budget_calls_left", HERE, BY_PURPOSE), PURPOSE)],
        ),
        lines(
            "Cost an hour",
            "USD of background calls, by what they were for.",
            [
                (
                    hourly("promptguard_cost_total", "promptguard_ledger, promptguard_role"),
                    f"{LEDGER}: {{{{promptguard_role}}}}",
                )
            ],
            unit=USD,
        ),
        lines(
            "Saved an hour",
            "USD, by model.",
            [
                (
                    hourly("promptguard_cache_saved_total", "promptguard_ledger, gen_ai_request_model"),
                    f"{LEDGER}: {{{{gen_ai_request_model}}}}",
                )
            ],
            unit=USD,
        ),
        lines(
            "Pairs lost",
            "Sampled calls that gave no compared pair, so far, by reason.",
            [
                (
                    highest("promptguard_shadow_losses_total", HERE, BY_LOSS),
                    "{{promptguard_stream}}: {{promptguard_pair_outcome}} {{promptguard_skipped_reason}}",
                )
            ],
        ),
        lines(
            "Queue", "Calls that wait to be paired; a full queue drops them, counted.", [(WAITING, LEDGER)]
        ),
        lines("Evaluator", "Time since the evaluator last looked.", [(EVALUATOR, LEDGER)], unit="s"),
        lines(
            "Cache lookups",
            "The slowest one in a hundred.",
            [(SLOWEST_LOOKUPS, "{{promptguard_cache_result}}")],
            unit="s",
        ),
    )


PAGES = {"overview": overview, "prompt": one_prompt, "fleet": fleet}
