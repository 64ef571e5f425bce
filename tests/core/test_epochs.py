"""Routing one prompt away begins a new epoch for that prompt, and for no other."""

from promptguard.background.acting import Acting
from promptguard.background.delivery import Delivery
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
