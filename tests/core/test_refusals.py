"""What is kept of a server's refusal: names of parameters and codes in words, and nothing else that it says."""

from __future__ import annotations

import json

import pytest

from promptguard.core.background_call import refused_by


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (
            {"param": "max_tokens", "code": "unsupported_parameter"},
            "status_400: max_tokens unsupported_parameter",
        ),
        (
            {"param": "messages[0].role", "code": "unsupported_value"},
            "status_400: messages[0].role unsupported_value",
        ),
        ({"param": None, "code": "invalid_request_error"}, "status_400: invalid_request_error"),
        ({"param": "sk-abc123SECRET", "code": "anna.meier"}, "status_400"),
        ({"param": "Anna Meier", "code": "c0ffee"}, "status_400"),
        ({"param": {"x": 1}, "code": 5}, "status_400"),
    ],
)
def test_only_names_are_kept(error: dict[str, object], kept: str) -> None:
    assert refused_by(400, json.dumps({"error": error}).encode()) == kept


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b'{"error": "x"}', b"[" * 100_000])
def test_what_is_no_error_of_that_form_is_a_status(body: bytes) -> None:
    assert refused_by(400, body) == "status_400"


def test_another_status_has_no_parameter() -> None:
    assert refused_by(503, b'{"error": {"param": "x", "code": "y"}}') == "status_503"


ASKED = {"model": "m", "messages": [], "temperature": 0.2, "thinking": {}, "generationConfig": {}}


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (
            {"type": "invalid_request_error", "message": "temperature: not supported by this model"},
            "status_400: temperature invalid_request_error",
        ),
        (
            {
                "code": 400,
                "status": "INVALID_ARGUMENT",
                "message": "Unknown name 'thinking' for messages of Anna",
            },
            "status_400: thinking INVALID_ARGUMENT",
        ),
        (
            {"type": "invalid_request_error", "message": "Anna Meier asked the model too much"},
            "status_400: invalid_request_error",
        ),
        ({"message": "x" * 600 + " temperature"}, "status_400"),
    ],
)
def test_of_a_message_only_names_of_the_questions_own_fields_are_kept(
    error: dict[str, object], kept: str
) -> None:
    assert refused_by(400, json.dumps({"error": error}).encode(), ASKED) == kept
