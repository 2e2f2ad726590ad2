"""The import check says what is missing, too old or too new, and how to get it."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError

import pytest

import mmdet_deeplake_plugin.requirements as requirements

FITTING = {
    'torch': '2.1.0',
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmdet': '3.3.0',
    'deeplake': '4.7.4',
}
HEAD = 'mmdet_deeplake_plugin cannot be used here:\n  '
MMCV = 'see https://mmcv.readthedocs.io/en/latest/get_started/installation.html'


@pytest.fixture()
def installed(monkeypatch):
    """Makes the check believe that other versions are installed (None: missing)."""

    def set_versions(**changes: str | None) -> None:
        versions = {**FITTING, **changes}

        def version(name: str) -> str:
            found = versions.get(name.replace('-', '_'))
            if found is None:
                raise PackageNotFoundError(name)
            return found

        monkeypatch.setattr(requirements, 'version', version)

    return set_versions


def _fails_with(*problems: str) -> None:
    text = HEAD + '\n  '.join(problems)
    with pytest.raises(ImportError, match=f'^{re.escape(text)}$'):
        requirements.check_requirements()


def test_what_is_installed_here_fits():
    """The environment of the tests passes the check."""
    requirements.check_requirements()


@pytest.mark.parametrize(
    'versions',
    [
        {},
        dict(
            torch='1.8.0', mmengine='0.8.0', mmcv='2.0.0', mmdet='3.0.0', deeplake='4.5.0'
        ),
        dict(torch='2.13.0+cpu', mmcv='2.2.0', deeplake='4.99.1'),
        dict(mmengine=None, mmengine_lite='0.10.4'),
        dict(
            mmengine=None,
            onedl_mmengine='0.10.9',
            mmcv=None,
            onedl_mmcv='2.3.0',
            mmdet=None,
            onedl_mmdetection='3.4.0',
        ),
    ],
    ids=['usual', 'lowest', 'newest', 'lite', 'forks'],
)
def test_fitting_versions_pass(versions, installed):
    """Lowest, newest, local builds and the maintained forks are taken."""
    installed(**versions)
    requirements.check_requirements()


@pytest.mark.parametrize(
    ('versions', 'problem'),
    [
        pytest.param(
            dict(torch=None),
            'torch is missing (torch >= 1.8 is needed): see https://pytorch.org for the '
            'build of your machine',
            id='torch-missing',
        ),
        pytest.param(
            dict(mmcv=None),
            f'mmcv is missing (mmcv >= 2.0 is needed): {MMCV}',
            id='mmcv-missing',
        ),
        pytest.param(
            dict(mmcv='1.7.1'),
            f'mmcv 1.7.1 is installed, but mmcv >= 2.0 is needed: {MMCV}',
            id='mmcv-too-old',
        ),
        pytest.param(
            dict(mmengine='0.7.4'),
            'mmengine 0.7.4 is installed, but mmengine >= 0.8, < 1 is needed: '
            'pip install "mmengine>=0.8,<1"',
            id='mmengine-too-old',
        ),
        pytest.param(
            dict(mmdet='2.28.2'),
            'mmdet 2.28.2 is installed, but mmdet >= 3.0, < 4 is needed: '
            'pip install "mmdet>=3.0,<4"',
            id='mmdet-too-old',
        ),
        pytest.param(
            dict(mmdet='4.0.0'),
            'mmdet 4.0.0 is installed, but mmdet >= 3.0, < 4 is needed: '
            'pip install "mmdet>=3.0,<4"',
            id='mmdet-too-new',
        ),
        pytest.param(
            dict(deeplake='3.9.52'),
            'deeplake 3.9.52 is installed, but deeplake >= 4.5, < 5 is needed: '
            'pip install "deeplake>=4.5,<5"',
            id='deeplake-too-old',
        ),
        pytest.param(
            dict(deeplake='5.0'),
            'deeplake 5.0 is installed, but deeplake >= 4.5, < 5 is needed: '
            'pip install "deeplake>=4.5,<5"',
            id='deeplake-too-new',
        ),
        pytest.param(
            dict(mmengine=None, onedl_mmengine='0.7.0'),
            'onedl-mmengine 0.7.0 is installed, but mmengine >= 0.8, < 1 is needed: '
            'pip install "mmengine>=0.8,<1"',
            id='fork-too-old',
        ),
    ],
)
def test_a_version_that_does_not_fit_is_named_with_its_remedy(
    versions, problem, installed
):
    """The error says what was found, what is needed and what to do."""
    installed(**versions)
    _fails_with(problem)


def test_all_problems_are_told_at_once(installed):
    """One error lists everything that is wrong, a line each."""
    installed(mmdet=None, deeplake='3.9.52')
    _fails_with(
        'mmdet is missing (mmdet >= 3.0, < 4 is needed): pip install "mmdet>=3.0,<4"',
        'deeplake 3.9.52 is installed, but deeplake >= 4.5, < 5 is needed: '
        'pip install "deeplake>=4.5,<5"',
    )
