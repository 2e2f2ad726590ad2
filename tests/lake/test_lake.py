"""The key by which stored predictions name a lake."""

from __future__ import annotations

from mmdet_deeplake_plugin.lake import LakeSource, LakeSpec
from mmdet_deeplake_plugin.lake.columns.mapping import Columns
from mmdet_deeplake_plugin.lake.connection.spec import Pin
from mmdet_deeplake_plugin.lake.lake import _key


def test_the_key_of_a_lake_never_changes():
    """Predictions that are stored on disk contain it."""
    source = LakeSource(LakeSpec(path='/data/lake'), Pin('main', 'v1', '', False, 3))
    columns = Columns((('img', 'images'),), 'xyxy', ('a',), (0,), 'coco')
    assert _key(source, columns) == '7dc97866b156981d'
    assert _key(source, columns, 'c0ffee') == '8bb7a51a48f902f3'
