"""Routing one prompt away begins a new epoch for that prompt, and for no other."""

from promptguard.background.acting import Acting
from promptguard.background.delivery import Delivery
from promptguard.core.epochs import Epochs
from promptguard.core.options import Route
from promptguard.core.policy import State
from promptguard.ledger.store import Ledger


def test_a_route_moves_on_the_epoch_of_its_own_group_only(tmp_path):
    ledger = Ledger(tmp_path)
    acting = Acting(
        ledger, State(), (Route(to="pinned"),), lambda: 0.0, Delivery(ledger, "here", lambda *_: None)
    )
    acting.alarm(
        stream="replay",
        group="a@1",
        asked="m",
        call=3,
        summary={"epoch": 1, "pairs": 12, "log10_evidence": 2.0},
    )
    assert acting.epoch("candidate", "a@1") == 2
    assert acting.epoch("candidate", "b@1") == 1
    assert acting.epoch("replay", "a@1") == 1


def noted(kind, group, stream="replay", **detail):
    return {"kind": kind, "stream": stream, "group": group, "detail": detail}


def test_what_all_prompts_showed_is_acknowledged_for_all_which_begin_one_epoch_that_is_new():
    epochs = Epochs()
    epochs.apply(noted("acknowledge", "a@1"))
    epochs.apply(noted("alarm", "", epoch=1))
    assert epochs.together == {("replay", 1)}
    assert (epochs.of("replay", "a@1"), epochs.of("replay", "b@1")) == (2, 1)
    assert not epochs.is_closed("replay", "b@1", 1)
    epochs.apply(noted("acknowledge", ""))
    assert [epochs.of("replay", group) for group in ("a@1", "b@1", "new@1", "")] == [3, 3, 3, 3]
    assert epochs.of("candidate", "a@1") == 1
    for group in ("a@1", "b@1", ""):
        assert [epochs.is_closed("replay", group, epoch) for epoch in (1, 2, 3)] == [True, True, False]
    epochs.apply(noted("acknowledge", "b@1"))
    assert (epochs.of("replay", "a@1"), epochs.of("replay", "b@1")) == (3, 4)
    assert epochs.is_closed("replay", "b@1", 3)
    assert not epochs.is_closed("replay", "a@1", 3)


def test_a_route_of_all_prompts_moves_every_epoch_on_until_it_is_acknowledged():
    epochs = Epochs()
    epochs.apply(noted("route", "", stream="candidate"))
    assert epochs.of("candidate", "a@1") == 2
    assert ("", 2) in epochs.routed
    epochs.apply(noted("acknowledge", "", stream="replay"))
    assert epochs.of("candidate", "a@1") == 3
    assert epochs.of("replay", "a@1") == 2


def test_a_self_test_is_acknowledged_for_all_and_numbered_as_ever():
    epochs = Epochs()
    epochs.apply(noted("alarm", "", stream="repeat", epoch=1))
    assert not epochs.together
    epochs.apply(noted("acknowledge", "", stream="repeat"))
    assert (epochs.of("repeat", "a@1"), epochs.of("repeat", "")) == (2, 2)
    assert epochs.is_closed("repeat", "a@1", 1)
    assert not epochs.is_closed("repeat", "a@1", 2)


def test_a_route_that_stands_goes_on_where_other_epochs_begin():
    one = Epochs()
    for kind, group, stream in (("route", "a@1", "replay"), ("acknowledge", "", "candidate")):
        one.apply(noted(kind, group, stream=stream))
    assert one.is_routed("a@1", one.of("candidate", "a@1")), "its route is of another alarm"
    assert not one.is_routed("b@1", one.of("candidate", "b@1"))
    of_all = Epochs()
    for kind, group in (("route", ""), ("route", "a@1"), ("acknowledge", "a@1")):
        of_all.apply(noted(kind, group))
    assert of_all.is_routed("a@1", of_all.of("candidate", "a@1")), "the route of all prompts stands"
    of_all.apply(noted("acknowledge", ""))
    assert not of_all.is_routed("a@1", of_all.of("candidate", "a@1"))
