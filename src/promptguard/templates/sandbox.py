"""A bounded jinja2 environment for prompt templates.

ImmutableSandboxedEnvironment keeps a template from reaching Python (CVE-2024-56326, CVE-2025-27516 need
3.1.6); it does not keep it from asking for 10^10 loop steps or a gigabyte. Here in addition: an allow-list of
syntax, filters, tests, methods and globals; every loop, call, operator and built value is paid for
(`limits`); variables are copied to plain JSON types first, so that no object of the application is ever
reachable.

This is mitigation inside one process, not a security boundary: run templates of strangers in a process of
their own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, cast

import jinja2
from jinja2 import meta, nodes
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from promptguard.errors import MissingVariable, PromptError, PromptSyntaxError, RenderLimit
from promptguard.templates import filters, limits
from promptguard.templates.filters import CURRENT, purse, settled

_ALLOWED_NODES = """
    Template Output TemplateData For If With Scope Assign Const Name NSRef List Tuple Dict Pair Keyword
    Operand Getattr Getitem Slice Filter Test Call Compare And Or Not CondExpr Concat Add Sub Mul Div FloorDiv
    Mod Pow Neg Pos
"""
_TEXT_METHODS = """
    capitalize casefold count endswith find index isalnum isalpha isdigit islower isnumeric isspace istitle
    isupper join lower lstrip partition removeprefix removesuffix replace rfind rpartition rsplit rstrip split
    splitlines startswith strip swapcase title upper
"""
_ALLOWED_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(_TEXT_METHODS.split()),
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
    LoopContext: frozenset(("cycle",)),
}
_MAX_INT_BITS = 1_024
_OUR_ITER, _OUR_MADE, _OUR_CONCAT = "promptguard iterates", "promptguard measures", "promptguard concatenates"
"""Names of our own filters; the spaces keep templates from naming them."""


def _bounded_range(*bounds: int) -> range:
    made = range(*bounds)
    purse().pay(32 * len(made))
    return made


def _iterates(value: Any, body: int) -> Any:
    """Pay for a whole loop at its start: items times syntax nodes of its body."""
    if isinstance(value, jinja2.Undefined):
        iter(value)  # raises UndefinedError
    value = settled(value)
    if isinstance(value, int | float | bool) or value is None:
        raise PromptError(f"a loop needs a list or a mapping, not {value!r}")
    purse().step(len(value) * body)
    return value


def _concatenates(parts: list[Any]) -> str:
    """Compute `a ~ b`; its length is paid for before the text is made."""
    for part in parts:
        purse().pay_for(part)
    texts = [str(part) for part in parts]
    purse().pay(sum(map(len, texts)))
    return "".join(texts)


def _printed(value: Any) -> Any:
    """Pay for what `{{ ... }}` prints, before it becomes text."""
    purse().pay_for(value)
    return value


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("+", "*", "%", "//", "**"))

    def __init__(self) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            autoescape=False,  # prompts are text, not HTML
            optimized=False,  # constant folding would run filters at load time
            keep_trailing_newline=True,
            finalize=_printed,
            cache_size=0,  # compiled templates are kept by their prompt
        )
        self.filters = {
            **filters.ALLOWED_FILTERS,
            _OUR_ITER: _iterates,
            _OUR_MADE: settled,
            _OUR_CONCAT: _concatenates,
        }
        self.tests = dict(filters.ALLOWED_TESTS)
        self.globals = {"range": _bounded_range, "namespace": Namespace, "dict": dict}

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a global or an allowed method, with arguments and result paid for."""
        owner = getattr(__obj, "__self__", None)
        name = getattr(__obj, "__name__", "")
        if __obj is not _bounded_range and __obj is not Namespace and __obj is not dict:
            if name not in _ALLOWED_METHODS.get(type(owner), frozenset()):
                raise jinja2.exceptions.SecurityError(f"{name or 'this'}() may not be called in a prompt")
            if not isinstance(owner, LoopContext):
                settled(owner)
        plain = [settled(each) for each in args]
        for each in kwargs.values():
            settled(each)
        if isinstance(owner, str) and name == "replace":
            return filters.replace(owner, *plain, **kwargs)
        if isinstance(owner, str) and name == "join":
            return filters.join(plain[0], owner)
        made = super().call(__context, __obj, *plain, **kwargs)
        return made if isinstance(made, Namespace) else settled(made)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute `left operator right` where the size of the result is bounded."""
        if isinstance(left, jinja2.Undefined) or isinstance(right, jinja2.Undefined):
            str(left), str(right)  # raises UndefinedError
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "+" and not numbers:
            settled(left), settled(right)
        elif operator == "*" and not numbers:
            text, times = (left, right) if isinstance(left, str) else (right, left)
            if not isinstance(text, str) or not isinstance(times, int):
                raise RenderLimit("only numbers, or a text and a number, can be multiplied in a prompt")
            purse().pay(len(text) * max(times, 0))
        elif not numbers:
            raise RenderLimit(f"only numbers can stand beside {operator} in a prompt")
        elif _result_bits(operator, left, right) > _MAX_INT_BITS:
            raise RenderLimit(f"a number of more than {_MAX_INT_BITS} bits was asked for")
        return super().call_binop(context, operator, left, right)


def _result_bits(operator: str, left: Any, right: Any) -> int:
    """Return an upper bound of the bits of `left operator right`."""
    if isinstance(left, float) or isinstance(right, float):
        return 64
    bits: int = left.bit_length()
    more: int = right.bit_length() if operator != "**" else bits * max(right - 1, 0)
    return bits + more


class Template:
    """One compiled template, made by `Sandbox.template`; rendering compiles nothing."""

    def __init__(
        self, compiled: jinja2.Template, variables: frozenset[str], filename: str, bounds: limits.Limits
    ) -> None:
        self.variables = variables
        """Names that the template reads and does not set itself."""
        self._compiled = compiled
        self._filename = filename
        self._limits = bounds

    def render(self, variables: Mapping[str, Any]) -> str:
        """Render with plain variables (see `plain`); raises RenderLimit, MissingVariable or PromptError."""
        outer, CURRENT.purse = CURRENT.purse, limits.Purse(self._limits)
        try:
            return self._joined(variables)
        except PromptError as error:
            raise type(error)(f"{self._filename}: {error}") from None
        except jinja2.UndefinedError as error:
            raise MissingVariable(f"{self._filename}: {error.message}") from None
        except jinja2.TemplateError as error:
            raise PromptError(f"{self._filename}: {error}") from None
        except (OverflowError, MemoryError, RecursionError) as error:
            raise RenderLimit(
                f"{self._filename}: the template asked for too much ({type(error).__name__})"
            ) from None
        except Exception as error:
            raise PromptError(f"{self._filename}: {type(error).__name__}: {error}") from error
        finally:
            CURRENT.purse = outer

    def _joined(self, variables: Mapping[str, Any]) -> str:
        parts: list[str] = []
        left = self._limits.output
        for part in self._compiled.generate(variables):
            left -= len(part)
            if left < 0:
                raise RenderLimit(f"more than {self._limits.output} characters of output were asked for")
            parts.append(part)
        return "".join(parts)


class Sandbox:
    """Compiles templates into their bounded form."""

    def __init__(self, bounds: limits.Limits = limits.DEFAULT) -> None:
        self.limits = bounds
        self._environment = _Environment()
        self.compiled = 0
        """Templates compiled so far; rendering must not move it."""

    def template(self, source: str, filename: str, first_line: int = 1) -> Template:
        """Compile `source`, which begins at `first_line` of `filename`; raises PromptSyntaxError."""
        if len(source) > self.limits.source:
            raise PromptSyntaxError(f"{filename}: a template has at most {self.limits.source} characters")
        outer, CURRENT.purse = CURRENT.purse, limits.Purse(self.limits)  # printed constants are folded here
        try:
            variables, compiled = self._compile(source, filename)
        except jinja2.TemplateSyntaxError as error:
            raise PromptSyntaxError(f"{filename}:{first_line + error.lineno - 1}: {error.message}") from None
        except RenderLimit as error:
            raise PromptSyntaxError(f"{filename}: the template asks for too much: {error}") from None
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            # Python's own SyntaxError: more than 20 nested loops; ValueError: a number of 5,000 digits.
            reason = getattr(error, "msg", None) or str(error) or type(error).__name__
            raise PromptSyntaxError(f"{filename}: the template is too complex: {reason}") from None
        finally:
            CURRENT.purse = outer
        return Template(compiled, variables, filename, self.limits)

    def _compile(self, source: str, filename: str) -> tuple[frozenset[str], jinja2.Template]:
        environment = self._environment
        tree = environment.parse(source, filename=filename)
        _refuse_unknown(tree, self.limits.nodes)
        variables = frozenset(meta.find_undeclared_variables(tree)) - environment.globals.keys()
        _guard(tree)
        self.compiled += 1
        code = environment.compile(tree, name=filename, filename=filename)
        return variables, jinja2.Template.from_code(environment, code, environment.make_globals(None))


def _walk(node: nodes.Node) -> itertools.chain[nodes.Node]:
    return itertools.chain((node,), node.find_all(nodes.Node))


def _refuse_unknown(tree: nodes.Template, most: int) -> None:
    allowed = frozenset(_ALLOWED_NODES.split())
    for count, node in enumerate(_walk(tree)):
        kind = type(node).__name__
        if kind not in allowed:
            raise jinja2.TemplateSyntaxError(f"{kind.lower()} is not available in prompts", node.lineno)
        if isinstance(node, nodes.For) and node.recursive:
            raise jinja2.TemplateSyntaxError("recursive loops are not available in prompts", node.lineno)
        if count > most:
            raise jinja2.TemplateSyntaxError(f"more than {most} expressions in one template", node.lineno)


def _filter(node: nodes.Expr, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


def _guard(node: nodes.Node) -> int:
    """Replace what can grow by its measured form, from the leaves up; return the node count of `node`."""
    count = 1
    for name, value in list(node.iter_fields()):
        if isinstance(value, nodes.Node):
            count += _guard(value)
            setattr(node, name, _guarded(value, name))
        elif isinstance(value, list):
            for index, child in enumerate(value):
                if isinstance(child, nodes.Node):
                    count += _guard(child)
                    value[index] = _guarded(child, name)
    if isinstance(node, nodes.For):
        node.iter = _filter(cast("nodes.Expr", node.iter), _OUR_ITER, nodes.Const(count))
    return count


def _guarded(node: nodes.Node, field: str) -> nodes.Node:
    """Return `node` behind a measuring filter where it makes a value that can grow."""
    if isinstance(node, nodes.Concat):
        return _filter(nodes.List(node.nodes, lineno=node.lineno), _OUR_CONCAT)
    if getattr(node, "ctx", "load") != "load" or field == "target":
        return node
    copied = isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)
    if copied or isinstance(node, nodes.List | nodes.Dict | nodes.Tuple | nodes.Compare):
        return _filter(cast("nodes.Expr", node), _OUR_MADE)
    return node


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """Copy a variable to plain JSON types; raises PromptError for anything else.

    An object in the context would put `{{ obj.api_key }}` and `{{ obj.drop() }}` into a template's reach.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # an enum's or a subclass's own __str__ does not count
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float) and math.isfinite(value):
        return float.__float__(value)
    if depth > 64:
        raise PromptError(f"{where} is nested deeper than 64 levels")
    if isinstance(value, list | tuple):
        return [plain(each, f"{where}[{index}]", depth + 1) for index, each in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str.__str__(key): plain(each, f"{where}.{key}", depth + 1) for key, each in value.items()}
    raise PromptError(
        f"{where} is a {type(value).__name__}; a prompt takes text, numbers, lists and mappings of them only"
    )
