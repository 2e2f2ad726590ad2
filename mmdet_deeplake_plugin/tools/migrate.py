"""Carry a config of Deep Lake's integration for MMDetection 2 over to this package.

The new config inherits one of MMDetection 3 and differs from it where the old config
did. The old config is read, never run. Secrets become references, and what has no
counterpart is a comment with the reason.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ._cli import make_parser, run_tool
from .migration.bases import NewBase, find_base, is_stock
from .migration.migration import Migration
from .migration.parts.data import translate_data
from .migration.parts.evaluation import translate_evaluation
from .migration.parts.model import translate_model
from .migration.parts.runtime import translate_runtime
from .migration.parts.schedule import translate_schedule
from .migration.reading import OldConfig, read_config
from .migration.secrets import secret_addresses, secrets_in
from .migration.text import assignment, comment

_IMPORTS = dict(imports=['mmdet_deeplake_plugin'], allow_failed_imports=False)
_VARIABLE = re.compile(r'\{\{\$(\w+):')
_ORDER = (
    *('model', 'train_pipeline', 'test_pipeline', 'train_dataloader', 'val_dataloader'),
    *('test_dataloader', 'val_evaluator', 'test_evaluator', 'train_cfg', 'val_cfg'),
    *('test_cfg', 'optim_wrapper', 'param_scheduler', 'default_hooks', 'custom_hooks'),
)


def migrate(
    old_config: Path | str,
    new_config: Path | str,
    base: str | None = None,
    force: bool = False,
) -> str:
    """Write a config for this package from an old one.

    Args:
        old_config: Config of Deep Lake's integration, for MMDetection 2.
        new_config: File to write.
        base: Config to inherit, ``mmdet::FOLDER/NAME.py`` or a file. Defaults to None:
            found by the old ``_base_``, or by the type of the model.
        force: Whether to overwrite ``new_config``. Defaults to False.

    Returns:
        A report of several lines: what was translated, what needs attention and what was
        left out.

    Raises:
        FileExistsError: If ``new_config`` exists and ``force`` is False.
        OSError: If a file cannot be read or written.
        ValueError: If the old config cannot be read, or its new base was not found.
    """
    source, target = Path(old_config), Path(new_config)
    if target.exists() and (not force or target.samefile(source)):
        hint = 'write another name' if force else 'add --force to overwrite it'
        raise FileExistsError(f'{target} exists already; {hint}')
    old = read_config(source, is_stock)
    new_base = find_base(old, base, target.parent)
    base_values = _unscoped(new_base.config.to_dict())
    migration = Migration(old.values, base_values, old.used)
    sections = _translate(migration)
    _note_unread(old, migration)
    hidden = secrets_in(old.values)
    copied = _text(source, new_base, sections, migration)
    for key, secret in secret_addresses(old.values):
        hidden.append(secret)
        if secret in copied:
            migration.attend(
                key,
                'the address contains a secret, which is written as ***; use an address '
                'without one',
            )
    _write(target, _hide(_text(source, new_base, sections, migration), hidden))
    entries = ', '.join(new_base.entries)
    report = f'wrote {target}, which inherits {entries} (found {new_base.how})'
    return _hide(f'{report}\n\n{migration.report()}', hidden)


def _translate(migration: Migration) -> dict[str, Any]:
    sections, pipeline = translate_data(migration)
    sections |= translate_evaluation(migration)
    sections |= translate_schedule(migration)
    sections |= translate_runtime(migration)
    model = translate_model(migration, pipeline)
    if model:
        sections['model'] = model
    if 'num_classes' not in repr(migration.old.get('model')):
        migration.attend(
            'model',
            'num_classes of the heads is not in the old config, so it is that of the '
            'base; write the number of classes of the lake (tools.inspect shows it)',
        )
    if not migration.base.get('default_scope'):
        sections['default_scope'] = 'mmdet'
    return sections


def _unscoped(value: Any) -> Any:
    """Leave out MMEngine's marks of the package that a part of a config came from."""
    if isinstance(value, dict):
        return {name: _unscoped(v) for name, v in value.items() if name != '_scope_'}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_unscoped, value))
    return value


def _note_unread(old: OldConfig, migration: Migration) -> None:
    for base in old.missing:
        migration.attend(
            f'_base_ {base}', 'was not found, so what it sets is not in the new config'
        )
    for statement in old.skipped:
        migration.attend(statement, 'was not run; write what it sets by hand')


def _text(
    source: Path, base: NewBase, sections: dict[str, Any], migration: Migration
) -> str:
    entries = list(base.entries)
    parts = [
        f'"""{source.name}, carried over to MMDetection 3 by tools.migrate."""\n\n',
        assignment('_base_', entries[0] if len(entries) == 1 else entries),
        assignment('custom_imports', _IMPORTS),
    ]
    for name in sorted(sections, key=_place):
        parts.append('\n' + assignment(name, sections[name]))
    parts.insert(1, _listed('To do before the first run:', migration.attention, '', '\n'))
    parts.append(_listed('Not carried over, with the reason:', migration.left, '\n', ''))
    return ''.join(parts)


def _place(name: str) -> int:
    """Return where a section stands: all pipelines before the loaders that use them."""
    kind = re.sub(r'_\d+$', '', name)
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _listed(title: str, entries: list[tuple[str, str]], before: str, after: str) -> str:
    if not entries:
        return ''
    lines = [comment(f'- {key}: {text}.') for key, text in entries]
    return ''.join([before, comment(title), *lines, after])


def _write(target: Path, text: str) -> None:
    """Write the new config, once it was seen that it can be read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, as _base_ may be relative.
    trial = target.with_name(f'migrate_{os.getpid()}.py')
    # MMEngine refuses a config whose variables are not set, as they may be here.
    unset = set(_VARIABLE.findall(text)) - os.environ.keys()
    os.environ.update(dict.fromkeys(unset, 'unset'))
    try:
        trial.write_text(text, encoding='utf-8')
        Config.fromfile(trial)
        trial.replace(target)
    finally:
        trial.unlink(missing_ok=True)
        for name in unset:
            del os.environ[name]


def _hide(text: str, secrets: list[str]) -> str:
    for secret in sorted(set(secrets), key=len, reverse=True):
        text = text.replace(secret, '***')
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`migrate` from the command line and return the exit code."""
    parser = make_parser(
        'migrate',
        "Carry a config of Deep Lake's integration for MMDetection 2 over.",
        'old/yolov3_lake.py configs/yolov3_lake.py',
    )
    add = parser.add_argument
    add('old_config', type=Path, metavar='OLD_CONFIG', help='config for MMDetection 2')
    add('new_config', type=Path, metavar='NEW_CONFIG', help='file to write')
    add(
        '--base',
        help='config to inherit, mmdet::FOLDER/NAME.py or a file (default: found by the '
        'old _base_ or the type of the model)',
    )
    add('--force', action='store_true', help='overwrite NEW_CONFIG')
    return run_tool(migrate, parser, argv)


if __name__ == '__main__':
    raise SystemExit(main())
