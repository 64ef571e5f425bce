"""Hostile templates, generated: ways to an object's insides, and things that grow or take long, one within the other."""

from __future__ import annotations

import random

_SECRETS = """
__class__ __mro__ __subclasses__ __base__ __bases__ __init__ __globals__ __builtins__ __import__ __dict__ __code__ __call__
__getattribute__ __reduce__ __self__ __func__ __module__ __doc__ mro gi_frame gi_code f_globals f_back f_locals co_code
func_globals cr_frame ag_frame tb_frame _TemplateReference__context environment blocks eval_ctx exported_vars parent
format format_map translate setdefault update append pop clear fromkeys encode
""".split()  # noqa: SIM905
_BASES = """
x ''  l d self loop range dict namespace cycler joiner lipsum environment request config g url_for get_flashed_messages
[x] {'a':x} (x,) x|list d.items() range(3) namespace(a=1) true none 1 1.5 missing undefined caller varargs
""".split()  # noqa: SIM905
_ESCAPES = (
    "A.B", "A['B']", 'A["B"]', "A|attr('B')", "A['' ~ 'B']", "A[['B']|join]", "A|map(attribute='B')|list",
    "A[d.get('k','B')]",
    "(A.B)()", "A.B()", "A['B']()", "[A]|map(attribute='B')|first", "[A]|map('attr','B')|list", "'{0.B}'.format(A)",
    "'{a.B}'.format_map({'a':A})", "('%s' % A).B", "A|groupby('B')", "[A]|selectattr('B')|list", "[A]|sort(attribute='B')",
    "[A]|sum(attribute='B')", "A|default(A.B)", "(A.B)|string", "dict(a=A.B)", "A.B.B", "A.B('os')", "A|tojson|attr('B')",
    "('{0.B}'|format)(A)", "A|format(A.B)", "[A.B for A in l]",
)  # fmt: skip
_PLACES = (
    "{{ E }}", "{% set a = E %}{{ a }}", "{% if E %}x{% endif %}", "{% for i in E %}{{ i }}{% endfor %}",
    "{{ [E, 1]|list }}", "{{ 'a' if E else 'b' }}", "{{ x ~ E }}", "{{ x|replace('t', E) }}", "{{ E is defined }}",
    "{% with b = E %}{{ b }}{% endwith %}", "{{ x in [E] }}", "{% set ns = namespace(a=E) %}{{ ns.a }}", "{{ {'a': E}.a }}",
    "{% include E %}", "{% import E as y %}", "{% extends E %}", "{% macro m() %}{{ E }}{% endmacro %}{{ m() }}",
    "{% call E() %}{% endcall %}", "{% filter upper %}{{ E }}{% endfilter %}", "{{ E|default('x') }}",
)  # fmt: skip
_STARTS = (
    "'ab' * N", "range(N)|list", "[x] * N", "'é' * N", "big", "many", "x ~ big", "N ** 3", "2 ** N", "range(N)", "deep",
    "'%' * N", "big|list", "many|join(',')", "big.split('a')", "{'a': big}", "1.5 ** N", "big|wordcount", "d",
)  # fmt: skip
_GROWTHS = (
    "V ~ V", "V + V", "V * 9", "[V, V]", "(V, V, V)", "{'a': V, 'b': V}", "V|string", "V|list", "V|tojson", "V|join(V)",
    "V|replace('a', 'aa')", "V|replace('', V)", "V|map('string')|list", "V.replace('a', V)", "V.join([V, V])", "V|upper",
    "V[:]",
    "V[::-1]", "V|batch(2)|list", "V|sort", "V|unique|list", "V|reverse|list", "V|indent(9)", "V|escape", "V|urlize",
    "V|center(N)", "V.center(N)", "V|wordwrap(1)", "V|format(V)", "V % V", "V|sum", "V|groupby(0)", "V|dictsort",
    "V|items|list",
    "V|truncate(N)", "V|striptags", "V|xmlattr", "V|pprint", "V.splitlines()", "V.partition('a')", "V|select|list",
    "V|title", "V.split()", "V.rsplit('a')", "V.splitlines()", "V|max", "V|min", "V|first", "V|wordcount", "V|reject|list",
    "V|map('upper')|list", "V|select('in', 'a')|list", "V|sort(reverse=true)", "V|float", "V|int", "V.title()", "V.lower()",
    "V|length", "V ** V", "V // 3", "dict(a=V)", "V|trim", "V.count('a')", "V.index('zq')", "V.find('zq')",
)  # fmt: skip
_TESTS = (
    "'zq' in V", "V == V", "V != big", "V in [V]", "V < V", "V is eq(V)", "V is in(many)", "V is string", "V is iterable",
    "V|length > 3", "many == many", "deep == deep", "big in many", "V not in V", "V is sameas(V)", "V.startswith(V)",
)  # fmt: skip


def escape(chance: random.Random) -> str:
    """Return a template that reaches for what is no data."""
    expression = _reach(chance)
    for _ in range(chance.choice((0, 0, 1, 2))):
        expression = (
            _one(chance, _ESCAPES).replace("A", f"({expression})").replace("B", _one(chance, _SECRETS))
        )
    return chance.choice(_PLACES).replace("E", expression)


def _reach(chance: random.Random) -> str:
    return (
        _one(chance, _ESCAPES)
        .replace("A", "\0")
        .replace("B", _one(chance, _SECRETS))
        .replace("\0", _one(chance, _BASES))
    )


def growth(chance: random.Random) -> str:
    """Return a template whose loops, values or comparisons may be very many or very large."""
    inner = "".join(_statement(chance) for _ in range(chance.randint(1, 4)))
    for depth in range(chance.randint(1, 4)):
        inner = f"{{% for i{depth} in {_iterated(chance)} %}}{inner}{{% endfor %}}"
    start = _one(chance, _STARTS).replace("N", _number(chance))
    return f"{{% set ns = namespace(s={start}) %}}{inner}{{{{ ns.s }}}}"


def _statement(chance: random.Random) -> str:
    value = chance.choice(("ns.s", "ns.s", "big", "many", "x"))
    if chance.random() < 0.4:
        test = _one(chance, _TESTS).replace("V", value)
        return f"{{% if {test} %}}.{{% endif %}}" * chance.choice((1, 1, 50))
    grown = _one(chance, _GROWTHS).replace("V", value).replace("N", _number(chance))
    return f"{{% set ns.s = {grown} %}}" if chance.random() < 0.7 else f"{{{{ {grown} }}}}"


def _iterated(chance: random.Random) -> str:
    return chance.choice((f"range({_number(chance)})", "many", "big", "ns.s", "d", "range(40)", "range(300)"))


def _number(chance: random.Random) -> str:
    return str(chance.choice((7, 60, 2_000, 99_999, 10**6, 10**9, 10**18)))


def _one(chance: random.Random, these: tuple[str, ...] | list[str]) -> str:
    return chance.choice(these)


def templates(count: int, seed: int) -> list[str]:
    """Return `count` templates, half of either kind; the same for the same seed."""
    chance = random.Random(seed)
    return [(growth if number % 2 else escape)(chance) for number in range(count)]
