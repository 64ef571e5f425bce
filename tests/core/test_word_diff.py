"""Two texts word by word: nothing is lost, and what differs is told wherever it stands."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptguard.core import word_diff
from promptguard.core.word_diff import changed_words, merged

TEXTS = st.text(alphabet="ab .\n", max_size=40)


@given(TEXTS, TEXTS)
def test_both_texts_can_be_read_out_of_what_is_told(one: str, other: str) -> None:
    told = merged(one, other)
    assert "".join(text for kind, text in told if kind != "ins") == one
    assert "".join(text for kind, text in told if kind != "del") == other
    assert all(kind != following for (kind, _), (following, _) in pairwise(told))


@pytest.mark.parametrize("most", [1, 3, 4_000])
def test_what_differs_far_behind_in_a_long_text_is_told(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(word_diff, "_MOST_WORDS", most)
    long = " ".join(str(number) for number in range(9_000))
    other = long.replace(" 8000 ", " eight thousand ").replace(" 8900 ", " ")
    told = merged(long, other)
    assert "".join(text for kind, text in told if kind != "ins") == long
    assert "".join(text for kind, text in told if kind != "del") == other
    assert changed_words(long, other).startswith("... 7997 7998 7999 [-")
