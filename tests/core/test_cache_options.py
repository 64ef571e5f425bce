"""What may be said to Cache(...), and what the error says to write instead."""

from __future__ import annotations

import pickle

import pytest

import promptguard
from promptguard import Cache, ConfigurationError
from promptguard.core.options import cache_option


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "file"}, "\"memory\"|'memory'"),
        ({"max_bytes": "1GB"}, "whole number of bytes"),
        ({"max_bytes": 0}, "whole number of bytes"),
        ({"max_bytes": True}, "whole number of bytes"),
        ({"ttl": "soon"}, "90s"),
        ({"ttl": -1}, "90s"),
        ({"variants": 3}, "sampled=True"),
        ({"variants": 0, "sampled": True}, "1 to 64"),
        ({"draw": "best"}, "'turn', 'random'"),
        ({"on_drift": "forget"}, "'bypass', 'keep', 'reask'"),
        ({"reask": 2}, "share between 0 and 1"),
        ({"tags": ["a"]}, "tuple"),
        ({"tags": ("",)}, "1 to 200"),
        ({"tenant": 7}, "text"),
        ({"sampled": "yes"}, "True or False"),
        ({"single_flight": 1}, "True or False"),
    ],
)
def test_a_mistake_is_said_at_once(wrong, said):
    with pytest.raises(ConfigurationError, match=said):
        Cache(**wrong)


def test_short_forms():
    assert cache_option(None) is None
    assert cache_option("memory") == Cache("memory")
    assert cache_option("disk").kind == "disk"
    for wrong in ("redis", "file", "", 3, True):
        with pytest.raises(ConfigurationError, match=r"is not accepted.*: give None"):
            cache_option(wrong)


def test_it_pickles():
    option = Cache("disk", ttl="6h", sampled=True, variants=3, tags=("a",), tenant="t")
    assert pickle.loads(pickle.dumps(option)) == option  # noqa: S301 - our own value


def test_tags_of_a_block_are_checked_and_add_up():
    from promptguard.guarding import TAGS

    with promptguard.cache_tags("a"), promptguard.cache_tags("b", "a"):
        assert TAGS.get() == ("a", "b")
    assert TAGS.get() == ()
    with pytest.raises(ConfigurationError, match="cache_tags"), promptguard.cache_tags(""):
        pass
