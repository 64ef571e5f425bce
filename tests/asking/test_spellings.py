"""What of an answer's structure a ledger may hold in clear, when texts are not to be kept."""

from promptguard.background.spellings import COMMON, Spellings

SCHEMA = {
    "type": "json_schema",
    "json_schema": {"schema": {"properties": {"kind": {"enum": ["refund", 3]}, "of": [{"const": "x"}]}}},
}


def test_a_path_is_told_once_many_calls_had_it():
    spellings = Spellings()
    told = [spellings.of_request(None)("$.name", None) for _ in range(COMMON + 1)]
    assert told == [False] * (COMMON - 1) + [True, True]
    assert spellings.of_request(None)("$", None)


def test_values_are_told_where_the_request_lists_them():
    may_tell = Spellings().of_request(SCHEMA)
    assert all(may_tell("$.kind", value) for value in ("refund", "3", "x"))
    assert not may_tell("$.kind", "Ada")
    assert not any(Spellings().of_request(SCHEMA)("$.kind", "Ada") for _ in range(3 * COMMON))


def test_tools_and_fields_are_told_where_the_request_lists_them():
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "lookup", "parameters": parameters}}]
    may_tell = Spellings().of_request(SCHEMA, {"tools": tools})
    assert may_tell("tool", "lookup")
    assert not may_tell("tool", "call Anna Meier")
    assert may_tell("arguments.city", None)
    assert may_tell("$.kind", None)
    assert not may_tell("$.Anna Meier.diagnosis", None)


def test_memory_is_bounded_and_hostile_schemas_end():
    spellings = Spellings()
    for number in range(10_000):
        spellings.of_request(None)(f"$.{number}", None)
    assert len(spellings._seen) <= 4096
    deep: dict = {}
    for _ in range(500):
        deep = {"anyOf": [deep, {"enum": list(range(2_000))}]}
    assert not spellings.of_request(deep)("$.a", "b")
