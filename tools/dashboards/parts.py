"""Panels, variables and links, as all dashboards have them."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
HERE = 'promptguard_ledger=~"$ledger"'
PROMPT = f'{HERE}, gen_ai_prompt_name=~"$prompt", promptguard_stream=~"$stream"'
BY_PROMPT = "promptguard_ledger, promptguard_stream, gen_ai_prompt_name, gen_ai_prompt_version"
NAMED = "{{gen_ai_prompt_name}}@{{gen_ai_prompt_version}} ({{promptguard_stream}})"
RED, GREEN, GREY, BLUE, ORANGE = "#c4314b", "#3f8f4f", "#8e8e8e", "#3a75c4", "#c77700"
STATES = {
    "1": ("no drift", GREEN),
    "2": ("unmeasured", GREY),
    "3": ("acknowledged", BLUE),
    "4": ("drift", RED),
}

NAME, VERSION = (
    "${__field.labels.gen_ai_prompt_name:percentencode}",
    "${__field.labels.gen_ai_prompt_version:percentencode}",
)
PROMPT_PAGE = f"/d/promptguard-prompt?var-prompt={NAME}&${{ledger:queryparam}}&${{__url_time_range}}"
LOCAL_PAGE = f"${{page}}/prompt?group={NAME}@{VERSION}"

Panel = timeseries.Panel | stat.Panel | table.Panel | statetimeline.Panel


def query(expr: str, legend: str = "", ref: str = "A", *, instant: bool = False) -> prometheus.Dataquery:
    """Return one query to Prometheus."""
    made = prometheus.Dataquery().expr(expr).ref_id(ref).datasource(SOURCE).legend_format(legend or "__auto")
    return made.instant() if instant else made.range()


def state_of(selector: str, by: str = BY_PROMPT) -> str:
    """Return the expression of a prompt's state as a number that STATES names: the worst of those that hold."""
    numbers = {"drift": 4, "acknowledged": 3, "unmeasured": 2, "no_drift": 1}  # `or` takes the first
    parts = [
        f'({number} * (max by ({by}) (promptguard_drift_status{{{selector}, promptguard_status="{status}"}}) == 1))'
        for status, number in numbers.items()
    ]
    return " or ".join(parts)


def lines(
    title: str,
    what: str,
    targets: Sequence[tuple[str, str]],
    *,
    unit: str = "short",
    width: int = 12,
    height: int = 8,
) -> timeseries.Panel:
    """Return a panel of lines over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(what)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(height)
        .line_width(2)
        .fill_opacity(0)
        .span_nulls(True)
        .legend(common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.LIST).placement(kinds.LegendPlacement.BOTTOM).show_legend(True))
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
    )  # fmt: skip
    for number, (expr, legend) in enumerate(targets):
        panel = panel.with_target(query(expr, legend, chr(ord("A") + number)))
    return panel


def number(
    title: str,
    what: str,
    expr: str,
    *,
    unit: str = "short",
    width: int = 4,
    steps: Sequence[tuple[float | None, str]] = (),
) -> stat.Panel:
    """Return a panel of one figure; `steps` colour it from a value on."""
    colours = [model.Threshold(value=value, color=colour) for value, colour in steps or ((None, BLUE),)]
    return (
        stat.Panel()
        .title(title)
        .description(what)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(4)
        .graph_mode(kinds.BigValueGraphMode.AREA)
        .color_mode(kinds.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .thresholds(build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(colours))
        .with_target(query(expr, title))
    )


def states(title: str, what: str, expr: str, legend: str, *, height: int = 9) -> statetimeline.Panel:
    """Return a panel of bands, one a prompt, coloured and named by its state."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(what)
        .datasource(SOURCE)
        .span(24)
        .height(height)
        .mappings([_state_names()])
        .color_scheme(build_colour())
        .merge_values(True)
        .show_value(kinds.VisibilityMode.AUTO)
        .row_height(0.85)
        .data_links([_link("This prompt", PROMPT_PAGE), _link("On the local page", LOCAL_PAGE)])
        .with_target(query(expr, legend))
    )


def _link(title: str, url: str) -> build.DashboardLink:
    """Return a link of a band to what is known of its prompt."""
    return build.DashboardLink(title).type(model.DashboardLinkType.LINK).url(url).target_blank(True)


def build_colour() -> _FieldColour:
    """Return colours that come from values' names."""
    return _FieldColour(model.FieldColor(mode=model.FieldColorModeId.THRESHOLDS))


class _FieldColour:
    """What builders take: something that builds."""

    def __init__(self, colour: model.FieldColor) -> None:
        self._colour = colour

    def build(self) -> model.FieldColor:
        return self._colour


def _state_names() -> model.ValueMap:
    return model.ValueMap(
        options={
            value: model.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(STATES.items())
        }
    )


def rows(title: str, what: str, columns: Sequence[tuple[str, str]], *, height: int = 10) -> table.Panel:
    """Return a table: one row a prompt, one column a query (title, expression), joined by their labels."""
    panel = table.Panel().title(title).description(what).datasource(SOURCE).span(24).height(height)
    renamed: dict[str, str] = {
        "gen_ai_prompt_name": "prompt", "gen_ai_prompt_version": "version", "promptguard_stream": "stream",
        "promptguard_ledger": "ledger",
    }  # fmt: skip
    for index, (name, expr) in enumerate(columns):
        ref = chr(ord("A") + index)
        panel = panel.with_target(query(expr, "", ref, instant=True).format(PromQueryFormat.TABLE))
        renamed[f"Value #{ref}"] = name
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={"excludeByName": {"Time": True}, "renameByName": renamed},
        )
    )
    named = {"id": "mappings", "value": [_state_names().to_json()]}
    shown = {"id": "custom.cellOptions", "value": {"type": "color-text"}}
    return panel.override_by_name(
        "state",
        [model.DynamicConfigValue(id_val=str(each["id"]), value=each["value"]) for each in (named, shown)],
    )


def variables(made: build.Dashboard, *, prompt: bool, several: bool = True) -> build.Dashboard:
    """Give a dashboard its variables: data source, ledger, and where wanted prompt and stream."""
    made = made.with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    made = made.with_variable(_choice("ledger", "Ledger", "promptguard_ledger", "", several=True))
    if prompt:
        made = made.with_variable(_choice("prompt", "Prompt", "gen_ai_prompt_name", HERE, several=several))
        made = made.with_variable(_choice("stream", "Stream", "promptguard_stream", HERE, several=True))
    return made.with_variable(
        build.TextBoxVariable("page").label("Local page").default_value("http://127.0.0.1:7787")
    )


def _choice(name: str, label: str, attribute: str, within: str, *, several: bool) -> build.QueryVariable:
    query_text = f"label_values(promptguard_drift_status{{{within}}}, {attribute})"
    made = (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query_text, "refId": f"var-{name}"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )
    if not several:
        return made
    everything = model.VariableOption(selected=True, text="All", value="$__all")
    return made.multi(True).include_all(True).all_value(".*").current(everything)


def links(made: build.Dashboard, *, prompt: bool) -> build.Dashboard:
    """Give a dashboard its links: the other dashboards, the local page, and traces."""
    made = made.link(
        build.DashboardLink("PromptGuard").type(model.DashboardLinkType.DASHBOARDS).tags(["promptguard"]).include_vars(True).keep_time(True)
    )  # fmt: skip
    made = made.link(
        build.DashboardLink("Local page")
        .type(model.DashboardLinkType.LINK)
        .url("${page}")
        .tooltip("promptguard dashboard, where it runs")
        .target_blank(True)
    )
    if not prompt:
        return made
    return made.link(
        build.DashboardLink("Traces")
        .type(model.DashboardLinkType.LINK)
        .url(TRACES)
        .tooltip("Calls of this prompt in Grafana's explore view, from the default Tempo")
        .target_blank(True)
    )


TRACES = (
    '/explore?left={"datasource":"tempo","queries":[{"refId":"A","queryType":"traceql",'
    '"query":"{span.gen_ai.prompt.name=\\"${prompt}\\"}"}],"range":{"from":"${__from}","to":"${__to}"}}'
)
