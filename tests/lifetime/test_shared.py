"""What clients share lives as long as one of them, is had once, and ends in the background."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from promptguard.lifetime.shared import Shared
from promptguard.lifetime.threads import supervised


class Thing:
    def __init__(self):
        self.stopped, self.joined = 0, threading.Event()

    def stop(self, deadline):
        self.stopped += 1

    def join(self, deadline):
        self.joined.set()


@pytest.fixture
def faults():
    return []


def shared_of(faults, linger):
    return Shared(
        "test", lambda operation, error: faults.append((operation, type(error).__name__)), linger=linger
    )


def test_users_of_one_key_share_one_thing_until_the_last_has_left(faults):
    things = shared_of(faults, 0.0)
    first, second = things.acquire("a", Thing), things.acquire("a", Thing)
    other = things.acquire("b", Thing)
    assert first.thing is second.thing is not other.thing
    first.release()
    first.release()  # once more makes no difference
    assert not first.thing.joined.wait(0.2)
    second.release()
    assert second.thing.joined.wait(5)
    assert second.thing.stopped == 1
    assert not other.thing.stopped
    assert things.acquire("a", Thing).thing is not second.thing


def test_a_user_that_is_collected_has_left(faults):
    things = shared_of(faults, 0.0)
    use = things.acquire("a", Thing)
    thing = use.thing
    circle = [use]
    circle.append(circle)
    del use, circle
    gc.collect()
    assert thing.joined.wait(5)


def test_a_thing_without_users_is_used_again_for_a_while(faults):
    things = shared_of(faults, 30.0)
    uses = [things.acquire("a", Thing) for _ in range(50)]
    things_had = set()
    for use in uses:
        things_had.add(use.thing)
        use.release()
        things_had.add(things.acquire("a", Thing).thing)
    assert len(things_had) == 1


def test_users_may_leave_within_the_lock_of_another(faults):
    """A collection may run anywhere, also while this thread holds the very lock: leaving must not wait for it."""
    things = shared_of(faults, 0.0)
    use = things.acquire("a", Thing)
    with things._lock:
        use.release()
    assert use.thing.joined.wait(5)


def test_what_making_raises_is_raised_and_nothing_is_kept(faults):
    things = shared_of(faults, 0.0)
    with pytest.raises(ZeroDivisionError):
        things.acquire("a", lambda: 1 / 0)
    assert things.living() == ()


def test_a_thing_that_cannot_end_is_told_and_the_others_end(faults):
    class Stubborn(Thing):
        def stop(self, deadline):
            raise SystemExit(3)

    things = shared_of(faults, 0.0)
    things.acquire("a", Stubborn).release()
    other = things.acquire("b", Thing)
    other.release()
    assert other.thing.joined.wait(10)
    assert ("test-caretaker", "SystemExit") in faults


@pytest.mark.parametrize("raised", [SystemExit(1), KeyboardInterrupt(), ValueError("no"), GeneratorExit()])
def test_a_supervised_thread_goes_on_whatever_is_raised_in_it(raised):
    told, rounds, over = [], [], threading.Event()

    def loop():
        rounds.append(1)
        if len(rounds) < 3:
            raise raised
        over.set()

    thread = supervised("promptguard-test", loop, lambda operation, error: told.append((operation, error)))
    thread.start()
    assert over.wait(10)
    thread.join(5)
    assert told == [("test", raised)] * 2
    assert time.monotonic() > 0


def test_a_user_that_is_collected_when_modules_are_empty_says_nothing(faults, monkeypatch):
    told = []
    monkeypatch.setattr("sys.unraisablehook", told.append)
    use = shared_of(faults, 0.0).acquire("a", Thing)
    use._left = None  # what it would give notice to is gone
    monkeypatch.setattr("promptguard.lifetime.shared.contextlib", None)
    del use
    assert told == []
