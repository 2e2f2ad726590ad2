"""Corrected rows lie elsewhere in the lake: every way of reading finds them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from helpers.chunked import image, write_chunked
from helpers.object_store import ObjectStore
from mmdet.utils import register_all_modules
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader, deeplake_collate
from mmdet_deeplake_plugin.lake import LakeSpec, open_lake
from mmdet_deeplake_plugin.tools.to_coco import to_coco
from mmdet_deeplake_plugin.tools.update import update

register_all_modules()

CHUNKS = [30, 1, 45, 20]
MOVED = (0, 29, 30, 31, 60, 95)  # at both ends of chunks, and inside
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]


@pytest.fixture(scope='module')
def path(tmp_path_factory) -> str:
    """A lake in four chunks, with a branch on which some rows are corrected."""
    folder = tmp_path_factory.mktemp('lakes')
    path = write_chunked(folder / 'lake', CHUNKS)
    to_coco(path, folder / 'out.json')
    content = json.loads((folder / 'out.json').read_text())
    for number in MOVED:
        content['annotations'][number]['bbox'] = [5.0, 6.0, 7.0, 8.0]
    (folder / 'corrected.json').write_text(json.dumps(content))
    update(path, folder / 'corrected.json', 'relabel')
    return path


def _boxes(dataset: DeepLakeDataset, row: int) -> list[float]:
    return dataset.get_data_info(row)['instances'][0]['bbox']


@pytest.mark.parametrize('where', ['disk', 's3'])
def test_boxes_images_and_chunks(where, path, tmp_path):
    """New boxes, the same images in the same chunks, and other rows as they were."""
    keys: dict[str, Any] = {}
    with ObjectStore.start(tmp_path) as store:
        if where == 's3':
            path = store.upload(path, 'lake')
            keys = dict(deeplake_credentials=dict(creds=store.creds))
        spec = (path, keys.get('deeplake_credentials'))
        main, _ = open_lake(LakeSpec.from_config(*spec))
        branch, _ = open_lake(LakeSpec.from_config(f'{path}@relabel', *spec[1:]))
        maps = [each.images.chunks for each in (main, branch)]
        assert maps[0].stored and maps[1].stored
        assert maps[0].bounds.tolist() == maps[1].bounds.tolist()
        dataset = DeepLakeDataset(f'{path}@relabel', **keys)
        for row in range(sum(CHUNKS)):
            moved = row in MOVED
            assert _boxes(dataset, row) == ([5, 6, 12, 14] if moved else [1, 2, 11, 14])
            assert branch.images.read_row(row) == image(row)


@pytest.mark.parametrize('shuffle', ['lanes', 'full'])
def test_batches_of_workers(shuffle, path):
    """Through workers, chunks and shared memory: the samples of a plain loop."""
    dataset = DeepLakeDataset(f'{path}@relabel', pipeline=LOAD)
    sampler = DeepLakeLoader(dataset, shuffle=shuffle, seed=3)
    plain = DeepLakeDataset(f'{path}@relabel', pipeline=LOAD)
    seen = []
    for collate in (deeplake_collate, pseudo_collate):
        loader = DataLoader(
            dataset, batch_size=8, sampler=sampler, num_workers=2, collate_fn=collate,
            multiprocessing_context='fork',
        )
        for batch in loader:
            for pixels, sample in zip(batch['inputs'], batch['data_samples']):
                expected = plain[sample.img_id]
                assert np.array_equal(pixels, expected['inputs'])
                boxes = sample.gt_instances.bboxes.tensor.tolist()
                moved = sample.img_id in MOVED
                assert boxes == [[5, 6, 12, 14] if moved else [1, 2, 11, 14]]
                seen.append(sample.img_id)
    assert sorted(seen) == sorted([*range(sum(CHUNKS))] * 2)
