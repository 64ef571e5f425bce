"""A call's decisions, driven by hand: each effect is answered and the next one looked at."""

from __future__ import annotations

import json
from dataclasses import replace

from promptguard.core import effects as do
from promptguard.core.context import CallContext
from promptguard.core.events import CacheLooked, CallMade, NotPaired
from promptguard.core.flow import attempt
from promptguard.core.model import Request, StoredReply
from promptguard.core.options import Cache, Replay, Shadow
from promptguard.core.policy import Settings, State
from promptguard.core.streams import CALL, STORED
from promptguard.wire import openai_chat

GROUP = "prime@1"
OK = do.Head(200, ())
CACHED = Settings(cache=Cache(single_flight=False), secret=b"s")
SHADOWED = Settings(shadow=Shadow(model="other", sample=1.0, repeat=0.0))


def request(**more):
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "hi"}], **more}
    return Request(
        "POST", "http://x", "/v1/chat/completions", ((b"Authorization", b"k"),), json.dumps(body).encode()
    )


def body(finish="stop", end="eof"):
    choice = {"message": {"content": "a"}, "finish_reason": finish}
    return do.Body((json.dumps({"choices": [choice]}).encode(),), end)


def begin(settings, state=None, asked=None, witnessed=None, **more):
    """Start a flow; what it tells of who answered goes to the list `witnessed`, for few tests are about that."""
    slots = iter(range(10))
    ctx = CallContext(
        settings=settings, state=state or State(), identify=lambda _: (GROUP, None),
        take_places=lambda streams, *_: {**{stream: next(slots) for stream in streams}, CALL: 9},
        clock=lambda: 1.0, wall=lambda: 100.0, draws=(0.0, 0.5, 0.0), **more,
    )  # fmt: skip
    return _less_witness(
        attempt(asked or request(), openai_chat, ctx), [] if witnessed is None else witnessed
    )


def _less_witness(flow, witnessed):
    answer = None
    while True:
        try:
            effect = flow.send(answer)
        except StopIteration:
            return
        if isinstance(effect, do.RecordIdentity):
            witnessed.append(effect)
            answer = None
        else:
            answer = yield effect


def run(flow, *answers):
    """Send each answer in turn; return the effects, the last of them None when the flow has ended."""
    seen = [next(flow)]
    for answer in answers:
        try:
            seen.append(flow.send(answer))
        except StopIteration:
            seen.append(None)
    return seen


def kinds(seen):
    return [type(effect).__name__ for effect in seen]


def test_a_call_that_nothing_looks_at_is_only_sent():
    assert kinds(run(begin(Settings()), OK)) == ["Send", "NoneType"]


def test_hit():
    entry = StoredReply(200, (), (b"x",), 50.0, GROUP, "gpt-4", 0, 3, 4)
    seen = run(begin(CACHED), entry, None, None)
    assert kinds(seen) == ["Lookup", "Emit", "Serve", "NoneType"]
    assert seen[1].event == CacheLooked("hit", GROUP, "gpt-4", "", 3, 4, 0.0)
    assert seen[2].reply is entry


def test_miss_is_sent_delivered_and_saved_under_the_key_looked_up():
    seen = run(begin(CACHED), None, None, OK, body(), None)
    assert kinds(seen) == ["Lookup", "Emit", "Send", "Deliver", "Save", "NoneType"]
    assert seen[4].key == seen[0].key
    assert (seen[4].reply.stored_at, seen[4].reply.group, seen[4].reply.epoch) == (100.0, GROUP, 0)


def test_an_answer_from_before_the_alarm_is_not_served_and_is_replaced():
    state = State(epochs={(GROUP, "gpt-4"): 1})
    seen = run(begin(CACHED, state), StoredReply(200, (), (b"x",), 50.0, GROUP, "gpt-4", 0), None, OK, body())
    assert kinds(seen) == ["Lookup", "Emit", "Send", "Deliver", "Save"]
    assert seen[1].event.reason == "model changed"
    assert seen[4].reply.epoch == 1


def test_an_entry_older_than_its_ttl_or_from_the_future_is_a_miss():
    for stored_at in (39.0, 101.0):
        entry = StoredReply(200, (), (b"x",), stored_at)
        assert kinds(run(begin(Settings(cache=Cache(ttl=60, single_flight=False))), entry, None))[1:] == [
            "Emit",
            "Send",
        ]


def test_routed_calls_ask_the_pinned_model_and_are_kept_under_it():
    seen = run(begin(CACHED, State(routes={(GROUP, "gpt-4"): "pinned"})), None, None, OK, body())
    assert json.loads(seen[2].request.body)["model"] == "pinned"
    assert seen[4].reply.model == "pinned"
    assert seen[0].key == run(begin(CACHED, asked=request(model="pinned")))[0].key


def test_a_refused_route_falls_back_once_to_the_request_as_it_was_and_keeps_nothing():
    for status in (400, 404, 422):
        seen = run(
            begin(CACHED, State(routes={(GROUP, "gpt-4"): "gone"})),
            None,
            None,
            do.Head(status, ()),
            OK,
            body(),
        )
        assert kinds(seen) == ["Lookup", "Emit", "Send", "Send", "Deliver", "NoneType"]
        assert seen[3].request is None
    for status in (429, 500):
        seen = run(begin(CACHED, State(routes={(GROUP, "gpt-4"): "busy"})), None, None, do.Head(status, ()))
        assert kinds(seen) == ["Lookup", "Emit", "Send", "NoneType"]


def test_a_sampled_call_is_offered_whatever_its_answer():
    for finish, end in (
        ("stop", "eof"),
        ("length", "eof"),
        ("content_filter", "eof"),
        (None, "closed"),
        (None, "cut"),
    ):
        seen = run(begin(SHADOWED), OK, body(finish, end), None)
        assert kinds(seen) == ["Send", "Deliver", "Offer", "NoneType"]
        assert (seen[2].job.places, seen[2].job.body.end) == ({CALL: 9, "candidate": 0}, end)


def test_a_sampled_call_that_fails_gives_its_place_up():
    for answer, reason in ((do.Lost("ConnectError"), "ConnectError"), (do.Head(500, ()), "status_500")):
        seen = run(begin(SHADOWED), answer, None)
        assert kinds(seen) == ["Send", "Abandon", "Abandon"]
        assert seen[1] == do.Abandon("candidate", 0, GROUP, reason)


def test_a_fault_amid_giving_places_up_leaves_none_behind():
    left = []
    flow = begin(
        replace(SHADOWED, replay=Replay(share=1.0)), give_up=lambda stream, slot, group: left.append(stream)
    )
    seen = next(flow)
    assert isinstance(seen, do.Send)
    assert isinstance(flow.send(do.Lost("CancelledError")), do.Abandon)
    flow.close()
    assert left == ["candidate", STORED, CALL]


def test_telemetry_is_told_of_every_call_to_a_provider():
    for answer, error in ((do.Lost("ConnectError"), "ConnectError"), (do.Head(500, ()), "500")):
        seen = run(begin(Settings(), observed=True), "its trace", answer, None)
        assert kinds(seen) == ["Observe", "Send", "Emit", "NoneType"]
        assert (seen[2].event.trace, seen[2].event.error) == ("its trace", error)
    routed = State(routes={(GROUP, "gpt-4"): "gone"})
    seen = run(begin(Settings(), routed, observed=True), 1, do.Head(404, ()), None, 2, OK, body(), None)
    assert kinds(seen) == ["Observe", "Send", "Emit", "Observe", "Send", "Deliver", "Emit", "NoneType"]
    assert [seen[number].began.model for number in (0, 3)] == ["gone", "gpt-4"]
    assert [(seen[number].event.trace, seen[number].event.error) for number in (2, 6)] == [
        (1, "404"),
        (2, None),
    ]


def test_an_offered_call_can_be_linked_to():
    class Trace:
        link = "its span"

    seen = run(begin(SHADOWED, observed=True), Trace(), OK, body(), None, None)
    assert kinds(seen) == ["Observe", "Send", "Deliver", "Emit", "Offer", "NoneType"]
    assert seen[4].job.link == "its span"


ALL = Settings(cache=Cache(single_flight=False), shadow=SHADOWED.shadow, replay=Replay(share=1.0))


def test_a_call_with_state_is_neither_cached_nor_repeated_and_each_has_its_reason():
    for more, name in (
        ({"tools": [{"type": "mcp"}]}, "tools.type=mcp"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"invented": {}}, "invented"),
    ):
        seen = run(begin(ALL, asked=request(**more)), None, None, OK, body())
        assert kinds(seen) == ["Emit", "Emit", "Send", "Deliver", "NoneType"]
        assert seen[0].event.result == "bypass"
        assert f"`{name}`" in seen[0].event.reason
        assert seen[1].event == NotPaired(seen[0].event.reason, GROUP)


def test_what_is_only_kept_at_the_provider_is_asked_again_without_that():
    seen = run(begin(ALL, asked=request(store=True)), None, OK, body())
    assert kinds(seen) == ["Emit", "Send", "Deliver", "Offer"]
    assert seen[0].event.reason == "field `store`: the answer is kept at the provider"
    assert "store" not in openai_chat.background_body(seen[3].job.facts, "other")


def test_what_cannot_be_read_is_sent_and_counted():
    asked = Request("POST", "http://x", "/v1/chat/completions", (), b"{}")
    seen = run(begin(ALL, asked=asked), None, OK)
    assert kinds(seen) == ["Emit", "Send", "NoneType"]
    assert "openai_chat" in seen[0].event.reason


def test_the_user_says_what_a_field_does():
    for fields, more, kinds_then in (
        ({"invented": "none"}, {"invented": 1}, ["Lookup"]),
        ({"?v": "none", "invented": "none"}, {"invented": 1}, ["Lookup"]),
        ({"tools.type=mcp": "none"}, {"tools": [{"type": "mcp"}]}, ["Lookup"]),
        ({"store": "none"}, {"store": True}, ["Lookup"]),
        ({"seed": "stateful"}, {"seed": 1}, ["Emit"]),
        ({"invented": "stateful"}, {"invented": 1}, ["Emit"]),
        ({"seed": "stateful"}, {}, ["Lookup"]),
        ({"invented": "none"}, {"invented": 1, "other": 2}, ["Emit"]),
    ):
        settings = replace(ALL, fields=fields)
        assert kinds(run(begin(settings, asked=request(**more)))) == kinds_then, (fields, more)


def test_calls_that_ask_for_variety_are_not_cached():
    for more in ({"temperature": 0.1}, {"n": 2}):
        assert kinds(run(begin(CACHED, asked=request(**more)), None, OK, body())) == [
            "Emit",
            "Send",
            "Deliver",
            "NoneType",
        ]
    assert kinds(run(begin(CACHED, bypass=True), None))[0] == "Emit"


def test_answers_that_are_cut_or_not_ordinary_are_not_kept():
    ends = [body("length"), body("content_filter"), body(None), body("stop", "cut"), do.Body((b"{",), "eof")]
    for end in (*ends, do.Body(body().chunks, "eof", clipped=True), do.Body((), "closed")):
        seen = run(begin(CACHED), None, None, OK, end, None)
        assert kinds(seen)[4:] == ["Emit", "NoneType"]
        assert seen[4].event.reason.startswith("not saved: ")


def test_reasons_are_words_of_ours_whatever_the_provider_says():
    seen = run(begin(CACHED), None, None, OK, body("my secret is 42"))
    assert seen[4].event.reason == "not saved: finish_reason unknown"


def test_an_alarm_that_raises_refuses_the_call_before_anything_is_sent():
    assert run(begin(Settings(), State(raising={GROUP: "changed"}))) == [do.Refuse("changed")]


def test_an_early_close_is_told_to_telemetry_with_what_was_read():
    seen = run(begin(Settings(), observed=True), None, OK, do.Body((), "closed"), None)
    assert kinds(seen) == ["Observe", "Send", "Deliver", "Emit", "NoneType"]
    assert isinstance(seen[3].event, CallMade)
