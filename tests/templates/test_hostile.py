"""Strangers' templates and files: refused in time and room, nothing executed. Figures: `python -m benchmarks.hostile`."""

from __future__ import annotations

import pytest
from benchmarks import hostile
from benchmarks.hostile_grammar import templates

from promptguard.errors import RenderLimit
from promptguard.templates.sandbox import Sandbox


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strangers").resolve() / "prompts"
    return {what: hostile.open_file(folder, at) for what, at in hostile.strangers_files(folder)}


def test_strangers_files_and_names_are_one_line(refusals):
    assert len(refusals) >= 50
    assert {
        what: said for what, (said, _) in refusals.items() if not said or "\n" in said or len(said) > 1_000
    } == {}


def test_a_file_is_refused_in_fifty_milliseconds_of_work(refusals):
    # Four times as long as on an idle machine: caches are shared with whatever else runs.
    assert {
        what: taken for what, (_, taken) in refusals.items() if taken > 4 * hostile.MOST_FILE_SECONDS
    } == {}


def test_generated_templates_are_bounded_and_execute_nothing(capsys):
    hostile.warm_up()
    assert hostile.generated(250, seed=7), capsys.readouterr().out


@pytest.mark.slow
def test_ten_thousand_generated_templates_are_bounded_and_execute_nothing(capsys):
    hostile.warm_up()
    assert hostile.generated(10_000, seed=11), capsys.readouterr().out


@pytest.mark.slow
def test_known_payloads_are_refused_in_time_and_room(capsys):
    hostile.warm_up()
    assert hostile.payloads(), capsys.readouterr().out


def test_what_a_template_executes_would_be_seen(monkeypatch):
    """The watch itself can fail: a filter that opens a file is told."""
    hostile.warm_up()
    real = Sandbox.template

    def opens(self, *given):
        open("/dev/null").close()  # noqa: PTH123
        return real(self, *given)

    monkeypatch.setattr(Sandbox, "template", opens)
    assert "open ('/dev/null',)" in hostile.run("hi", {}).executed


def test_a_generator_with_one_seed_makes_the_same_templates():
    assert templates(50, 3) == templates(50, 3) != templates(50, 4)


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("{{ 'a b  c'.split() }}", "['a', 'b', 'c']"),
        ("{{ 'a,b,c'.split(',') }}", "['a', 'b', 'c']"),
        ("{{ 'a,b,c'.split(',', 1) }}", "['a', 'b,c']"),
        ("{{ 'a,b,c'.rsplit(',', maxsplit=1) }}", "['a,b', 'c']"),
        ("{{ 'a,b,c'.rsplit(sep=',') }}", "['a', 'b', 'c']"),
        ("{{ 'a\\nb'.splitlines() }}", "['a', 'b']"),
        ("{{ 'a\\nb'.splitlines(true)|length }}", "2"),
        ("{{ 'one two-three'|wordcount }}", "3"),
        ("{{ 'bca'|sort|join }}", "abc"),
        ("{{ 'abca'|unique|join }}", "abc"),
        ("{{ 'some words'|title }}", "Some Words"),
        ("{{ [3, 1]|max }}{{ 'ab'|min }}", "3a"),
        ("{{ ','.join('ab') }}", "a,b"),
        ("{{ ['a', '']|select|list }}{{ [1, 2]|reject('odd')|list }}", "['a'][2]"),
    ],
)
def test_bounded_filters_and_methods_are_as_they_were(source, made):
    assert Sandbox().template(source, "t").render({}) == made


def test_a_long_document_may_be_split_and_counted():
    text = "some words of a document\n" * 20_000
    for source in ("{{ x.split()|length }}", "{{ x|wordcount }}"):
        assert Sandbox().template(source, "t").render({"x": text}) == "100000"
    assert Sandbox().template("{{ x.splitlines()|length }}", "t").render({"x": text}) == "20000"
    with pytest.raises(RenderLimit, match="a list of more than"):
        Sandbox().template("{{ x.split()|length }}", "t").render({"x": "a " * 200_000})
