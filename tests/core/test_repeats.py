"""How many sampled calls ask their own model again: as was said, or by what was seen so far."""

import pytest

from promptguard.core.options import Shadow
from promptguard.core.policy import Settings, sample
from promptguard.core.repeats import LEAST, REFUSED_SECONDS, RESTS, SUSPECTED, RepeatShare


def share_of(repeat, now=lambda: 0.0):
    return RepeatShare(Shadow("m", repeat=repeat), now)


@pytest.mark.parametrize("repeat", [0.0, 0.1, 1.0])
def test_a_share_that_was_said_stays(repeat):
    share = share_of(repeat)
    share.paid(5.0)
    share.refused()
    assert share.share == repeat


def test_without_a_shadow_nothing_is_repeated():
    assert RepeatShare(None, lambda: 0.0).share == 0.0


def test_it_is_all_while_a_change_is_suspected_and_little_before_and_after():
    share = share_of("auto")
    seen = []
    for _ in range(30 + RESTS + 2):
        seen.append(share.share)
        share.paid(1.0)
    assert seen[0] == LEAST
    assert seen[1:30] == [1.0] * 29
    assert set(seen[30:-1]) == {LEAST}
    assert seen[-1] == 1.0


def test_evidence_counts_from_its_lowest_point():
    share = share_of("auto")
    for _ in range(100):
        share.paid(-0.5)
    share.paid(SUSPECTED)
    assert share.share == 1.0
    share.paid(-0.1)
    assert share.share == LEAST


def test_it_is_the_least_while_caps_refuse_calls():
    now = [1000.0]
    share = share_of("auto", lambda: now[0])
    share.paid(2.0)
    share.refused()
    assert share.share == LEAST
    now[0] += REFUSED_SECONDS - 1
    share.paid(0.1)
    assert share.share == LEAST
    now[0] += 1
    share.paid(0.1)
    assert share.share == 1.0


def test_a_call_is_drawn_with_the_share_as_it_was_when_it_began():
    settings = Settings(shadow=Shadow("m", sample=1.0, repeat="auto"))
    draws = (0.0, 0.3, 1.0, 1.0)
    assert sample(settings, draws, 0.31).repeat
    assert not sample(settings, draws, 0.3).repeat
    assert sample(settings, draws, 0.31).candidate
    assert not sample(Settings(shadow=Shadow("m", sample=1.0, repeat=1)), draws, 1.0).candidate
