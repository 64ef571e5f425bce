"""A bounded jinja2 environment for prompt templates.

ImmutableSandboxedEnvironment keeps a template from reaching Python (CVE-2024-56326, CVE-2025-27516 need
3.1.6); it does not keep it from asking for 10^10 loop steps or a gigabyte. Here in addition: an allow-list of
syntax, filters, tests, methods and globals; every loop, call, operator and built value is charged for
(`limits`); variables are copied to plain JSON types first, so that no object of the application is ever
reachable (`variables`).

This is mitigation inside one process, not a security boundary: run templates of strangers in a process of
their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Mapping
from typing import Any, NamedTuple, cast

import jinja2
from jinja2 import meta, nodes
from jinja2.compiler import CodeGenerator
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, missing

from promptguard.errors import MissingVariable, PromptError, PromptSyntaxError, RenderLimit
from promptguard.templates import filters, limits
from promptguard.templates.filters import CURRENT, budget

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
_OUR_METHODS: dict[str, Callable[..., object]] = {
    "join": lambda separator, parts: filters.join(parts, separator),
    "replace": filters.replace,
    "rsplit": filters.split_right,
    "split": filters.split,
    "splitlines": filters.split_lines,
}
"""Methods of texts whose result may be much larger than the text: bounded before it is made."""
_MAX_INT_BITS = 1_024
_OUR_ITER, _OUR_MADE, _OUR_CONCAT, _OUR_COMPARED = (
    f"promptguard {verb}" for verb in ("iterates", "measures", "concatenates", "compares")
)
"""Names of our own filters; the spaces keep templates from naming them."""
_DICT_METHODS = frozenset(dir(dict))
_LOOP_FACTS = frozenset(
    ("first", "index", "index0", "last", "length", "nextitem", "previtem", "revindex", "revindex0")
)
_PIECES = 256
"""Printed pieces that are charged for together. Each is a text that exists already, or was charged for by itself."""


def _bounded_range(*bounds: int) -> range:
    made = range(*bounds)
    budget().charge(32 * len(made))
    return made


def _iterates(value: object, body: int) -> object:
    """Charge for a whole loop at its start: items times syntax nodes of its body."""
    if isinstance(value, jinja2.Undefined):
        iter(value)  # raises UndefinedError
    current = budget()
    settled = current.settle(value)
    if isinstance(settled, int | float | bool) or settled is None:
        raise PromptError(f"a loop needs a list or a mapping, not {settled!r}")
    current.charge_steps(len(settled) * body)
    return settled


def _concatenates(parts: list[object]) -> str:
    """Compute `a ~ b`; its length is charged before the text is made."""
    current = budget()
    for part in parts:
        current.charge_value(part)
    texts = [str(part) for part in parts]
    current.charge(sum(map(len, texts)))
    return "".join(texts)


def _settles(value: object) -> object:
    return budget().settle(value)


def _compares(value: object) -> object:
    """Charge for an operand of a comparison: `==` and `in` look through all of it."""
    budget().charge_compared(value)
    return value


def _printed(value: object) -> object:
    """Charge for what `{{ ... }}` prints and is no text yet, before it becomes one."""
    budget().charge_value(value)
    return value


_GLOBALS: dict[str, Any] = {"range": _bounded_range, "namespace": Namespace, "dict": dict}


class _Values(dict[str, object]):
    """What a template may name: its variables, what it sets, and the globals, which it rarely names."""

    def __missing__(self, key: str) -> object:
        return _GLOBALS.get(key, missing)


class _Context(Context):
    """jinja2's own, which looks a name up by one step in C where that takes a call and three.

    There are no blocks, and nothing that changes how a template is evaluated, in a prompt.
    """

    def __init__(
        self, environment: jinja2.Environment, values: _Values, name: str | None, evaluated: EvalContext
    ) -> None:
        self.environment = environment
        self.parent = self.vars = values  # what a template sets is looked up beside them
        self.name = name
        self.eval_ctx = evaluated
        self.exported_vars = set()
        self.blocks = {}
        self.globals_keys = set()
        self.resolve_or_missing = values.__getitem__  # type: ignore[method-assign, assignment]


class _CodeGenerator(CodeGenerator):
    """Prints text and numbers as they are, without a call; whoever joins the pieces charges for their length."""

    def _output_child_pre(self, *_: object) -> None:
        self.write("(_text if type(_text := ")

    def _output_child_post(self, *_: object) -> None:
        self.write(f") is str else str(_text if type(_text) is int and _text.bit_length() <= {_MAX_INT_BITS}")
        self.write(" else environment.finalize(_text)))")


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("+", "-", "*", "/", "%", "//", "**"))
    intercepted_unops = frozenset(("+", "-"))
    code_generator_class = _CodeGenerator

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
            _OUR_MADE: _settles,
            _OUR_CONCAT: _concatenates,
            _OUR_COMPARED: _compares,
        }
        self.tests = dict(filters.ALLOWED_TESTS)
        self.globals = dict(_GLOBALS)

    def getattr(self, obj: Any, attribute: str) -> object:
        """Return `obj.attribute`: at once where the sandbox cannot but allow it, as it does for nearly all of them."""
        kind = type(obj)
        if kind is dict:
            if attribute in obj and attribute not in _DICT_METHODS:
                return obj[attribute]
        elif kind is LoopContext and attribute in _LOOP_FACTS:
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> object:
        """Return `obj[argument]`; a key of many parts is looked through each time."""
        if type(argument) is not str and type(argument) is not int:
            budget().charge_value(argument)
        return super().getitem(obj, argument)

    def call(__self, __context: Context, __obj: object, *args: object, **kwargs: Any) -> object:  # noqa: N805
        """Call a global or an allowed method, with arguments and result charged for."""
        settle = budget().settle
        kwargs.pop("_loop_vars", None)  # of jinja2's own, for functions that take its context
        kwargs.pop("_block_vars", None)
        owner = getattr(__obj, "__self__", None)
        name = getattr(__obj, "__name__", "")
        if __obj is not _bounded_range and __obj is not Namespace and __obj is not dict:
            if name not in _ALLOWED_METHODS.get(type(owner), frozenset()):
                raise jinja2.exceptions.SecurityError(f"{name or 'this'}() may not be called in a prompt")
            if not isinstance(owner, LoopContext):
                settle(owner)
        plain = [settle(each) for each in args]
        for each in kwargs.values():
            settle(each)
        ours = _OUR_METHODS.get(name)
        if ours is not None and isinstance(owner, str):
            return settle(ours(owner, *plain, **kwargs))
        made = super().call(__context, __obj, *plain, **kwargs)
        return made if isinstance(made, Namespace) else settle(made)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> object:
        """Compute `left operator right` where the size of the result is bounded."""
        if isinstance(left, jinja2.Undefined) or isinstance(right, jinja2.Undefined):
            str(left), str(right)  # raises UndefinedError
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "+" and not numbers:
            _settles(left), _settles(right)
        elif operator == "*" and not numbers:
            text, times = (left, right) if isinstance(left, str) else (right, left)
            if not isinstance(text, str) or not isinstance(times, int):
                raise RenderLimit("only numbers, or a text and a number, can be multiplied in a prompt")
            budget().charge(len(text) * max(times, 0))
        elif not numbers:
            raise RenderLimit(f"only numbers can stand beside {operator} in a prompt")
        else:
            _refuse_huge(_result_bits(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call_unop(self, context: Context, operator: str, arg: Any) -> object:
        """Compute `-arg` or `+arg` of a number whose size is bounded: a huge one takes time each time."""
        if isinstance(arg, jinja2.Undefined):
            str(arg)  # raises UndefinedError
        if not isinstance(arg, int | float):
            raise RenderLimit(f"only a number can stand behind {operator} in a prompt")
        _refuse_huge(0 if isinstance(arg, float) else arg.bit_length())
        return super().call_unop(context, operator, arg)


def _refuse_huge(bits: int) -> None:
    if bits > _MAX_INT_BITS:
        raise RenderLimit(f"a number of more than {_MAX_INT_BITS} bits was asked for")


def _result_bits(operator: str, left: int | float, right: int | float) -> int:
    """Return an upper bound of the bits of `left operator right`."""
    if isinstance(left, float) or isinstance(right, float):
        return 64
    bits = left.bit_length()
    more = right.bit_length() if operator != "**" else bits * max(right - 1, 0)
    return bits + more


class Read(NamedTuple):
    """The variables of a template, by what it does with them."""

    variables: frozenset[str]
    guarded: frozenset[str]
    looped: frozenset[str]


def _read(tree: nodes.Template, known: Container[str]) -> Read:
    variables = frozenset(name for name in meta.find_undeclared_variables(tree) if name not in known)
    asked: set[str] = set()
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        named = isinstance(node.node, nodes.Name) and node.name in {"default", "d", "defined", "undefined"}
        if named:
            asked.add(cast("nodes.Name", node.node).name)
    looped = {node.iter.name for node in tree.find_all(nodes.For) if isinstance(node.iter, nodes.Name)}
    return Read(variables, variables & asked, variables & looped)


class Template:
    """One compiled template, made by `Sandbox.template`; rendering compiles nothing."""

    def __init__(
        self,
        compiled: jinja2.Template | str,
        read: Read,
        filename: str,
        bounds: limits.Limits,
    ) -> None:
        self.variables = read.variables
        """Names that the template reads and does not set itself."""
        self.guarded = read.guarded
        """those of them that it asks for with `default` or `is defined`: it can do without"""
        self.looped = read.looped
        """those of them that a loop goes through"""
        self._compiled = compiled
        """the text itself where nothing in it is to be rendered, as in many a system message"""
        self._filename = filename
        self._limits = bounds
        if not isinstance(compiled, str):
            self._evaluated = EvalContext(compiled.environment, filename)

    def render(self, variables: Mapping[str, object], sizes: limits.Sizes | None = None) -> str:
        """Render with plain variables (see `variables.plain`); raises RenderLimit, MissingVariable or PromptError.

        `sizes` are those of the variables, where they are known from copying them.
        """
        compiled = self._compiled
        if isinstance(compiled, str):
            return compiled
        current = limits.RenderBudget(self._limits, sizes)
        outer, CURRENT.budget = CURRENT.budget, current
        try:
            return self._joined(compiled, variables, current)
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
            CURRENT.budget = outer

    def _joined(
        self, compiled: jinja2.Template, variables: Mapping[str, object], current: limits.RenderBudget
    ) -> str:
        # What jinja2's own render() does, without its walk over the globals and its call per piece.
        context = _Context(compiled.environment, _Values(variables), compiled.name, self._evaluated)
        pieces = compiled.root_render_func(context)
        parts: list[str] = []
        left = self._limits.output
        while True:
            some = list(itertools.islice(pieces, _PIECES))
            length = sum(map(len, some))
            left -= length
            if left < 0:
                raise RenderLimit(f"more than {self._limits.output} characters of output were asked for")
            current.charge_printed(length + len(some))
            if len(some) < _PIECES:
                return "".join(parts + some if parts else some)
            parts += some


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
        outer, CURRENT.budget = (
            CURRENT.budget,
            limits.RenderBudget(self.limits),
        )  # printed constants are folded here
        try:
            read, compiled = self._compile(source, filename)
        except jinja2.TemplateSyntaxError as error:
            raise PromptSyntaxError(f"{filename}:{first_line + error.lineno - 1}: {error.message}") from None
        except RenderLimit as error:
            raise PromptSyntaxError(f"{filename}: the template asks for too much: {error}") from None
        except (
            jinja2.TemplateError
        ) as error:  # of a constant, such as the condition `1["name"]`, which is looked at here
            raise PromptSyntaxError(f"{filename}: {error}") from None
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            # Python's own SyntaxError: more than 20 nested loops; ValueError: a number of 5,000 digits.
            reason = getattr(error, "msg", None) or str(error) or type(error).__name__
            raise PromptSyntaxError(f"{filename}: the template is too complex: {reason}") from None
        finally:
            CURRENT.budget = outer
        return Template(compiled, read, filename, self.limits)

    def _compile(self, source: str, filename: str) -> tuple[Read, jinja2.Template | str]:
        environment = self._environment
        tree = environment.parse(source, filename=filename)
        _refuse_unknown(tree, self.limits.nodes)
        read = _read(tree, environment.globals)
        _guard(tree)
        self.compiled += 1
        if all(isinstance(node, nodes.Template | nodes.Output | nodes.TemplateData) for node in _walk(tree)):
            return read, "".join(data.data for data in tree.find_all(nodes.TemplateData))
        code = environment.compile(tree, name=filename, filename=filename)
        return read, jinja2.Template.from_code(environment, code, dict(environment.globals))


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
    if isinstance(node, nodes.Compare):
        node.expr = _compared(node.expr)
        for operand in node.ops:
            operand.expr = _compared(operand.expr)
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
    if copied or isinstance(node, nodes.List | nodes.Dict | nodes.Tuple):
        return _filter(cast("nodes.Expr", node), _OUR_MADE)
    return node


def _compared(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _filter(node, _OUR_COMPARED)
