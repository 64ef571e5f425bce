"""YAML front matter, read as data and nothing else.

Anchors, aliases, tags, merge keys, duplicate keys and deep nesting are refused (alias bombs, CVE-2026-35487,
vcrpy GHSA-rpj2-4hq8-938g). Scalars follow YAML 1.2: `yes` and `no` are text and not booleans, `010` and
`1:30` are text and not numbers, dates are text; a label called `no` must not become `False`.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Hashable
from typing import TYPE_CHECKING

import yaml

from promptguard.errors import PromptSyntaxError

MAX_CHARACTERS = 64_000
MAX_DEPTH = 12
MAX_EVENTS = 20_000

if TYPE_CHECKING:
    from yaml import SafeLoader as _Base
else:  # in C where PyYAML was built with it
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """A safe loader with the scalars of YAML 1.2 and without duplicate keys."""

    yaml_implicit_resolvers: dict[str, object] = {}  # noqa: RUF012 - PyYAML's own attribute, replaced as a whole

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise _Refused("a key must be a plain name; put quotes around it", line)
            if key.value in seen:
                raise _Refused(f"{key.value} is given twice", line)
            if key.value == "<<":
                raise _Refused("merge keys are not available", line)
            seen.add(key.value)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_yaml_map(self, node: yaml.MappingNode) -> Generator[dict[Hashable, object]]:
        yield self.construct_mapping(node, deep=True)


class _Refused(ValueError):  # noqa: N818 - never leaves this module
    """A construct that front matter may not use; `line` counts from 0."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_yaml_map)
for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"[-+]?(0|[1-9][0-9]{0,17})", list("-+0123456789")),
    ("float", r"[-+]?[0-9]{1,18}\.[0-9]{1,18}([eE][-+]?[0-9]{1,2})?", list("-+0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def load(text: str, filename: str, first_line: int) -> dict[str, object]:
    """Return the mapping that `text` holds; raises PromptSyntaxError naming file and line."""
    try:
        _refuse_early(text)
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a restricted SafeLoader
    except _Refused as error:
        raise PromptSyntaxError(f"{filename}:{first_line + error.line}: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else 0
        raise PromptSyntaxError(f"{filename}:{first_line + line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise PromptSyntaxError(
            f"{filename}:{first_line}: the front matter cannot be read: {reason}"
        ) from None
    if not isinstance(value, dict):
        raise PromptSyntaxError(
            f"{filename}:{first_line}: the front matter must be a mapping, such as `name: triage`"
        )
    return value


def _refuse_early(text: str) -> None:
    """Look at the events before anything is built: a bomb is refused before it can go off."""
    if len(text) > MAX_CHARACTERS:
        raise _Refused(f"the front matter has more than {MAX_CHARACTERS} characters", 0)
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Base)):
        line = event.start_mark.line if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _Refused("anchors and aliases are not available", line)
        tag = getattr(event, "tag", None)
        if tag:
            raise _Refused(f"tags such as {tag[:40]} are not available", line)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH} levels", line)
        if count > MAX_EVENTS:
            raise _Refused(f"more than {MAX_EVENTS} items", line)
