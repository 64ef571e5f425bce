"""What requests ask of the model, by the convention's names, whatever the protocol calls it and wherever it keeps it."""

from __future__ import annotations

import json

import pytest

from promptguard import wire
from promptguard.core.model import Request
from promptguard.core.parameters import request_parameters

TURN = {"role": "user", "content": "hi"}


def asked(path, **body):
    request = Request("POST", "https://api.example", path, (), json.dumps(body).encode())
    facts = wire.recognise(request).read_request(request)
    assert facts is not None
    return request_parameters(facts)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (
            "/v1/chat/completions",
            {
                "model": "m",
                "messages": [TURN],
                "temperature": 0,
                "max_completion_tokens": 5,
                "stop": "x",
                "n": 1,
            },
            {"temperature": 0.0, "max_tokens": 5, "stop_sequences": ("x",)},
        ),
        (
            "/v1/responses",
            {
                "model": "m",
                "input": "hi",
                "max_output_tokens": 5,
                "conversation": {"id": "conv_1"},
                "top_p": 0.5,
            },
            {"max_tokens": 5, "conversation_id": "conv_1", "top_p": 0.5},
        ),
        (
            "/v1/messages",
            {"model": "m", "messages": [TURN], "max_tokens": 5, "top_k": 3, "stop_sequences": ["a", "b"]},
            {"max_tokens": 5, "top_k": 3.0, "stop_sequences": ("a", "b")},
        ),
        (
            "/v1beta/models/m:generateContent",
            {
                "contents": [{"parts": [{"text": "hi"}]}],
                "generationConfig": {"topP": 0.1, "maxOutputTokens": 5, "candidateCount": 2, "seed": 7},
            },
            {"top_p": 0.1, "max_tokens": 5, "choice_count": 2, "seed": 7},
        ),
        (
            "/api/chat",
            {"model": "m", "messages": [TURN], "options": {"num_predict": 5, "temperature": 0.5}},
            {"max_tokens": 5, "temperature": 0.5},
        ),
    ],
)
def test_each_protocols_words(path, body, expected):
    assert asked(path, **body) == expected


def test_values_of_other_types_are_left_out():
    body = {"model": "m", "messages": [TURN], "temperature": "hot", "seed": True, "stop": [1], "n": "two"}
    assert asked("/v1/chat/completions", **body) == {}
