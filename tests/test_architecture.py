"""The walls of the house: who may import whom, and how large a room may grow."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import ROOT

PACKAGE = 'mmdet_deeplake_plugin'
FOLDER = ROOT / PACKAGE
FILES = sorted(FOLDER.rglob('*.py'))
# From the top down; rooms of one floor do not import each other.
FLOORS = (
    ('tools',),
    ('hooks',),
    ('samplers', 'metrics', 'collate'),
    ('datasets',),
    ('lake',),
    ('evaluation', 'shuffle'),
    ('structures',),
    ('utils', 'version', 'requirements'),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Distributions by the name under which they are imported, where the two differ.
DISTRIBUTIONS = {
    'PIL': 'pillow',
    'cv2': 'opencv-python',
    'faster_coco_eval': 'faster-coco-eval',
}
MOST_LINES, MOST_ENTRIES = 400, 14
# The modules that call MMDetection's own evaluation.
BACKENDS = f'{PACKAGE}.evaluation.backends.mmdet'


def module_of(file: Path) -> str:
    """Dotted name of a module."""
    parts = file.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {module_of(file): file for file in FILES}


def imports_of(file: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, wherever the import stands."""
    module = module_of(file)
    package = module if file.name == '__init__.py' else module.rpartition('.')[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split('.')[: len(package.split('.')) + 1 - node.level]
            prefix = base if node.level else []
            target = '.'.join([*prefix, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f'{target}.{alias.name}'
                yield inner if inner in MODULES else target


GRAPH = {
    module: {name for name in imports_of(file) if name in MODULES} - {module}
    for module, file in MODULES.items()
}


def room_of(module: str) -> str:
    """The room at the root of the package that a module lies in."""
    return module.split('.')[1] if '.' in module else ''


@pytest.mark.parametrize('module', [m for m in GRAPH if room_of(m)])
def test_imports_run_down_only(module):
    """A room imports rooms of lower floors, and itself."""
    for other in GRAPH[module]:
        own, room = room_of(module), room_of(other)
        assert room, f'{module} imports the root of the package'
        assert own == room or FLOOR_OF[own] < FLOOR_OF[room], f'{module} imports {other}'


def test_no_circle():
    """Modules can be put into an order in which each imports earlier ones only."""
    # A package's face is imported with any of its modules, but imports them itself.
    left = {
        module: {other for other in others if not module.startswith(f'{other}.')}
        for module, others in GRAPH.items()
    }
    while left:
        free = {module for module, others in left.items() if not others & left.keys()}
        assert free, f'these import each other in a circle: {sorted(left)}'
        left = {module: others for module, others in left.items() if module not in free}


@pytest.mark.parametrize(
    'file', [f for f in FILES if room_of(module_of(f)) != 'lake'], ids=module_of
)
def test_only_the_lake_knows_deep_lake(file):
    """Others import neither Deep Lake nor what lies below the face of ``lake``."""
    for name in imports_of(file):
        assert name.split('.')[0] != 'deeplake', f'{module_of(file)} imports deeplake'
        assert not name.startswith(f'{PACKAGE}.lake.'), f'{module_of(file)} imports {name}'


@pytest.mark.parametrize('room', ['evaluation', 'shuffle', 'structures', 'utils'])
def test_pure_rooms_know_no_dataset(room):
    """They take arrays; MMDetection's own evaluation stands behind backends."""
    for module, file in MODULES.items():
        if room_of(module) == room and not module.startswith(BACKENDS):
            for name in imports_of(file):
                assert name.split('.')[0] != 'mmdet', f'{module} imports {name}'


@pytest.mark.parametrize('file', FILES, ids=module_of)
def test_no_file_is_too_long(file):
    """One idea a file."""
    lines = len(file.read_text().splitlines())
    assert lines <= MOST_LINES, f'{module_of(file)} has {lines} lines'


def test_a_folder_can_be_taken_in_at_a_glance():
    """At most so many entries at the root and modules in a folder."""
    marks = ('__pycache__', 'py.typed')
    entries = [path for path in FOLDER.iterdir() if path.name not in marks]
    assert len(entries) <= MOST_ENTRIES, sorted(path.name for path in entries)
    for folder in {file.parent for file in FILES} - {FOLDER / 'tools'}:
        modules = [path for path in folder.glob('*.py') if path.name != '__init__.py']
        assert len(modules) <= MOST_ENTRIES, f'{folder.name}: {len(modules)} modules'


def test_what_is_imported_is_declared():
    """No package comes by luck, as a dependency of another one."""
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    declared = config['options']['install_requires']
    declared += ''.join(config['options.extras_require'].values())
    names = {name.lower() for name in re.findall(r'^[\w-]+', declared, re.MULTILINE)}
    imported = {name.split('.')[0] for file in FILES for name in imports_of(file)}
    others = imported - set(sys.stdlib_module_names) - {PACKAGE, '__future__'}
    assert others
    missing = {
        name for name in others if DISTRIBUTIONS.get(name, name).lower() not in names
    }
    assert not missing, f'setup.cfg does not declare {sorted(missing)}'
