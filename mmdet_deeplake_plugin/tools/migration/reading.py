"""Reads an old config file, and those of its bases that are there, without running it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .expressions import Unread, as_dict, evaluate, shown, walk

_MODERN = ('train_dataloader', 'optim_wrapper', 'param_scheduler', 'default_hooks')
_DEEPEST = 20


@dataclass
class OldConfig:
    """What an old config says.

    Args:
        values: Its top-level names, merged over those of the bases that were read.
        bases: Files in ``_base_`` that come with MMDetection, as written.
        missing: Other files in ``_base_`` that were not found, as written.
        used: Names that other values of the config use.
        skipped: ``line 12: import …`` for each statement that only running would do.
    """

    values: dict[str, Any] = field(default_factory=dict)
    bases: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    skipped: list[str] = field(default_factory=list)


def read_config(file: Path, is_stock: Callable[[str], bool]) -> OldConfig:
    """Read an old config.

    Args:
        file: The config, a Python file.
        is_stock: Whether a path in ``_base_`` is a config of MMDetection, which the new
            config inherits in its new form.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not a config of Deep Lake's integration for MMDetection 2.
    """
    old = _read(file, is_stock, 0)
    modern = [name for name in _MODERN if name in old.values]
    if modern:
        raise ValueError(
            f'{file} must be a config of MMDetection 2, but it sets {modern[0]!r}, which '
            'only configs of MMDetection 3 have; it needs no migration'
        )
    if not _has_deeplake_key(old.values):
        raise ValueError(
            f'{file} must be a config of the integration of Deep Lake, but none of its '
            'keys begins with deeplake_; write data = dict(train=dict(deeplake_path=…)) '
            'in a copy of it, or see docs/migration.md for configs on COCO files'
        )
    return old


def _read(file: Path, is_stock: Callable[[str], bool], depth: int) -> OldConfig:
    if file.suffix != '.py':
        raise ValueError(f'{file} must be a Python file that ends in .py')
    if depth > _DEEPEST:
        raise ValueError(f'_base_ of {file} must not lead back to the file itself')
    try:
        tree = ast.parse(file.read_text())
    except UnicodeDecodeError:
        raise ValueError(f'{file} must be a text file in UTF-8') from None
    except SyntaxError as error:
        raise ValueError(
            f'{file} must be Python, but line {error.lineno} is not: {error.msg}'
        ) from None
    old = OldConfig()
    names = old.values
    for statement in tree.body:
        _assign(statement, names, old)
    written = names.pop('_base_', [])
    inherited: dict[str, Any] = {}
    for base in [written] if isinstance(written, (str, Unread)) else written:
        if not isinstance(base, str):
            old.missing.append(shown(base))
            continue
        path = file.parent / base
        there = path.is_file()
        if is_stock(base) and not (there and 'deeplake' in path.read_text('utf-8')):
            old.bases.append(base)
        elif there:
            below = _read(path, is_stock, depth + 1)
            inherited = merge(inherited, below.values)
            for part in ('bases', 'missing', 'skipped'):
                getattr(old, part).extend(getattr(below, part))
            old.used |= below.used
        else:
            old.missing.append(base)
    old.values = merge(inherited, _with_base_values(names, inherited))
    return old


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge as configs do: dicts key by key, unless they have ``_delete_``."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and key in base:
            below = {} if value.get('_delete_') else as_dict(base[key])
            value = merge(below, {k: v for k, v in value.items() if k != '_delete_'})
        result[key] = value
    return result


def _assign(statement: ast.stmt, names: dict[str, Any], old: OldConfig) -> None:
    if _is_read(statement, names, old):
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = Unread(f'set in line {statement.lineno}')
    what = type(statement).__name__.lower()
    old.skipped.append(f'line {statement.lineno} ({what})')


def _is_read(statement: ast.stmt, names: dict[str, Any], old: OldConfig) -> bool:
    """Set the names that a statement sets; return whether it needs no run."""
    if isinstance(statement, ast.Delete):
        for target in statement.targets:
            names.pop(ast.unparse(target), None)
        return True
    if isinstance(statement, ast.ImportFrom):
        return all(alias.name != '*' for alias in statement.names)
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if not isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        return isinstance(statement, (ast.Import, ast.Pass))
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    else:
        targets = [statement.target]
    source = statement.value
    if isinstance(statement, ast.AugAssign):
        source = ast.BinOp(statement.target, statement.op, statement.value)
    if source is None:  # the type of a name alone
        return True
    value = evaluate(source, names, old.used)
    return all(_store(target, value, names, old) for target in targets)


def _store(target: ast.expr, value: Any, names: dict[str, Any], old: OldConfig) -> bool:
    if isinstance(target, ast.Name):
        names[target.id] = value
        return True
    if isinstance(target, ast.Subscript):  # data['train']['pipeline'] = …
        holder = evaluate(target.value, names, old.used)
        key = evaluate(target.slice, names, old.used)
        if isinstance(holder, dict) and isinstance(key, str):
            holder[key] = value
            return True
    return False


def _with_base_values(value: Any, base: dict[str, Any]) -> Any:
    """Replace ``{{_base_.name}}`` by the value of a base that was read."""
    if isinstance(value, Unread) and value.name:
        found: Any = base
        for part in value.name.split('.'):
            found = as_dict(found).get(part)
        return value if found is None else found
    if isinstance(value, dict):
        return {key: _with_base_values(item, base) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_with_base_values(item, base) for item in value)
    return value


def _has_deeplake_key(values: dict[str, Any]) -> bool:
    return any(
        str(key).startswith('deeplake_') for path, _ in walk(values) for key in path
    )
