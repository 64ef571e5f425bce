from __future__ import annotations

import contextlib
import enum
import itertools
import resource
import threading
import time

import pytest
from corpus import BOMBS, ESCAPES
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from promptguard.errors import MissingVariable, PromptError, PromptSyntaxError, RenderLimit
from promptguard.templates.limits import SMALL_UNITS, Limits, RenderBudget, measure
from promptguard.templates.sandbox import Sandbox
from promptguard.templates.variables import plain

CONTEXT = {"x": "text", "l": [1, 2], "d": {"a": 1}}


def render(source, **variables):
    return Sandbox().template(source, "t.prompty").render({**CONTEXT, **variables})


@pytest.mark.parametrize("source", ESCAPES)
def test_an_escape_is_refused(source):
    with pytest.raises(PromptError):
        render(source)


@pytest.mark.parametrize("source", BOMBS, ids=[f"{i}: {b[:50]}" for i, b in enumerate(BOMBS)])
def test_a_bomb_is_refused_in_time(source):
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(PromptError):
        render(source)
    assert time.process_time() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


PIECES = """
ns.s~ns.s [ns.s,ns.s] ns.s*9 ns.s|string ns.s|tojson ns.s|list ns.s|join(ns.s) {'a':ns.s} ns.s|upper
""".split()  # noqa: SIM905


@pytest.mark.parametrize(("first", "second"), list(itertools.product(PIECES, PIECES)))
def test_generated_growth_is_bounded(first, second):
    body = "{% set ns.s = A %}{% set ns.s = B %}"
    source = "{% set ns = namespace(s='ab') %}{% for i in range(40) %}" + body + "{% endfor %}{{ ns.s }}"
    started = time.process_time()
    with contextlib.suppress(PromptError):
        assert len(render(source.replace("A", first).replace("B", second))) <= 4_000_000
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for k, v in d.items() if v > 0 %}{{ loop.index }}{{ k }}={{ v }}{% endfor %}", "1a=1"),
        ("{% for i in l %}{{ i }}{{ ', ' if not loop.last }}{% else %}none{% endfor %}", "1, 2"),
        ("{% for i in l|reverse %}{{ loop.length }}{{ i }}{% endfor %}", "2221"),
        (
            "{% set n = namespace(t=0) %}{% for i in l %}{% set n.t = n.t + i %}{% endfor %}{{ n.t }}",
            "3",
        ),
        ("{% set a, b = (1, 2) %}{{ a }}{{ b }}", "12"),
        (
            "{% for i in l %}{{ 'a,b'.split(',')|join(i) }}{{ x.replace('e', 'o') }}{% endfor %}",
            "a1btoxta2btoxt",
        ),
        ("{% for i in l %}{{ '-'.join(l) if i > 1 }}{{ 'a b'.rsplit(maxsplit=1)[0] }}{% endfor %}", "a1-2a"),
        (
            "{{ -l[0] - 1 }} {{ +l[1] }} {{ 7 / 2 }} {{ 2.5 - l[1] }} {{ d[l[0]] is defined }}",
            "-2 2 3.5 0.5 False",
        ),
        ("{% with y = x ~ 1 %}{{ y[1:3] }}{% endwith %}", "ex"),
        ("{{ rows|map(attribute='a')|join('/') }}", "1/2"),
        ("{{ rows|selectattr('a', 'gt', 1)|list|tojson }}", '[{"a": 2}]'),
        ("{{ rows|sum(attribute='a') }} {{ 2.345|round(2) }} {{ -3|abs }}", "3 2.35 3"),
        (
            "{{ '<é&>'|tojson }} {{ '-' * 3 }} {{ 7 // 2 }} {{ 2 ** 10 }} {{ 'a' in 'abc' }}",
            '"<é&>" --- 3 1024 True',
        ),
        ("{{ nope|default('d') }}{{ nope is defined }}{{ x.upper().replace('T', 'b') }}", "dFalsebEXb"),
        ("{{ ', '.join(['a', 'b']) }} {{ [1] + l }} {{ d.get('z', 'q') }}", "a, b [1, 1, 2] q"),
        ("tail \n\n", "tail \n\n"),
    ],
)
def test_ordinary_templates_render_as_in_jinja(source, expected):
    assert render(source, rows=[{"a": 1}, {"a": 2}]) == expected


def test_a_big_document_passes():
    document = "é" * 3_000_000
    assert render("<doc>{{ x }}</doc>", x=document) == f"<doc>{document}</doc>"


def test_a_variable_is_never_rendered_again():
    assert render("{{ x }}", x="{{ 7 * 7 }}{% raw %}") == "{{ 7 * 7 }}{% raw %}"


def test_missing_names_are_named():
    with pytest.raises(MissingVariable, match="'topic' is undefined"):
        render("{{ topic }}")
    with pytest.raises(MissingVariable, match="no attribute 'nmae'"):
        render("{{ d.nmae }}")


def test_a_syntax_error_names_file_and_line():
    with pytest.raises(PromptSyntaxError, match=r"^t\.prompty:12: "):
        Sandbox().template("fine\n{{ a", "t.prompty", first_line=11)
    with pytest.raises(PromptSyntaxError, match=r"^t\.prompty:1: No filter named 'center'"):
        Sandbox().template("{{ 'a'|center }}", "t.prompty")


def test_rendering_compiles_nothing():
    sandbox = Sandbox()
    template = sandbox.template("{% for i in l %}{{ i }}{% endfor %}", "t.prompty")
    assert sandbox.compiled == 1
    for _ in range(50):
        template.render(CONTEXT)
    assert sandbox.compiled == 1


def test_one_template_in_many_threads():
    template = Sandbox().template("{% for i in range(n) %}{{ i }},{% endfor %}", "t.prompty")
    right = []

    def run(n):
        for _ in range(100):
            assert template.render({"n": n}) == "".join(f"{i}," for i in range(n))
        right.append(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted(right) == list(range(8))


def test_the_budget_is_per_render_not_per_process():
    template = Sandbox().template("{% set a = 'x' * 3000000 %}{{ a|length }}", "t.prompty")
    for _ in range(5):
        assert template.render({}) == "3000000"
    with pytest.raises(RenderLimit, match=r"t\.prompty: more than"):
        render("{% set a = 'x' * 3000000 %}{{ a }}{{ a }}{{ a }}")


@pytest.mark.parametrize(
    "name", ["items", "keys", "__class__", "_own", "plain", "class", "format", "0", "gone"]
)
@pytest.mark.parametrize(
    "source", ["{{ d.NAME }}", "{{ d['NAME'] }}", "{{ [d]|map(attribute='NAME')|join }}"]
)
def test_an_attribute_is_what_jinja_says(source, name):
    """The way round jinja2's own look-up must neither give more nor less."""
    given = {"d": dict.fromkeys(("items", "__class__", "_own", "plain", "class", "format", "0"), "value")}
    source = source.replace("NAME", name) if name.isidentifier() else "{{ d['NAME'] }}".replace("NAME", name)
    try:
        theirs = ImmutableSandboxedEnvironment(undefined=StrictUndefined).from_string(source).render(given)
    except TemplateError:
        theirs = None
    if theirs is None or "built-in method" in theirs:
        with pytest.raises(PromptError):
            Sandbox().template(source, "t").render(given)
    else:
        assert Sandbox().template(source, "t").render(given) == theirs


def test_printed_text_is_charged_as_work():
    source = "{{ x|length }}" * 3 + "{{ x }}"
    assert len(render(source, x="a" * 1_000_000)) == 1_000_021
    with pytest.raises(RenderLimit, match="units of work"):
        render(source, x="a" * 2_100_000)  # three times looked through, and once printed


@pytest.mark.parametrize(
    "test", ["a == b", "a != b", "a < b", "b in [a]", "'y' in t", "t == t ~ ''", "t[0] == t", "1 in a"]
)
def test_comparing_is_work(test):
    """None of these makes anything: only what they look through adds up."""
    given = {"a": [*range(20_000)], "b": [*range(20_000)], "t": "x" * 300_000}
    source = f"{{% for i in range(LOOPS) %}}{{{{ {test} }}}}{{% endfor %}}"
    assert len(render(source.replace("LOOPS", "2"), **given)) >= 8
    patient = Sandbox(Limits(seconds=60.0))  # on a busy machine too, it is the work that ends it
    with pytest.raises(RenderLimit, match="units of work"):
        patient.template(source.replace("LOOPS", "900"), "t.prompty").render(given)


TEXTS = ["0123456789"] * 1_000
ROWS = [{"title": text} for text in TEXTS]
TEXTS_UNITS, ROWS_UNITS, LISTED = (measure(value, 10**9) - 16 for value in (TEXTS, ROWS, [0] * 1_000))


@pytest.mark.parametrize(
    ("source", "units"),
    [
        ("{{ texts|join }}", TEXTS_UNITS + 2 * 10_000),  # looked through, made, printed
        ("{{ texts|join(separator) }}", TEXTS_UNITS + 310_000 + 309_700),
        ("{% if rows|map(attribute='title') %}{% endif %}", ROWS_UNITS + LISTED),
        ("{% if rows|map(attribute='title')|join %}{% endif %}", ROWS_UNITS + LISTED + TEXTS_UNITS + 10_000),
        ("{{ texts }}", TEXTS_UNITS + 14_000),  # before it is printed, and then its characters
        ("{% if texts|default(nothing) %}{% endif %}", TEXTS_UNITS),
        ("{% if texts[texts] is defined %}{% endif %}", TEXTS_UNITS),  # a key is looked through
        ("{{ mixed|join }}", TEXTS_UNITS + 2 * 10_005),  # no more for a list in it than once
    ],
)
def test_lists_are_charged_by_all_that_is_in_them(source, units):
    given = {"texts": TEXTS, "rows": ROWS, "separator": "-" * 300, "nothing": "", "mixed": [*TEXTS, ["b"]]}
    sizes: dict = {}
    copies = {name: plain(value, name, sizes) for name, value in given.items()}
    for known in (None, sizes):
        Sandbox(Limits(work=units + 500)).template(source, "t").render(copies, known)
        with pytest.raises(RenderLimit, match="units of work"):
            Sandbox(Limits(work=units)).template(source, "t").render(copies, known)


def test_the_clock_is_looked_at_once_per_so_many_units():
    late = RenderBudget(Limits(seconds=0.0))
    late.charge(9_000)
    with pytest.raises(RenderLimit, match="longer than"):
        late.charge(2_000)


def test_the_clock_is_looked_at_whenever_something_is_printed():
    with pytest.raises(RenderLimit, match="longer than"):
        Sandbox(Limits(seconds=0.0)).template("{{ x }}", "t").render({"x": ""})


def test_a_huge_number_is_measured_before_it_becomes_text():
    assert render("{{ n }}", n=2**1_000) == str(2**1_000)
    with pytest.raises(RenderLimit, match="a value of more than"):
        render("{{ n }}", n=1 << 40_000_000)


def test_a_long_output_of_short_pieces_is_joined_and_counted():
    assert render("{% for i in range(3000) %}{{ i }},{% endfor %}") == "".join(f"{i}," for i in range(3000))
    short = Sandbox(Limits(output=4_000))
    with pytest.raises(RenderLimit, match="characters of output"):
        short.template("{% for i in range(3000) %}{{ i }},{% endfor %}", "t").render({})


def test_a_text_without_expressions_is_itself():
    sandbox = Sandbox()
    source = "{# said #}You are {% raw %}{{ kind }}{% endraw %}.\n"
    assert sandbox.template(source, "t").render({}) == "You are {{ kind }}.\n"
    assert sandbox.compiled == 1


class Colour(enum.StrEnum):
    RED = "red"


class Loud(str):
    def __str__(self):
        return "LOUD"

    @property
    def api_key(self):
        return "secret"


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": [b""]}, {1}, float("nan"), iter([1]), lambda: 1])
def test_only_plain_values_enter(value):
    with pytest.raises(PromptError, match=r"^ticket"):
        plain(value, "ticket")


def test_subclasses_become_plain():
    copy = plain({"c": Colour.RED, "l": Loud("quiet"), "t": (1, True, None)}, "v")
    assert copy == {"c": "red", "l": "quiet", "t": [1, True, None]}
    assert {type(each) for each in copy.values()} == {str, list}


def test_endless_nesting_is_refused():
    loop: list = []
    loop.append(loop)
    ring: dict = {}
    ring["ring"] = ring
    rows: list = []
    rows.append({"rows": rows})
    for endless in (loop, ring, rows):
        with pytest.raises(PromptError, match="nested deeper"):
            plain(endless, "v")


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
JSON = st.recursive(SCALARS, lambda c: st.lists(c) | st.dictionaries(st.text(), c), max_leaves=10)


@given(JSON)
def test_plain_keeps_json_and_copies_it(value):
    copy = plain(value, "v")
    assert copy == value
    assert copy is not value or not isinstance(value, list | dict)


@given(JSON)
def test_a_copy_is_measured_as_if_it_were_walked(value):
    sizes: dict = {}
    copy = plain([value, "x" * SMALL_UNITS], "v", sizes)
    assert sizes[id(copy)] == (copy, measure(copy, 10**9))
    assert all(measure(each, 10**9) == size for each, size in sizes.values())


@given(JSON)
def test_a_value_costs_the_same_each_time(value):
    budget, lefts = RenderBudget(), []
    for _ in range(3):
        before = budget._work
        budget.settle(value)
        lefts.append(before - budget._work)
    assert len(set(lefts)) == 1
