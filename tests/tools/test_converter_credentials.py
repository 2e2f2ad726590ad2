"""Every converter takes the credentials of its destination, by reference."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from mmdet_deeplake_plugin import tools

# Name -> arguments before and behind the destination.
CONVERTERS: dict[str, tuple[list[str], list[str]]] = {
    'from_coco': (['ann.json', 'images'], []),
    'from_voc': (['VOC2007', 'test'], []),
    'from_crowdhuman': (['ann.odgt', 'images'], []),
    'from_openimages': (
        ['boxes.csv', 'images'],
        ['--label-file', 'classes.csv', '--hierarchy-file', 'tree.json'],
    ),
    'from_odvg': (['ann.json', 'images'], []),
    'from_grounding': (['mdetr', 'ann.json', 'images'], []),
    'from_mot': (['MOT17/train'], []),
    'from_youtube_vis': (['train.json', 'images'], []),
    'from_reid': (['train.txt', 'images'], []),
}


def test_no_converter_is_forgotten():
    """One that is added takes them too."""
    (folder,) = map(Path, tools.__path__)
    assert {file.stem for file in folder.glob('from_*.py')} == CONVERTERS.keys()


@pytest.mark.parametrize('name', CONVERTERS)
def test_a_reference_that_is_not_set_is_named(name, capsys, monkeypatch):
    """Before anything is read: the option reaches what opens the storage."""
    monkeypatch.delenv('KEYS_OF_THE_LAKE', raising=False)
    module = importlib.import_module(f'mmdet_deeplake_plugin.tools.{name}')
    before, behind = CONVERTERS[name]
    creds = ['--creds', 'env:KEYS_OF_THE_LAKE']
    assert module.main([*before, 's3://bucket/lake', *behind, *creds]) == 2
    assert 'KEYS_OF_THE_LAKE' in capsys.readouterr().err
