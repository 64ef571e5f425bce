from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replies import SECRET, reply

from promptguard.cache.entry import MAX_ENTRY_BYTES, BadEntry, decode, encode
from promptguard.core.model import StoredReply

TEXT = st.text(st.characters(exclude_categories=()))
COUNT = st.integers(0, 2**63 - 1)
REPLIES = st.builds(
    StoredReply,
    status=st.integers(0, 999),
    headers=st.lists(st.tuples(st.binary(), st.binary())).map(tuple),
    chunks=st.lists(st.binary()).map(tuple),
    stored_at=st.floats(allow_nan=False),
    group=TEXT,
    model=TEXT,
    epoch=COUNT,
    input_tokens=COUNT,
    output_tokens=COUNT,
    served=TEXT,
    tags=st.lists(TEXT, max_size=3).map(tuple),
    paired=st.booleans(),
)


@given(TEXT, REPLIES)
def test_a_round_trip_is_exact(key, kept):
    assert decode(key, encode(key, kept, SECRET), SECRET) == kept


@settings(max_examples=500)
@given(st.data())
def test_any_change_is_noticed(data):
    blob = encode("key", reply(), SECRET)
    at = data.draw(st.integers(0, len(blob) - 1))
    other = data.draw(st.integers(1, 255))
    changed = blob[:at] + bytes([blob[at] ^ other]) + blob[at + 1 :]
    with pytest.raises(BadEntry):
        decode("key", changed, SECRET)


def test_every_truncation_and_every_addition_is_noticed():
    blob = encode("key", reply(), SECRET)
    for length in range(len(blob)):
        with pytest.raises(BadEntry):
            decode("key", blob[:length], SECRET)
    with pytest.raises(BadEntry):
        decode("key", blob + b"\0", SECRET)


def test_an_entry_is_worth_nothing_under_another_key_or_secret():
    blob = encode("key", reply(), SECRET)
    with pytest.raises(BadEntry, match="another key"):
        decode("yek", blob, SECRET)
    with pytest.raises(BadEntry, match="wrong mac"):
        decode("key", blob, b"another secret, just as long....")


def test_a_moved_entry_with_a_forged_key_digest_is_noticed():
    first, second = encode("a", reply(), SECRET), encode("b", reply(), SECRET)
    with pytest.raises(BadEntry, match="wrong mac"):
        decode("a", second[:4] + first[4:36] + second[36:], SECRET)


def test_sizes_are_bounded():
    with pytest.raises(BadEntry, match="at most"):
        encode("key", reply(b"x" * MAX_ENTRY_BYTES), SECRET)
    blob = encode("key", reply(), SECRET)
    with pytest.raises(BadEntry, match="wrong length"):
        decode("key", blob[:36] + struct.pack(">Q", 2**63) + blob[44:], SECRET)
    with pytest.raises(BadEntry, match="wrong size"):
        decode("key", b"PGC2" + bytes(MAX_ENTRY_BYTES), SECRET)


@pytest.mark.parametrize(
    "wrong", [{"epoch": 2**70}, {"status": -1}, {"chunks": ("text",)}, {"headers": ((b"a", None),)}]
)
def test_what_cannot_be_kept_is_refused_when_written(wrong):
    with pytest.raises(BadEntry, match="cannot be kept"):
        encode("key", reply(**wrong), SECRET)


def test_the_format_is_as_written():
    # Golden: entries on users' disks. A change needs a new magic.
    golden = (
        "504743322c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683000000000000007c31"
        "6a4bb697665f474c5126187bfdd0dba8ed78d712509e7040e2d732041a70ea00c841d954fc4010000000000000"
        "000000000000000000000000000000000000000000000000077072696d654031000000056770742d3400000000"
        "00000000000000010000000c436f6e74656e742d54797065000000106170706c69636174696f6e2f6a736f6e00"
        "00000300000002686500000000000000036c6c6f"
    )
    assert encode("key", reply(), SECRET).hex() == golden
