"""The wheel is whole, says what is missing around it, and trains in an empty folder.

It is built from a source distribution, so that this one is whole too, and installed into
environments of its own: one with what the wheel requires alone, and one that also sees
OpenMMLab's packages. Nothing here imports the checkout.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import mmdet
import pytest
from helpers import ROOT
from helpers.lakes import write_lake
from packaging.requirements import Requirement

PACKAGE = 'mmdet_deeplake_plugin'
SOURCES = ('setup.py', 'setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE')
TRAIN = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'train.py'
CLASSIC = 'rtmdet/rtmdet_tiny_8xb32-300e_deeplake.py'

# What a user changes in both kinds of config: the model learns three classes for two
# iterations, without a download.
CHANGES = """
changes = dict(
    model=dict(backbone=dict(init_cfg=None), bbox_head=dict(num_classes=3)),
    train_cfg=dict(max_epochs=1, val_interval=1),
    train_dataloader=dict(
        batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False,
        dataset=dict(deeplake_path='{lake}', indices=4)),
    val_dataloader=dict(
        batch_size=2, num_workers=0, persistent_workers=False,
        dataset=dict(deeplake_path='{lake}', indices=2)),
    default_hooks=dict(logger=dict(interval=1)))
randomness = dict(seed=0)
"""
CONFIGS = {
    'classic': f"""
_base_ = __import__('{PACKAGE}').config_path('{CLASSIC}')
{CHANGES}
globals().update(changes)
test_dataloader = val_dataloader
del changes
""",
    'pure_python': f"""
from mmengine.config import read_base

with read_base():
    from {PACKAGE}.configs.rtmdet_tiny_8xb32_300e_deeplake import *
{CHANGES}
for key, value in changes.items():
    globals()[key].update(value)
del changes, key, value
""",
}


# ------------------------------------------------------------------------ environments


def run(command: list[object], folder: Path, fails: bool = False) -> str:
    """What a command writes; it runs in a folder, without a path to the checkout."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={
            **{name: os.environ[name] for name in os.environ if name != 'PYTHONPATH'},
            'CUDA_VISIBLE_DEVICES': '-1',
            'OMP_NUM_THREADS': '1',
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert bool(done.returncode) == fails, done.stdout[-5000:]
    return done.stdout


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a source distribution of a copy of the checkout."""
    folder = tmp_path_factory.mktemp('built')
    copy = folder / 'copy'
    copy.mkdir()
    for name in SOURCES:
        shutil.copy(ROOT / name, copy)
    ignored = shutil.ignore_patterns('__pycache__', '*.pyc')
    for name in (PACKAGE, 'configs'):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    build = f"import setuptools.build_meta as b; b.build_sdist('{folder}')"
    run([sys.executable, '-c', build], copy)
    shutil.rmtree(copy)
    (source,) = folder.glob('*.tar.gz')
    pip = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-index']
    run([*pip, '--no-build-isolation', '-w', folder, source], folder)
    (found,) = folder.glob('*.whl')
    return found


def environment(folder: Path, wheel: Path) -> Path:
    """Makes an environment with nothing but the wheel; its ``site-packages``."""
    run([sys.executable, '-m', 'venv', '--without-pip', folder], folder.parent)
    pip = [sys.executable, '-m', 'pip', '--python', folder / 'bin' / 'python', 'install']
    run([*pip, '--no-deps', '--no-index', '--no-compile', wheel], folder.parent)
    (packages,) = folder.glob('lib/python*/site-packages')
    return packages


def required(what: Distribution, found: dict[str, Distribution]) -> None:
    """Finds all that a distribution requires, and they in turn, without extras."""
    for text in what.requires or []:
        requirement = Requirement(text)
        name = requirement.name.lower().replace('_', '-')
        applies = not requirement.marker or requirement.marker.evaluate({'extra': ''})
        if applies and name not in found:
            found[name] = distribution(name)
            required(found[name], found)


@pytest.fixture(scope='module')
def bare(wheel, tmp_path_factory) -> Path:
    """Python of an environment with the wheel and what it requires, by links."""
    folder = tmp_path_factory.mktemp('bare') / 'venv'
    packages = environment(folder, wheel)
    (installed,) = distributions(path=[str(packages)])
    needed: dict[str, Distribution] = {}
    required(installed, needed)
    assert {'deeplake', 'numpy', 'packaging'} <= needed.keys()
    for each in needed.values():
        for name in {file.parts[0] for file in each.files or []} - {'..'}:
            if not (packages / name).exists():
                (packages / name).symlink_to(each.locate_file(name))
    return folder / 'bin' / 'python'


@pytest.fixture(scope='module')
def whole(wheel, tmp_path_factory) -> Path:
    """Python of an environment with the wheel that sees the packages of this one."""
    folder = tmp_path_factory.mktemp('whole') / 'venv'
    packages = environment(folder, wheel)
    # A path alone: what is installed there in editable mode stays out.
    (packages / 'seen.pth').write_text(sysconfig.get_path('purelib'))
    return folder / 'bin' / 'python'


@pytest.fixture(scope='module')
def lake(tmp_path_factory) -> str:
    """Six images with a box each."""
    return write_lake(tmp_path_factory.mktemp('lake') / 'lake')


# ---------------------------------------------------------------------------- the files


def files_below(folder: Path) -> Iterator[str]:
    """Paths of the Python files below a folder."""
    yield from (file.relative_to(folder).as_posix() for file in folder.rglob('*.py'))


def test_the_wheel_holds_the_package_and_its_configs(wheel):
    """All modules and configs, the mark of types and the licence, and nothing else."""
    expected = {f'{PACKAGE}/{name}' for name in files_below(ROOT / PACKAGE)}
    expected.add(f'{PACKAGE}/py.typed')
    page = f'{PACKAGE}/tools/triage_page/page'
    expected |= {f'{page}/{file.name}' for file in (ROOT / page).iterdir()}
    for name in files_below(ROOT / 'configs'):
        folder, _, rest = name.partition('/')
        if folder == 'pure_python':
            expected.add(f'{PACKAGE}/configs/{rest}')
        elif folder != 'demo':
            expected.add(f'{PACKAGE}/.mim/configs/{name}')
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    found = {name for name in names if '.dist-info/' not in name}
    assert found == expected
    assert any(re.search(r'\.dist-info/(licenses/)?LICENSE$', name) for name in names)


# ------------------------------------------------------------------- without OpenMMLab

MISSING = re.compile(
    r'ImportError: mmdet_deeplake_plugin cannot be used here:\n'
    r'  torch is missing \(torch >= .* is needed\): see https://pytorch.org for .*\n'
    r'  mmengine is missing \(mmengine >= .* is needed\): pip install "mmengine.*"\n'
    r'  mmcv is missing \(mmcv >= .* is needed\): see https://mmcv.readthedocs.io/.*\n'
    r'  mmdet is missing \(mmdet >= .* is needed\): pip install "mmdet.*"\n$'
)
COMMANDS = {
    'import': ['-c', f'import {PACKAGE}'],
    'a tool': ['-m', f'{PACKAGE}.tools.inspect', 'some/lake'],
}


@pytest.mark.parametrize('command', COMMANDS.values(), ids=COMMANDS)
def test_without_openmmlab_the_import_says_what_to_install(command, bare, tmp_path):
    """All that is missing, a line each; what the wheel requires is there."""
    assert MISSING.search(run([bare, *command], tmp_path, fails=True))


# ---------------------------------------------------------------------- with OpenMMLab

COMPARE = """
import json, sys
from pathlib import Path
from mmengine.config import Config, read_base
import mmdet_deeplake_plugin
ours, others = Path(mmdet_deeplake_plugin.__file__).parent, Path(sys.argv[1])

def plain(value):
    # As a classic config names it, which knows no types.
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return getattr(value, '__name__', value)

def inherited(text):
    Path('inherits.py').write_text(text)
    config = Config.fromfile('inherits.py')
    return {key: plain(config[key]) for key in config}

for name in json.loads(sys.argv[2]):
    path = Path(mmdet_deeplake_plugin.config_path(name))
    assert ours in path.parents and path.read_bytes() == (others / name).read_bytes()
    if name.startswith('_base_'):  # the others take seconds: MMEngine looks for bases
        text = f'_base_ = __import__("mmdet_deeplake_plugin").config_path("{name}")'
        left, right = inherited(text), Config.fromfile(others / name).to_dict()
        assert left == plain(right), name
for name in ('deeplake_detection', 'deeplake_instance'):
    head = 'from mmengine.config import read_base\\nwith read_base():\\n    '
    left = inherited(f'{head}from mmdet_deeplake_plugin.configs.{name} import *')
    right = plain(Config.fromfile(others / f'_base_/datasets/{name}.py').to_dict())
    right.pop('custom_imports')
    for key in right:
        assert left[key] == right[key], (name, key)
print('all equal')
"""


def test_every_config_can_be_inherited_from(whole, tmp_path):
    """By its path or as pure Python, each is what it is in the checkout."""
    names = [
        name
        for name in files_below(ROOT / 'configs')
        if not name.startswith(('demo/', 'pure_python/'))
    ]
    assert len(names) >= 10
    output = run(
        [whole, '-c', COMPARE, ROOT / 'configs', json.dumps(names)], tmp_path
    )
    assert output.endswith('all equal\n'), output


@pytest.fixture(scope='module')
def losses(whole, lake, tmp_path_factory) -> dict[str, list[float]]:
    """Trains by the stock script, in an empty folder each: kind of config -> losses."""
    found = {}
    for kind, text in CONFIGS.items():
        folder = tmp_path_factory.mktemp(kind)
        (folder / 'config.py').write_text(text.replace('{lake}', lake))
        run([whole, TRAIN, 'config.py', '--work-dir', 'out'], folder)
        (log,) = folder.glob('out/*/vis_data/scalars.json')
        entries = [json.loads(line) for line in log.read_text().splitlines()]
        found[kind] = [entry['loss'] for entry in entries if 'loss' in entry]
        assert any('coco/bbox_mAP' in entry for entry in entries)
    return found


def test_stock_train_runs_in_an_empty_folder(losses):
    """A config that inherits from the wheel's trains and validates on a lake."""
    assert len(set(losses['classic'])) == 2


def test_a_pure_python_config_trains_the_same(losses):
    """Loss for loss."""
    assert losses['pure_python'] == losses['classic']
