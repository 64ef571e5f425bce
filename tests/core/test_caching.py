"""The cache's part of a call, driven by hand: joining, variants, changed models, asking afresh."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from promptguard.core import effects as do
from promptguard.core.model import Identity, StoredReply
from promptguard.core.options import Cache, Replay, Shadow
from promptguard.core.policy import Settings, State
from promptguard.core.recent import CONFIRMED, RecentModels, VariantSelector
from promptguard.core.streams import CALL
from tests.core.test_flow import GROUP, OK, begin, body, kinds, request, run

ENTRY = StoredReply(200, (), (b"x",), 50.0, GROUP, "gpt-4", 0, served="gpt-4-0314")


def cached(**options):
    return Settings(cache=Cache(**options), secret=b"s")


def begin_with(entry_settings, asked=None, **ctx):
    return begin(entry_settings, asked=asked or request(), **ctx)


def lead(effect):
    return do.Joined(key=effect.keys[0], leader="leader")


def test_a_leader_looks_once_more_saves_and_lands():
    flow = begin(cached())
    seen = run(flow, None)
    assert kinds(seen) == ["Lookup", "Join"]
    assert seen[1].keys == (seen[0].key,)
    rest = [flow.send(lead(seen[1])), flow.send(None), flow.send(None), flow.send(OK), flow.send(body())]
    assert kinds(rest) == ["Lookup", "Emit", "Send", "Deliver", "Save"]
    completed = flow.send(None)
    assert (completed.leader, completed.outcome, completed.reply) == ("leader", "saved", rest[4].reply)


def test_what_another_leader_saved_meanwhile_is_served_and_passed_on():
    seen = run(begin(cached()), None, do.Joined(key="k", leader="leader"), ENTRY, None, None)
    assert kinds(seen) == ["Lookup", "Join", "Lookup", "Complete", "Emit", "Serve"]
    assert (seen[3].outcome, seen[4].event.result, seen[5].reply) == ("saved", "hit", ENTRY)


def test_a_follower_is_served_and_counted_as_such():
    seen = run(begin(cached()), None, do.Joined(reply=ENTRY), None, None)
    assert kinds(seen) == ["Lookup", "Join", "Emit", "Serve", "NoneType"]
    assert (seen[2].event.result, seen[2].event.reason) == ("hit", "joined")


def test_who_goes_alone_saves_and_lands_nothing():
    seen = run(begin(cached()), None, do.ALONE, None, OK, body(), None)
    assert kinds(seen) == ["Lookup", "Join", "Emit", "Send", "Deliver", "Save", "NoneType"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (do.Lost("ConnectError"), "failed"),
        (do.Lost("CancelledError"), "gone"),
        (do.Lost("SystemExit"), "gone"),
        (do.Head(429, ()), "failed"),
        (body("length"), "unsaved"),
        (body("content_filter"), "unsaved"),
        (body(None), "unsaved"),
        (do.Body((b"{",), "cut"), "failed"),
        (do.Body((b"{",), "closed"), "gone"),
    ],
)
def test_a_leader_without_an_answer_to_share_tells_why(answer, outcome):
    flow = begin(cached())
    join = run(flow, None)[1]
    seen = [flow.send(lead(join)), flow.send(None), flow.send(None)]
    assert kinds(seen) == ["Lookup", "Emit", "Send"]
    if isinstance(answer, do.Body):
        flow.send(OK)
    found = flow.send(answer)
    while not isinstance(found, do.Complete):
        assert not isinstance(found, do.Save)
        found = flow.send(None)
    assert (found.reply, found.outcome) == (None, outcome)


def test_a_plain_answer_must_have_been_read_to_its_end():
    for end, streamed, kept in (("eof", False, True), ("closed", False, False)):
        seen = run(
            begin(cached(single_flight=False), asked=request(stream=streamed)), None, None, OK, body(end=end)
        )
        assert isinstance(seen[4], do.Save) == kept


def test_streams_and_calls_that_are_not_cached_never_wait():
    assert kinds(run(begin(cached(), asked=request(stream=True)), None, None)) == ["Lookup", "Emit", "Send"]
    assert kinds(run(begin(Settings()), OK)) == ["Send", "NoneType"]
    for asked in (request(temperature=1), request(store=True)):
        assert kinds(run(begin(cached(), asked=asked), None)) == ["Emit", "Send"]
    assert kinds(run(begin(cached(), bypass=True), None)) == ["Emit", "Send"]
    assert kinds(run(begin(cached(single_flight=False)), None, None)) == ["Lookup", "Emit", "Send"]


def test_nobody_waits_longer_than_its_own_read_timeout():
    def wait(limit):
        asked = replace(request(), timeout={"read": limit})
        return run(begin(cached(), asked=asked), None)[1].seconds

    assert [wait(limit) for limit in (7.0, None, 9_999.0)] == [7.0, 600.0, 600.0]


def test_variants_are_collected_before_any_is_served_again():
    settings = cached(sampled=True, variants=3, single_flight=False)
    hot = request(temperature=1)
    seen = run(begin(settings, asked=hot), ENTRY, None, None, None, OK, body())
    assert kinds(seen) == ["Lookup", "Lookup", "Lookup", "Emit", "Send", "Deliver", "Save"]
    assert [each.key.partition("#")[2] for each in seen[:3]] == ["", "1", "2"]
    assert seen[6].key == seen[1].key  # the first place that was free
    second = replace(ENTRY, chunks=(b"second",))
    seen = run(begin(settings, asked=hot), ENTRY, second, ENTRY, 1, None)
    assert kinds(seen) == ["Lookup", "Lookup", "Lookup", "Choose", "Emit", "Serve"]
    assert (seen[3].count, seen[5].reply) == (3, second)
    joined = run(begin(cached(sampled=True, variants=3), asked=hot), ENTRY, None, None)[3]
    assert joined.keys == (seen[1].key, seen[2].key)


def test_a_call_that_does_not_ask_for_variety_has_one_answer():
    settings = cached(sampled=True, variants=3, single_flight=False)
    for asked in (request(), request(temperature=0)):
        assert kinds(run(begin(settings, asked=asked), ENTRY, None)) == ["Lookup", "Emit", "Serve"]
    assert kinds(run(begin(settings, asked=request(n=2)), ENTRY))[1] == "Lookup"


def test_an_answer_from_before_an_alarm_is_not_taken_over_from_its_leader():
    changed = State(epochs={(GROUP, "gpt-4"): 1})
    seen = run(begin(cached(), changed), None, do.Joined(reply=ENTRY), None)
    assert kinds(seen) == ["Lookup", "Join", "Emit", "Send"]


def test_variants_are_served_in_turn_or_by_a_seeded_draw():
    turns = VariantSelector()
    assert [turns.next("a", 3) for _ in range(5)] == [0, 1, 2, 0, 1]
    assert turns.next("b", 3) == 0
    draws = iter([0.0, 0.99, 0.34])
    assert [VariantSelector(lambda: next(draws)).next("a", 3) for _ in range(3)] == [0, 2, 1]


@pytest.mark.parametrize("policy", ["bypass", "keep", "reask"])
def test_entries_of_a_model_that_changed_are_treated_as_asked(policy):
    changed = State(epochs={(GROUP, "gpt-4"): 1})
    settings = replace(
        cached(on_drift=policy, single_flight=False), replay=Replay(share=0.0) if policy == "reask" else None
    )
    seen = run(begin(settings, changed), ENTRY, None)
    if policy == "keep":
        assert kinds(seen) == ["Lookup", "Emit", "Serve"]
        return
    assert kinds(seen) == ["Lookup", "Emit", "Send"]
    assert (seen[1].event.result, seen[1].event.reason) == ("bypass", "model changed")
    seen = run(begin(settings, changed), ENTRY, None, OK, body(), None, None)
    assert kinds(seen)[3:6] == (
        ["Deliver", "Save", "Offer"] if policy == "reask" else ["Deliver", "Save", "NoneType"]
    )
    assert seen[4].reply.paired == (policy == "reask")


def test_a_name_that_moved_is_a_model_that_changed():
    seen = run(begin(cached(), moved=lambda origin, asked, served: served == "gpt-4-0314"), ENTRY, do.ALONE)
    assert seen[2].event.reason == "model changed"
    seen = run(begin(cached(), moved=lambda *_: False), ENTRY, None)
    assert kinds(seen) == ["Lookup", "Emit", "Serve"]


def test_a_name_as_long_as_an_answer_is_not_held():
    identities, long = RecentModels(), "x" * 1_000_000
    for _ in range(CONFIRMED):
        identities.saw("o", "m", long)
    assert sum(map(len, identities._last["o", "m"])) < 10_000
    assert not identities.moved("o", "m", long)
    assert identities.moved("o", "m", "y" * 1_000_000)


def test_a_name_has_moved_when_ten_fresh_answers_in_a_row_say_so():
    identities = RecentModels()
    identities.saw("o", "gpt-4", "new0")
    assert not identities.moved("o", "gpt-4", "from before this process")
    identities.saw("o", "gpt-4", "old")
    for number in range(CONFIRMED):
        assert not identities.moved("o", "gpt-4", "old")
        identities.saw("o", "gpt-4", f"new{number % 2}")
    assert identities.moved("o", "gpt-4", "old")
    assert not identities.moved("o", "gpt-4", "new1")
    assert not identities.moved("elsewhere", "gpt-4", "old")


REASK = replace(cached(reask=0.5, single_flight=False), replay=Replay(share=0.0))


def test_a_share_of_hits_is_asked_afresh_and_paired():
    assert kinds(run(begin(REASK, reask_draw=0.6), ENTRY, None)) == ["Lookup", "Emit", "Serve"]
    seen = run(begin(REASK, reask_draw=0.4), ENTRY, None, OK, body(), None, None)
    assert kinds(seen) == ["Lookup", "Emit", "Send", "Deliver", "Save", "Offer", "NoneType"]
    assert (seen[1].event.reason, seen[5].job.prior) == ("asked afresh", ENTRY)
    assert seen[5].job.places == {CALL: 9, "replay": 0}
    assert seen[4].reply.paired


def test_an_answer_enters_the_replay_stream_once():
    paired = replace(ENTRY, paired=True)
    seen = run(begin(REASK, reask_draw=0.4), paired, None, OK, body(), None)
    assert kinds(seen) == ["Lookup", "Emit", "Send", "Deliver", "Save", "NoneType"]
    assert not seen[4].reply.paired  # this one has been in no pair
    banked = replace(REASK, replay=Replay(share=1.0))
    seen = run(begin(banked, reask_draw=0.9), None, None, OK, body(), None, None)
    assert [each.reply.paired for each in seen if isinstance(each, do.Save)] == [True]
    # Drawn for both: the fresh answer is the candidate of one pair, and not kept to be the control of another.
    seen = run(begin(banked, reask_draw=0.4), ENTRY, None, OK, body(), None, None)
    assert [list(each.job.places) for each in seen if isinstance(each, do.Offer)] == [["replay", CALL]]
    clusters = []
    settings = replace(REASK)
    ctx = {"reask_draw": 0.4}
    for stored_at in (50.0, 50.0, 51.0):
        flow = begin(settings, **ctx)
        seen = run(flow, replace(ENTRY, stored_at=stored_at), None, OK, body(), None)
        clusters.append(seen[5].job.clusters)
    assert clusters[0] == clusters[1] != clusters[2]


def test_a_fresh_answer_that_is_not_ordinary_is_no_candidate():
    for bad in (body("length"), body("content_filter")):
        seen = run(begin(REASK, reask_draw=0.4), ENTRY, None, OK, bad, None, None)
        assert kinds(seen) == ["Lookup", "Emit", "Send", "Deliver", "Emit", "Abandon", "Offer"]
        assert seen[6].job.places == {CALL: 9}  # to note who answered
        assert (seen[5].stream, seen[5].outcome) == ("replay", "not_paired")
    left = []
    flow = begin(REASK, reask_draw=0.4, give_up=lambda stream, *_: left.append(stream))
    assert kinds(run(flow, ENTRY, None, OK, body("length"), None))[-1] == "Abandon"
    flow.close()
    assert left == ["replay", CALL], "a fault amid that leaves no place behind"
    seen = run(begin(REASK, reask_draw=0.4), ENTRY, None, do.Head(500, ()), None)
    assert (seen[3].stream, seen[3].outcome, seen[3].reason) == ("replay", "candidate_error", "status_500")


def test_a_cached_answer_never_reaches_the_detector_as_a_fresh_one():
    settings = replace(cached(), replay=Replay(share=1.0))
    for answers in ((ENTRY, None), (None, do.Joined(reply=ENTRY), None)):
        flow = begin(settings)
        seen = run(flow, *answers)
        assert isinstance(seen[-1], do.Serve)
        assert run_to_end(flow) == []


def run_to_end(flow):
    seen = []
    try:
        while True:
            seen.append(flow.send(None))
    except StopIteration:
        return seen


def test_entries_carry_tags_and_who_served_them():
    settings = cached(tags=("a", "b"), single_flight=False)
    named = do.Body((body().chunks[0].replace(b'{"choices"', b'{"model": "gpt-4-0613", "choices"'),), "eof")
    flow = begin(settings, tags=("b", "c"), witnessed=(witnessed := []))
    seen = run(flow, None, None, OK, named, None)
    assert kinds(seen) == ["Lookup", "Emit", "Send", "Deliver", "Save", "NoneType"]
    assert [(told.asked, told.identity.model) for told in witnessed] == [("gpt-4", "gpt-4-0613")]
    assert (seen[4].reply.tags, seen[4].reply.served) == (("a", "b", "c"), "gpt-4-0613")


def test_who_answered_is_told_wherever_the_answer_is_read_anyway():
    """Who says nothing is told as well; a sampled call is left to its pair, so that no answer counts twice."""
    for settings, observed, expected in (
        (cached(single_flight=False), False, [True]),
        (Settings(secret=b"s"), True, [True]),
        (Settings(secret=b"s", shadow=Shadow(model="other", sample=1.0)), True, [False]),
        (Settings(secret=b"s", shadow=Shadow(model="other", sample=1.0)), False, []),
    ):
        flow, seen = begin(settings, observed=observed, witnessed=(witnessed := [])), []
        answer = None
        while True:
            try:
                effect = flow.send(answer)
            except StopIteration:
                break
            seen.append(effect)
            answer = {do.Send: OK, do.Deliver: body()}.get(type(effect))
        assert [told.to_ledger for told in witnessed] == expected
        assert all((told.asked, told.identity, told.at) == ("gpt-4", Identity(), 100.0) for told in witnessed)


def test_an_answer_that_broke_off_tells_nothing_of_who_gave_it():
    flow = begin(cached(single_flight=False), witnessed=(witnessed := []))
    run(flow, None, None, OK, do.Body((b'{"model": "gpt-4", "cho',), "cut"), None)
    assert witnessed == []


def test_a_renewed_token_without_a_tenant_is_passed_by():
    headers = ((b"Authorization", b"Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"),)
    asked = replace(request(), headers=headers)
    seen = run(begin(cached(), asked=asked), None)
    assert (
        seen[0].event.result,
        seen[0].event.reason,
    ) == ("bypass", "renewed token: Cache(tenant=...) is needed")
    assert kinds(run(begin(cached(tenant="t"), asked=asked))) == ["Lookup"]


def test_a_number_beyond_json_is_passed_by():
    asked = replace(request(), body=request().body[:-1] + b', "top_p": 1e999}')
    assert run(begin(cached(), asked=asked))[0].event.reason == "number beyond JSON"


def two(second, refusal=None):
    choices = [
        {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
        {"index": 1, "message": {"content": "b", "refusal": refusal}, "finish_reason": second},
    ]
    return do.Body((json.dumps({"choices": choices}).encode(),), "eof")


def two_streamed(second, refusal=None):
    def chunk(index, delta, finish):
        return (
            b"data: %s\n\n"
            % json.dumps({"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}).encode()
        )

    told = [chunk(0, {"content": "a"}, "stop"), chunk(1, {"content": "b", "refusal": refusal}, second)]
    return do.Body((*told, b"data: [DONE]\n\n"), "eof")


@pytest.mark.parametrize("streamed", [False, True])
def test_of_several_choices_each_must_be_ordinary(streamed):
    settings, make = cached(sampled=True, single_flight=False), two_streamed if streamed else two
    asked = request(n=2, stream=streamed)
    for answer, kept in (
        (make("stop"), True), (make("length"), False), (make("content_filter"), False), (make("stop", "no"), False),
        (make(None), False),
    ):  # fmt: skip
        seen = run(begin(settings, asked=asked), None, None, OK, answer)
        assert isinstance(seen[4], do.Save) == kept
