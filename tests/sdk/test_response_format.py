"""The request's own `response_format` reaches the detector: both answers are held against its schema."""

from __future__ import annotations

import pytest
from openai import OpenAI

import promptguard
from promptguard.testing import FakeProvider

pytestmark = pytest.mark.sdk
ASKED = {
    "type": "json_schema",
    "json_schema": {
        "name": "size",
        "schema": {"type": "object", "properties": {"size": {"type": "integer"}}, "required": ["size"]},
    },
}


def test_both_answers_of_a_pair_are_held_against_the_requests_schema(guarded):
    from promptguard.background.engine import open_backgrounds
    from promptguard.drift import PairVector
    from promptguard.drift.features.catalogue import INDEX

    answers = {"m": lambda _: '{"size": 3}', "other": lambda _: '{"size": "three"}'}
    with FakeProvider(answers) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        shadow = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
        promptguard.wrap(client, ledger=guarded, shadow=shadow)
        client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "how big?"}], response_format=ASKED
        )
        assert promptguard.flush(60.0)
        rows = [row for row in open_backgrounds()[0].ledger.pairs_after(0) if row.stream == "candidate"]
        vector = PairVector.from_bytes(rows[0].vector)
        client.close()
    for name, sides in (("json_valid", (65535, 65535)), ("json_as_asked", (65535, 0))):
        assert (vector.control[INDEX[name]], vector.candidate[INDEX[name]]) == sides
