"""Log-probabilities are one more thing that answers say: read where the API gives them, bet on, and told."""

import json
import random

import pytest

from promptguard import wire
from promptguard.drift import Answer, PairMonitor, vectorise

TOKENS = [{"token": "a", "logprob": -0.25, "top_logprobs": []}, {"token": "b", "logprob": -1.5}]


def chat_reply():
    message = {"role": "assistant", "content": "ab"}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": TOKENS}}
    return json.dumps({"id": "x", "model": "m", "choices": [choice], "usage": {}}).encode()


def chat_stream():
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": token["token"]}, "logprobs": {"content": [token]}}]}
        for token in TOKENS
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks) + b"data: [DONE]\n\n"


def responses_reply():
    part = {"type": "output_text", "text": "ab", "logprobs": TOKENS}
    output = [{"type": "message", "content": [part]}]
    return json.dumps({"id": "x", "status": "completed", "output": output}).encode()


def gemini_reply():
    chosen = [{"token": each["token"], "logProbability": each["logprob"]} for each in TOKENS]
    candidate = {
        "content": {"parts": [{"text": "ab"}]},
        "finishReason": "STOP",
        "logprobsResult": {"chosenCandidates": chosen},
    }
    return json.dumps({"candidates": [candidate]}).encode()


@pytest.mark.parametrize(
    ("protocol", "body", "streamed"),
    [
        ("openai_chat", chat_reply(), False),
        ("openai_chat", chat_stream(), True),
        ("openai_responses", responses_reply(), False),
        ("gemini", gemini_reply(), False),
    ],
)
def test_log_probabilities_are_read_from_answers_that_carry_them(protocol, body, streamed):
    kind = b"text/event-stream" if streamed else b"application/json"
    reading = wire.named(protocol).read_reply(200, ((b"content-type", kind),), body, streamed=streamed)
    assert (reading.error, reading.text, reading.logprobs) == (None, "ab", (-0.25, -1.5))


def test_what_is_no_log_probability_is_left_out():
    from promptguard.wire.shared import logprobs

    assert logprobs(
        [{"logprob": 1.0}, {"logprob": "x"}, {}, 3, {"logprob": -2}, {"logprob": float("nan")}]
    ) == (-2.0,)
    assert logprobs(None) == ()
    assert len(logprobs([{"logprob": -1.0}] * 10_000)) == 4_096


def certain(rng, shift):
    """The same words, held for a little less likely."""
    return [min(0.0, rng.gauss(-0.6 - shift, 0.3)) for _ in range(12)]


def watched(shift, count=120):
    rng, monitor = random.Random(7), PairMonitor()
    for number in range(count):
        said = f"answer {number} in the same words on both sides, longer than a label would be"
        monitor.update(Answer(said, logprobs=certain(rng, 0.0)), Answer(said, logprobs=certain(rng, shift)))
    return monitor.explain()


def test_a_fine_tune_that_changes_no_word_is_seen_in_log_probabilities():
    verdict = watched(0.2)
    assert verdict.status == "drift"
    assert verdict.changes[0].kind == "certainty"
    assert "certainty lower in " in verdict.sentence()
    assert watched(0.0).status == "no_drift"


def test_they_are_compared_where_both_sides_have_them():
    with_them = vectorise(Answer("a" * 50, logprobs=[-1.0]), Answer("b" * 50, logprobs=[-2.0]))
    without = vectorise(Answer("a" * 50, logprobs=[-1.0]), Answer("b" * 50))
    assert len(with_them.facts) == 2
    assert len(without.facts) == 0
    for wrong in ([0.5], ["x"], [True], 3):
        with pytest.raises(ValueError, match="logprobs"):
            Answer("a", logprobs=wrong)
