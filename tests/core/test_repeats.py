"""How many sampled calls ask their own model again: as was said, or by what was seen so far."""

import pytest

from promptguard.core.options import Shadow
from promptguard.core.policy import Settings, sample
from promptguard.core.repeats import LEAST, MOST, REFUSED_SECONDS, RepeatShare


def share_of(repeat, now=lambda: 0.0):
    return RepeatShare(Shadow("m", repeat=repeat), now)


@pytest.mark.parametrize("repeat", [0.0, 0.1, 1.0])
def test_a_share_that_was_said_stays(repeat):
    share = share_of(repeat)
    share.saw(differ=True)
    share.refused()
    assert share.share == repeat


def test_without_a_shadow_nothing_is_repeated():
    assert RepeatShare(None, lambda: 0.0).share == 0.0


def test_it_grows_where_two_answers_of_one_model_differ_and_shrinks_where_they_do_not():
    noisy, steady = share_of("auto"), share_of("auto")
    assert noisy.share == steady.share == pytest.approx(LEAST + 0.2 * (MOST - LEAST))
    for _ in range(200):
        noisy.saw(differ=True)
        steady.saw(differ=False)
    assert noisy.share == pytest.approx(MOST, abs=1e-3)
    assert steady.share == pytest.approx(LEAST, abs=1e-3)


def test_it_is_the_least_while_caps_refuse_calls():
    now = [1000.0]
    share = share_of("auto", lambda: now[0])
    for _ in range(200):
        share.saw(differ=True)
    share.refused()
    assert share.share == LEAST
    now[0] += REFUSED_SECONDS - 1
    share.saw(differ=True)
    assert share.share == LEAST
    now[0] += 1
    share.saw(differ=True)
    assert share.share > 0.4


def test_a_call_is_drawn_with_the_share_as_it_was_when_it_began():
    settings = Settings(shadow=Shadow("m", sample=1.0, repeat="auto"))
    draws = (0.0, 0.3, 1.0, 1.0)
    assert sample(settings, draws, 0.31).repeat
    assert not sample(settings, draws, 0.3).repeat
    assert sample(settings, draws, 0.31).candidate
    assert not sample(Settings(shadow=Shadow("m", sample=1.0, repeat=1)), draws, 1.0).candidate
