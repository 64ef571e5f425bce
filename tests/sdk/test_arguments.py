"""Every wrong argument of a public function is a ConfigurationError, at the line where it is written, that names it."""

from __future__ import annotations

import functools
import math
import sys
import time
import types
from pathlib import Path

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import promptguard as pg
from promptguard import ConfigurationError
from tests.sdk.conftest import http_family

pytestmark = pytest.mark.sdk


def client():
    return openai.OpenAI(base_url="http://127.0.0.1:1/v1", api_key="k")


async def coroutine_function(alarm):
    return alarm


class Pager:
    def __call__(self, alarm):
        return alarm

    async def notify(self, alarm):
        return alarm


def generator(alarm):
    yield alarm


async def async_generator(alarm):
    yield alarm


class Unequal:
    def __eq__(self, other):
        raise ValueError("the truth value of this is ambiguous")

    __hash__ = None


class Unpathlike:
    def __fspath__(self):
        raise RuntimeError


WRONG = [
    ({"cache": "disc"}, r"cache='disc' .*did you mean \"disk\""),
    ({"cache": pg.Cache}, r"class Cache.*made by Cache\(...\)"),
    ({"shadow": "gpt-4"}, r"did you mean promptguard.Shadow\(model='gpt-4'\)"),
    ({"shadow": pg.Shadow}, "class Shadow"),
    ({"shadow": pg.Replay()}, r"give promptguard.Shadow\(...\) or None"),
    ({"shadow_model": "gpt-4"}, r"wrap\(shadow_model=...\) is not known: did you mean shadow="),
    ({"on_drfit": pg.Warn()}, "did you mean on_drift="),
    ({"replay": True}, r"did you mean promptguard.Replay\(\)"),
    ({"replay": 0.02}, r"did you mean promptguard.Replay\(share=0.02\)"),
    ({"replay": False}, r"replay=False"),
    ({"drift": 0.01}, r"did you mean promptguard.Drift\(alpha=0.01\)"),
    ({"on_drift": "warn"}, r"did you mean promptguard.Warn\(\)"),
    ({"on_drift": pg.Warn}, r"write on_drift=promptguard.Warn\(\)"),
    ({"on_drift": [pg.Warn(), pg.Route]}, r"write on_drift=promptguard.Route\(to=...\)"),
    ({"on_drift": lambda: 1}, "cannot be called with one argument"),
    ({"on_drift": lambda alarm, channel: 1}, "cannot be called with one argument"),
    ({"on_drift": None}, "on_drift=None is not accepted"),
    ({"on_drift": Pager}, r"Pager is a class: an instance of it is made by Pager\(...\)"),
    ({"on_drift": 5}, "on_drift=5"),
    ({"prompts": "nope"}, r"did you mean promptguard.prompts\('nope'\)"),
    ({"prompts": {"a": 1}}, "a prompt library"),
    ({"record_content": "yes"}, "record_content='yes'"),
    ({"record_content": 1}, "record_content=1"),
    ({"seed": "x"}, "seed='x'"),
    ({"seed": True}, "seed=True"),
    ({"clock": 5}, "clock=5"),
    ({"clock": lambda now: now}, "clock=.*without arguments"),
    ({"clock": lambda: "noon"}, "returned 'noon'"),
    ({"clock": lambda: 1 / 0}, "raised ZeroDivisionError"),
    ({"clock": lambda: sys.exit(3)}, "raised SystemExit"),
    ({"clock": lambda: math.nan}, "returned nan"),
    ({"clock": lambda: time.time() * 1000}, "seconds since the Unix epoch"),
    ({"clock": time.monotonic}, "did you mean time.time"),
    ({"clock": time.time_ns}, "did you mean time.time"),
    ({"on_drift": generator}, "a generator function.*without `yield`"),
    ({"on_drift": [pg.Warn(), async_generator]}, "a generator function"),
    ({"on_drift": functools.partial(generator)}, "a generator function"),
    ({"cache": Unequal()}, "cache="),
    ({"prompts": types.SimpleNamespace(get=1, names=2)}, "a prompt library"),
    ({"ledger": "~no-such-user-here/x"}, "home directory"),
    ({"ledger": "x" * 300}, "ledger='xxx.*a shorter path"),
    ({"ledger": Path("a\0b")}, "ledger="),
    ({"ledger": "half \ud83d"}, "ledger=.*can write"),
    ({"ledger": Path("postgresql://user:secret-canary@host/db")}, r"ledger='postgresql://...'"),
    ({"ledger": "postgresql+psycopg:user:secret-canary@host"}, r"only directories|ledger="),
    ({"ledger": ":memory:"}, "ledger=':memory:'"),
    ({"ledger": Unpathlike()}, "ledger= raised RuntimeError"),
    ({"ledger": None}, "ledger=None"),
    ({"ledger": ""}, "ledger=''"),
    ({"ledger": b"x"}, "ledger=b'x'"),
    ({"ledger": "sqlite:///x.db"}, r"ledger='sqlite://...'"),
    ({"ledger": "mysql://user:secret-canary@host/db"}, r"no such kind of ledger"),
    ({"ledger": "postgresql://user:secret-canary@host"}, r"names no database"),
    ({"fields": {"x": "harmless"}}, "stateful"),
    ({"fields": ["x"]}, "fields="),
    ({"replay": pg.Replay(), "record_content": False}, "drop one of the two"),
    ({"replay": pg.Replay(), "drift": pg.Drift(split={"candidate": 1.0})}, "gives the replay stream no share"),
    ({"shadow": pg.Shadow("m"), "drift": pg.Drift(split={"replay": 1.0})}, "gives the candidate stream no share"),
    ({"cache": pg.Cache(reask=0.1)}, "add replay="),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"), WRONG, ids=lambda each: "-".join(each) if isinstance(each, dict) else None
)
@pytest.mark.parametrize("function", ["wrap", "guard"])
def test_a_wrong_argument_is_named(guarded, function, arguments, said):
    said = said.replace("wrap", function)
    given = client() if function == "wrap" else http_family().Client()
    with pytest.raises(ConfigurationError, match=said) as raised, given:
        getattr(pg, function)(given, **{"ledger": guarded} | arguments)
    assert "canary" not in str(raised.value)
    assert not guarded.exists()


@pytest.mark.parametrize(
    "on_drift",
    [
        coroutine_function,
        Pager(),
        Pager().notify,
        print,
        [],
        [pg.Warn(), lambda alarm: None],
        lambda *all: None,
    ],
)
def test_what_can_be_called_with_an_alarm_is_accepted(guarded, on_drift):
    with client() as given:
        assert pg.is_wrapped(pg.wrap(given, ledger=guarded, on_drift=on_drift))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (pg.wrap, r"wrap\(...\): missing 1 required positional argument: 'client'"),
        (lambda: pg.wrap(client(), "ledger"), r"wrap\(...\): takes 1 positional argument"),
        (lambda: pg.unwrap(openai.OpenAI), "cannot unwrap the class openai.*OpenAI"),
        (lambda: pg.unwrap("client"), "cannot unwrap a str"),
        (lambda: pg.is_wrapped(7), "cannot tell whether calls are guarded of an int"),
        (lambda: pg.is_wrapped(openai), "the module openai"),
        (lambda: pg.clear_cache(client()), "not wrapped"),
        (lambda: pg.clear_cache(7), "cannot clear the cache of an int"),
        (lambda: pg.clear_cache(client(), tags="x"), r"clear_cache\(tags=...\) is not known: did you mean tag="),
        (lambda: pg.guard(client()), r"goes to promptguard.wrap\(\)"),
        (lambda: pg.flush("1"), r"flush\(timeout='1'\)"),
        (lambda: pg.flush(float("nan")), r"flush\(timeout=nan\)"),
        (lambda: pg.flush(None), r"flush\(timeout=None\)"),
        (lambda: pg.cluster("\ud800").__enter__(), r"cluster\(name="),
        (lambda: pg.acknowledge("nope", clock=5), r"acknowledge\(clock=5\)"),
        (lambda: pg.acknowledge("~no-such-user-here/x"), "home directory"),
        (lambda: pg.verdicts("x" * 300), "a shorter path"),
        (lambda: pg.verdicts("~no-such-user-here/x"), "home directory"),
        (lambda: pg.prompts("x" * 300), r"prompts\(directory="),
        (lambda: pg.prompts("\ud800"), "is no directory of prompts"),
        (lambda: pg.cluster(7).__enter__(), r"cluster\(name=7\)"),
        (lambda: pg.cluster().__enter__(), r"cluster\(...\): missing"),
        (lambda: pg.group(None).__enter__(), r"group\(name=None\)"),
        (lambda: pg.cache_tags(7).__enter__(), "cache_tags"),
        (lambda: pg.cache_tags(["a"]).__enter__(), "cache_tags"),
        (lambda: pg.cache_tags({"a": 1}).__enter__(), "cache_tags"),
        (lambda: pg.verdicts("nope"), "no ledger here"),
        (lambda: pg.verdicts(7), "ledger=7"),
        (lambda: pg.acknowledge("nope"), "no ledger here"),
        (lambda: pg.acknowledge("nope", group=7), r"acknowledge\(group=7\)"),
        (lambda: pg.acknowledge("nope", stream="shadow"), r"acknowledge\(stream='shadow'\)"),
        (lambda: pg.acknowledge("nope", stream=["replay"]), r"acknowledge\(stream="),
        (lambda: pg.acknowledge("nope", steam="replay"), "did you mean stream="),
        (lambda: pg.prompts("nope/"), "is no directory of prompts"),
        (lambda: pg.prompts(7), r"prompts\(directory=7\)"),
        (lambda: pg.prompts("\0"), r"prompts\(directory="),
    ],
)  # fmt: skip
def test_every_public_function_names_what_is_wrong(tmp_path, monkeypatch, call, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=said):
        call()


def test_prompts_name_what_is_wrong(tmp_path):
    place = tmp_path / "triage"
    place.mkdir()
    (place / "1.prompty").write_text(
        "---\ninputs: {ticket: {type: string}}\n---\nsystem:\nSort {{ ticket }}.\n", "utf-8"
    )
    library = pg.prompts(tmp_path)
    prompt = library.get("triage@1")
    for call, said in (
        (lambda: library.get(7), r"get\(reference=7\)"),
        (lambda: library.get("triag@1"), "did you mean 'triage'"),
        (lambda: library.get("triage@2"), "versions: 1"),
        (lambda: prompt.render(tickt="x"), "did you mean 'ticket'"),
        (lambda: prompt.render(ticket=1), "must be of kind string"),
        (prompt.render, "write render"),
        (lambda: prompt.render("m", "x"), r"render\(...\): takes"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=said):
            call()


def test_what_is_not_wrapped_is_left_as_it_is():
    with client() as given:
        assert pg.unwrap(given) is given
        assert not pg.is_wrapped(given)


RIGHT = {
    "cache": "memory", "shadow": None, "replay": None, "drift": pg.Drift(), "on_drift": pg.Warn(), "prompts": None,
    "record_content": None, "fields": {"x": "none"}, "clock": time.time, "seed": 1, "ledger": Path("nowhere"),
}  # fmt: skip
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3),
    st.lists(st.integers(), min_size=1), st.dictionaries(st.text(max_size=3), st.floats(), min_size=1),
    st.sampled_from([object(), int, pg.Shadow, pg.Warn, pg.Budget(), lambda: 1, lambda a, b: 1, openai]),
)  # fmt: skip
FINE = {
    "cache": lambda v: v is None, "shadow": lambda v: v is None, "replay": lambda v: v is None,
    "drift": lambda v: v is None, "prompts": lambda v: v is None,
    "record_content": lambda v: v is None or isinstance(v, bool), "seed": lambda v: v is None or type(v) is int,
    "ledger": lambda v: isinstance(v, str) and v.strip(),
    "fields": lambda v: v is None or v == {}, "clock": callable, "on_drift": lambda v: False,
}  # fmt: skip


@given(st.sampled_from(list(RIGHT)), ANYTHING)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_mutation_of_right_settings_is_named_or_right(name, value):
    with client() as given_client:
        try:
            pg.wrap(given_client, **RIGHT | {name: value})
            said = None
        except ConfigurationError as error:
            said = str(error)
    if said is None:
        assert FINE[name](value), f"{name}={value!r} was accepted"
    else:
        assert name in said
