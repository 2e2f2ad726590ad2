"""Checks at import that the packages around this one are there and fit.

MMDetection, MMEngine, MMCV and PyTorch are not installed with this package:
users choose their builds (CUDA or not) themselves.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from packaging.version import Version

_INSTALL_MMCV = 'https://mmcv.readthedocs.io/en/latest/get_started/installation.html'

# distributions (the maintained forks keep the import names), from, below, remedy
REQUIREMENTS = (
    (('torch',), '1.8', None, 'see https://pytorch.org for the build of your machine'),
    (
        ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
        '0.8',
        '1',
        'pip install "mmengine>=0.8,<1"',
    ),
    (('mmcv', 'onedl-mmcv'), '2.0', None, f'see {_INSTALL_MMCV}'),
    (('mmdet', 'onedl-mmdetection'), '3.0', '4', 'pip install "mmdet>=3.0,<4"'),
    (('deeplake',), '4.5', '5', 'pip install "deeplake>=4.5,<5"'),
)


def check_requirements() -> None:
    """Refuses to go on without the packages that the plugin builds on.

    Raises:
        ImportError: If one is missing, too old or too new; names all that are,
            and how to get them.
    """
    problems = [
        problem
        for names, lowest, below, remedy in REQUIREMENTS
        if (problem := _problem(names, lowest, below, remedy))
    ]
    if problems:
        raise ImportError(
            'mmdet_deeplake_plugin cannot be used here:\n  ' + '\n  '.join(problems)
        )


def _problem(
    names: tuple[str, ...], lowest: str, below: str | None, remedy: str
) -> str | None:
    wanted = f'{names[0]} >= {lowest}' + (f', < {below}' if below else '')
    for name in names:
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        fits = Version(found) >= Version(lowest)
        if fits and (below is None or Version(found) < Version(below)):
            return None
        return f'{name} {found} is installed, but {wanted} is needed: {remedy}'
    return f'{names[0]} is missing ({wanted} is needed): {remedy}'
