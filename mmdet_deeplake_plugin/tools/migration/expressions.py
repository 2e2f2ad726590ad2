"""Evaluates the expressions of an old config without running it.

Literals, ``dict(…)``, names, subscripts, arithmetic and the environment are understood;
anything else gives an :class:`Unread`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
# What arithmetic in a config can give at most, so that no text makes the tool hang.
_LONGEST = 10_000
_ENVIRONMENT = ('os.environ', 'os.environ.get', 'os.getenv', 'environ', 'environ.get')


@dataclass(frozen=True, repr=False)
class Unread:
    """A value that only running the config would give.

    Args:
        source: Text of the expression.
        name: ``a.b`` if the expression is MMCV's ``{{_base_.a.b}}``, else empty.
    """

    source: str
    name: str = ''

    @property
    def shown(self) -> str:
        """The expression without its texts, any of which may be a secret."""
        return ast.unparse(_Masked().visit(self._tree))

    @property
    def texts(self) -> list[str]:
        """The texts that the expression contains."""
        nodes = ast.walk(self._tree)
        values = (node.value for node in nodes if isinstance(node, ast.Constant))
        return [value for value in values if isinstance(value, str)]

    @property
    def _tree(self) -> ast.AST:
        try:
            return ast.parse(self.source, mode='eval')
        except SyntaxError:  # words of this tool, such as: set in line 3
            return ast.Name(self.source)

    def __repr__(self) -> str:
        # Also within the repr of a list or dict; not Python, so that none can run it.
        return f'<{self.shown}>'


class _Masked(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        is_text = isinstance(node.value, (str, bytes))
        return ast.Constant('…') if is_text else node


class EnvironmentText(str):
    """A variable of the environment, as MMEngine's configs write it.

    Args:
        name: Name of the variable.
        default: Text if it is not set.
    """

    name: str
    default: str

    def __new__(cls, name: str, default: str = '') -> EnvironmentText:
        """Write the variable as ``{{$NAME:default}}``."""
        text = super().__new__(cls, f'{{{{${name}:{default}}}}}')
        text.name, text.default = name, default
        return text


def evaluate(node: ast.expr, names: Mapping[str, Any], used: set[str]) -> Any:
    """Evaluate an expression; what only running gives is an :class:`Unread`.

    Args:
        node: The expression.
        names: Values of the names that it may use.
        used: Gets the names that it uses.
    """
    return _Evaluation(names, used).visit(node)


def walk(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield a value and all that is in it, each with the keys that lead to it."""
    yield path, value
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    for key, item in items:
        yield from walk(item, (*path, key))


def as_dict(value: Any) -> dict[str, Any]:
    """Return a dict as it is, ``{}`` for anything else."""
    return value if isinstance(value, dict) else {}


def shown(value: Any) -> str:
    """Write a value of an old config into a message."""
    return value.shown if isinstance(value, Unread) else repr(value)


class _Evaluation(ast.NodeVisitor):
    """Methods raise an error for what they cannot evaluate."""

    def __init__(self, names: Mapping[str, Any], used: set[str]) -> None:
        self._names = names
        self._used = used

    def visit(self, node: ast.AST) -> Any:
        try:
            return super().visit(node)
        except (TypeError, KeyError, IndexError, ValueError, ArithmeticError):
            return Unread(ast.unparse(node))

    def generic_visit(self, node: ast.AST) -> Any:
        raise ValueError('only running the config gives it')

    def visit_Constant(self, node: ast.Constant) -> Any:
        return node.value

    def visit_Name(self, node: ast.Name) -> Any:
        self._used.add(node.id)
        return self._names.get(node.id, Unread(node.id))

    def visit_List(self, node: ast.List) -> Any:
        return self._items(node.elts)

    def visit_Tuple(self, node: ast.Tuple) -> Any:
        return tuple(self._items(node.elts))

    def visit_Set(self, node: ast.Set) -> Any:
        # {{ _base_.name }} is, for Python, a set in a set.
        text, inner = ast.unparse(node), node.elts[0]
        if isinstance(inner, ast.Set) and len(inner.elts) == 1:
            return Unread(text, _name_in_base(ast.unparse(inner.elts[0])))
        return Unread(text)

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        path = ast.unparse(node)
        return Unread(path, _name_in_base(path))

    def _items(self, nodes: list[ast.expr]) -> list[Any]:
        items: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                items += _sequence(self.visit(node.value))
            else:
                items.append(self.visit(node))
        return items

    def visit_Dict(self, node: ast.Dict) -> Any:
        result: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values):
            if key is None:
                result |= {**self.visit(value)}
            else:
                result[self._read(key)] = self.visit(value)
        return result

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        if ast.unparse(node.value) in _ENVIRONMENT:
            return self._variable([node.slice])
        value = self.visit(node.value)
        if isinstance(node.slice, ast.Slice):
            ends = (node.slice.lower, node.slice.upper, node.slice.step)
            return _sequence(value)[slice(*(end and self.visit(end) for end in ends))]
        return value[self.visit(node.slice)]

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        return _OPERATORS[type(node.op)](self._read(node.operand))

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        left, right = self._read(node.left), self._read(node.right)
        if isinstance(node.op, ast.Mult):
            for text, times in ((left, right), (right, left)):
                if isinstance(text, (str, list, tuple)) and len(text) * times > _LONGEST:
                    raise ValueError('too long')
        return _OPERATORS[type(node.op)](left, right)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Any:
        return ''.join(str(self._read(part)) for part in node.values)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> Any:
        value = self._read(node.value)
        if node.conversion != -1 or node.format_spec:
            raise ValueError('a format of its own')
        if not isinstance(value, (str, int, float)):
            raise TypeError('not a text or number')
        return value

    def visit_Call(self, node: ast.Call) -> Any:
        function = ast.unparse(node.func)
        if function in _ENVIRONMENT:
            return self._variable(node.args)
        if function == 'dict' and not node.args:
            keys: list[ast.expr | None] = [
                None if item.arg is None else ast.Constant(item.arg)
                for item in node.keywords
            ]
            return self.visit_Dict(ast.Dict(keys, [item.value for item in node.keywords]))
        if function in ('list', 'tuple', 'len') and len(node.args) == 1:
            make: Any = {'list': list, 'tuple': tuple, 'len': len}[function]
            return make(_sequence(self.visit(node.args[0])))
        return self.generic_visit(node)

    def _read(self, node: ast.expr) -> Any:
        """Evaluate a part without which the whole has no value."""
        value = self.visit(node)
        if isinstance(value, Unread):
            raise ValueError('a part was not read')
        return value

    def _variable(self, arguments: list[ast.expr]) -> Any:
        name, *default = (self.visit(argument) for argument in arguments)
        if not isinstance(name, str) or isinstance(name, EnvironmentText):
            return Unread(f'os.environ[{ast.unparse(arguments[0])}]')
        text = default[0] if default and isinstance(default[0], str) else ''
        return EnvironmentText(name, text)


def _name_in_base(path: str) -> str:
    return path.removeprefix('_base_.') if path.startswith('_base_.') else ''


def _sequence(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise TypeError('not a sequence')
    return value
