"""Evaluates the expressions of an old config without running it.

Literals, ``dict(…)``, names, subscripts, arithmetic and the environment are understood;
anything else gives an :class:`Unread`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
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
        try:
            return ast.unparse(_Masked().visit(ast.parse(self.source, mode='eval')))
        except SyntaxError:  # words of this tool, such as: set in line 3
            return self.source

    def __repr__(self) -> str:
        # Also within the repr of a list or dict; not Python, so that none can run it.
        return f'<{self.shown}>'

    @property
    def texts(self) -> list[str]:
        """The texts that the expression contains."""
        try:
            nodes = ast.walk(ast.parse(self.source, mode='eval'))
        except SyntaxError:
            return []
        values = (node.value for node in nodes if isinstance(node, ast.Constant))
        return [value for value in values if isinstance(value, str)]


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
    """Evaluate an expression.

    Args:
        node: The expression.
        names: Values of the names that it may use.
        used: Gets the names that it uses.

    Returns:
        The value; an :class:`Unread` in place of each part that only running gives.
    """
    try:
        return _Evaluation(names, used).value(node)
    except (TypeError, KeyError, IndexError, ValueError, ArithmeticError):
        return Unread(ast.unparse(node))


def unread_in(value: Any) -> Iterator[Unread]:
    """Yield what could not be read in a value, however deep."""
    if isinstance(value, Unread):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from unread_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from unread_in(item)


class _Evaluation:
    def __init__(self, names: Mapping[str, Any], used: set[str]) -> None:
        self._names = names
        self._used = used

    def value(self, node: ast.expr) -> Any:
        method = getattr(self, f'_{type(node).__name__.lower()}', None)
        return Unread(ast.unparse(node)) if method is None else method(node)

    def _constant(self, node: ast.Constant) -> Any:
        return node.value

    def _name(self, node: ast.Name) -> Any:
        self._used.add(node.id)
        return self._names.get(node.id, Unread(node.id))

    def _list(self, node: ast.List) -> Any:
        return self._items(node.elts)

    def _tuple(self, node: ast.Tuple) -> Any:
        return tuple(self._items(node.elts))

    def _set(self, node: ast.Set) -> Any:
        # {{ _base_.name }} is, for Python, a set in a set.
        inner = node.elts[0]
        if isinstance(inner, ast.Set) and len(inner.elts) == 1:
            path = ast.unparse(inner.elts[0])
            if path.startswith('_base_.'):
                return Unread(f'{{{{{path}}}}}', path[len('_base_.') :])
        return Unread(ast.unparse(node))

    def _attribute(self, node: ast.Attribute) -> Any:
        path = ast.unparse(node)
        name = path[len('_base_.') :] if path.startswith('_base_.') else ''
        return Unread(path, name)

    def _items(self, nodes: list[ast.expr]) -> list[Any]:
        items: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                items += _sequence(self.value(node.value))
            else:
                items.append(self.value(node))
        return items

    def _dict(self, node: ast.Dict) -> Any:
        result: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values):
            if key is None:
                result |= _mapping(self.value(value))
            else:
                name = self.value(key)
                if isinstance(name, Unread):
                    return Unread(ast.unparse(node))
                result[name] = self.value(value)
        return result

    def _subscript(self, node: ast.Subscript) -> Any:
        if ast.unparse(node.value) in _ENVIRONMENT:
            return self._variable([node.slice])
        value = self.value(node.value)
        if isinstance(node.slice, ast.Slice):
            ends = [
                None if end is None else self.value(end)
                for end in (node.slice.lower, node.slice.upper, node.slice.step)
            ]
            return _sequence(value)[slice(*ends)]
        return value[self.value(node.slice)]

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        value = self.value(node.operand)
        if isinstance(node.op, ast.USub):
            return -value
        return (not value) if isinstance(node.op, ast.Not) else Unread(ast.unparse(node))

    def _binop(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Pow) or type(node.op) not in _BINARY:
            return Unread(ast.unparse(node))
        if isinstance(node.op, ast.Mult):
            for text, times in ((left, right), (right, left)):
                if isinstance(text, (str, list, tuple)) and len(text) * times > _LONGEST:
                    return Unread(ast.unparse(node))
        return _BINARY[type(node.op)](left, right)

    def _joinedstr(self, node: ast.JoinedStr) -> Any:
        parts = []
        for part in node.values:
            plain = isinstance(part, ast.Constant) or (
                isinstance(part, ast.FormattedValue)
                and part.conversion == -1
                and part.format_spec is None
            )
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            value = self.value(inner) if plain else None
            if not isinstance(value, (str, int, float)):
                return Unread(ast.unparse(node))
            parts.append(str.__str__(value) if isinstance(value, str) else str(value))
        return ''.join(parts)

    def _call(self, node: ast.Call) -> Any:
        function = ast.unparse(node.func)
        if function in _ENVIRONMENT:
            return self._variable(node.args)
        if function == 'dict' and not node.args:
            result: dict[Any, Any] = {}
            for item in node.keywords:
                value = self.value(item.value)
                result |= _mapping(value) if item.arg is None else {item.arg: value}
            return result
        if function in ('list', 'tuple', 'len') and len(node.args) == 1:
            items = _sequence(self.value(node.args[0]))
            if function == 'len':
                return len(items)
            return list(items) if function == 'list' else tuple(items)
        return Unread(ast.unparse(node))

    def _variable(self, arguments: list[ast.expr]) -> Any:
        name, *default = (self.value(argument) for argument in arguments)
        if not isinstance(name, str) or isinstance(name, EnvironmentText):
            return Unread(f'os.environ[{ast.unparse(arguments[0])}]')
        text = default[0] if default and isinstance(default[0], str) else ''
        return EnvironmentText(name, text)


def _sequence(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise TypeError('not a sequence')
    return value


def _mapping(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise TypeError('not a dict')
    return value
