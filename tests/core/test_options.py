"""What may be said to the options: by position and by name, compared, hashed, pickled, documented; and every mistake."""

from __future__ import annotations

import pickle
import pydoc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptguard
from promptguard import Budget, Cache, ConfigurationError, Drift, Price, Raise, Replay, Route, Shadow, Warn
from promptguard.core.options import Option

OPTIONS = (Shadow, Budget, Price, Replay, Drift, Cache, Warn, Raise, Route)
VALID = {
    Shadow: {
        "model": "gpt-4-0314", "sample": 0.2, "repeat": 0, "budget": Budget(), "queue": 3, "workers": 1, "client": None,
    },
    Budget: {"usd_per_day": 5, "calls_per_day": 10, "calls_per_minute": None, "price": Price(1, 2)},
    Price: {"input": 1.5, "output": 2},
    Replay: {
        "share": 1.0, "after": "6h", "reservoir": 9, "budget": None, "placebo": "p", "placebo_share": 0.5, "client": None,
    },
    Drift: {
        "alpha": 0.05, "mode": "gate", "horizon": 10, "split": {"candidate": 0.5}, "tolerance": 0.1, "lifetime": True,
        "max_groups": 7,
    },
    Cache: {
        "kind": "disk", "ttl": "1d", "max_bytes": 10, "sampled": True, "tenant": "t", "variants": 2, "draw": "random",
        "on_drift": "keep", "reask": 0.1, "tags": ("a",), "single_flight": False,
    },
    Route: {"to": "gpt-4-0314"},
}  # fmt: skip


def test_by_position_and_by_name():
    assert Shadow("gpt-4") == Shadow(model="gpt-4")
    assert Shadow("gpt-4", 0.5).sample == 0.5
    assert Route("x").to == "x"
    assert Cache("disk").kind == "disk"
    assert (Price(1, 2).input, Price(1, 2).output) == (1, 2)
    assert Warn() == Warn() != Raise()
    assert Shadow("a") != Shadow("b")


@pytest.mark.parametrize("kind", VALID)
def test_they_are_values(kind):
    made = kind(**VALID[kind])
    assert pickle.loads(pickle.dumps(made)) == made == kind(**VALID[kind])  # noqa: S301 - our own value
    names = {name: getattr(promptguard, name) for name in promptguard.__all__}
    assert eval(str(made), names) == made  # noqa: S307 - our own text
    with pytest.raises(ValueError, match="frozen"):
        setattr(made, next(iter(VALID[kind])), None)
    if kind is not Drift:  # its split is a mapping
        assert hash(made) == hash(kind(**VALID[kind]))


@pytest.mark.parametrize("kind", OPTIONS)
def test_help_tells_every_parameter(kind):
    text = pydoc.render_doc(kind)
    assert issubclass(kind, Option)
    for name, field in kind.model_fields.items():
        assert f"    {name}: " in kind.__doc__
        assert f"    {name}: " in text
        assert len(field.description) > 20, f"{kind.__name__}({name}) says too little"
        assert field.is_required() or "(default " in kind.__doc__


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Budget(usd=5), r"Budget\(usd=...\) is not known: did you mean usd_per_day=\?"),
        (lambda: Budget(calls_per_hour=5), r"did you mean calls_per_(day|minute)=\?"),
        (lambda: Shadow("m", rate=0.1), r"did you mean sample=\?"),
        (lambda: Shadow("m", sampel=0.1), r"did you mean sample=\?"),
        (Shadow, r"Shadow\(model=...\) is missing"),
        (lambda: Shadow("m", model="n"), "given model twice"),
        (lambda: Shadow(" gpt-4 "), r"Shadow\(model=' gpt-4 '\).*did you mean 'gpt-4'"),
        (lambda: Shadow("gpt\n4"), r"Shadow\(model="),
        (lambda: Route("gpt\0"), r"Route\(to="),
        (lambda: Shadow("m").model_copy(update={"sample": 7}), r"Shadow\(sample=7\)"),
        (lambda: Shadow.model_construct(model="m", sample=7), r"Shadow\(sample=7\)"),
        (lambda: setattr(Shadow("m"), "sampel", 1), "did you mean sample="),
        (lambda: delattr(Shadow("m"), "sample"), "frozen"),
        (lambda: Budget(calls_per_minute=10**30), "calls_per_minute="),
        (lambda: Replay(reservoir=10**30), "reservoir="),
        (lambda: Replay(after="9" * 400 + "d"), "after="),
        (lambda: Replay(after=10**400), "after="),
        (lambda: Drift(horizon=10**400), "horizon="),
        (lambda: Drift(alpha=1e-320), "alpha="),
        (lambda: Drift(split={"candidate": 1e-300}), "no change could be found"),
        (lambda: Cache(ttl=0), "would serve nothing"),
        (lambda: Cache(tenant="\ud800"), "tenant="),
        (lambda: Cache(tags=("\ud800",)), "tags="),
        (lambda: Shadow(Shadow), "class Shadow.*is a class"),
        (lambda: Shadow("m", budget=Budget), r"made by Budget\(...\)"),
        (lambda: Shadow("m", budget={"usd_per_day": 1}), r"Shadow\(budget=.*promptguard.Budget"),
        (lambda: Shadow("m", sample="5%"), r"did you mean 0.05\?"),
        (lambda: Shadow("m", sample=True), "share between 0 and 1"),
        (lambda: Shadow("m", sample=float("nan")), "share between 0 and 1"),
        (lambda: Shadow("m", client=3), "must build a client"),
        (lambda: Replay(client=lambda http: http), "needs arguments"),
        (lambda: Replay(after="6 hours"), r'did you mean "6h"\?'),
        (lambda: Replay(after="2 weeks"), r'did you mean "14d"\?'),
        (lambda: Replay(after="90 mins."), r'did you mean "90m"\?'),
        (lambda: Replay(after=-1), "90s"),
        (lambda: Replay(after="a day"), "90s"),
        (lambda: Drift(mode="montor"), r"did you mean 'monitor'\?"),
        (lambda: Drift(split={"candidat": 1}), r"no such stream; did you mean 'candidate'\?"),
        (lambda: Drift(split={"repeat": 1}), "alpha of their own"),
        (lambda: Drift(split={"candidate": 0.6, "replay": 0.6}), "at most 1, not 1.2"),
        (lambda: Drift(split={"candidate": "all"}), "share between 0 and 1"),
        (lambda: Drift(split=[("candidate", 1)]), "shares of alpha by stream"),
        (lambda: Drift(horizon=1.5), "whole number of pairs"),
        (lambda: Price("1", 2), "USD per million input tokens"),
        (lambda: Price(1), r"Price\(output=...\) is missing"),
        (lambda: Price(1, 2, 3), "at most 2 values"),
        (lambda: Warn("now"), "no values"),
        (Route, r"Route\(to=...\) is missing"),
        (lambda: Route("  "), "pinned model version"),
        (lambda: Cache("disc"), r"did you mean 'disk'\?"),
        (lambda: Cache(size=3), r"did you mean max_bytes=\?"),
    ],
)  # fmt: skip
def test_a_mistake_names_what_was_given_and_what_is_accepted(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()


class Stranger:
    def __repr__(self):
        raise RuntimeError("no text")


def attempted(kind, arguments):
    """Return what was made and what was said: one of the two is None."""
    try:
        return kind(**arguments), None
    except ConfigurationError as error:
        return None, str(error)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3),
    st.lists(st.integers()), st.dictionaries(st.text(max_size=3), st.floats()),
    st.sampled_from([object(), Stranger(), int, Shadow, print, Budget()]),
)  # fmt: skip


@given(st.sampled_from(list(VALID)), st.data())
@settings(max_examples=300)
def test_one_wrong_value_among_right_ones_is_named(kind, data):
    arguments = dict(VALID[kind])
    name = data.draw(st.sampled_from(list(arguments)))
    value = data.draw(ANYTHING)
    made, said = attempted(kind, arguments | {name: value})
    if made is None:
        assert f"{kind.__name__}({name}=" in said or (name == "sampled" and "sampled=True" in said)
        assert len(said) < 400
    else:
        kept = getattr(made, name)
        assert kept == value, "what is accepted is what was given"
        assert type(kept) is not bool or type(value) is bool


@given(st.sampled_from(list(VALID)), st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12))
def test_one_unknown_name_among_right_ones_is_named(kind, name):
    if name in kind.model_fields:
        return
    with pytest.raises(ConfigurationError, match=rf"{kind.__name__}\({name}=...\) is not known"):
        kind(**VALID[kind] | {name: 1})
