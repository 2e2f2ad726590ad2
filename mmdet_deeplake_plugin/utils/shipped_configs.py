"""Find the configs that ship with this package."""

from __future__ import annotations

from pathlib import Path

from .messages import comma_joined, did_you_mean

_PACKAGE = Path(__file__).resolve().parents[1]
_NOT_SHIPPED = ('demo', 'pure_python')


def config_path(name: str) -> str:
    """Return the path of a config that ships with this package, to inherit from it.

    MMEngine resolves ``'mmdet::…'`` for the packages of OpenMMLab alone. Since it
    evaluates ``_base_`` before it imports anything, a config writes::

        _base_ = __import__('mmdet_deeplake_plugin').config_path(
            'rtmdet/rtmdet_tiny_8xb32-300e_deeplake.py')

    Args:
        name: Path below ``configs/``, such as
            ``'_base_/datasets/deeplake_detection.py'``.

    Raises:
        TypeError: If ``name`` is not a string.
        FileNotFoundError: If no such config ships with this package.
    """
    if not isinstance(name, str):
        raise TypeError(f'name must be a string, got a {type(name).__name__}')
    installed = _PACKAGE / '.mim' / 'configs'  # by a wheel; else in a checkout
    folder = installed if installed.is_dir() else _PACKAGE.parent / 'configs'
    names = [
        file.relative_to(folder).as_posix()
        for file in sorted(folder.rglob('*.py'))
        if file.relative_to(folder).parts[0] not in _NOT_SHIPPED
    ]
    if name not in names:
        raise FileNotFoundError(
            f'mmdet_deeplake_plugin does not ship a config {name!r}'
            f'{did_you_mean(name, names)}; its configs are: {comma_joined(names)}'
        )
    return str(folder / name)
