"""What a sample costs, counted: reads, decodes, Python objects, copies.

No test here is timed. What reading from object storage costs stands in ``test_reading``.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from typing import Any

import mmcv
import numpy as np
import pytest
from helpers.chunked import run, write_chunked
from helpers.lakes import row, write_lake
from helpers.object_store import CHUNK_KEYS, ObjectStore
from mmcv.transforms import BaseTransform
from mmdet.utils import register_all_modules
from mmengine.fileio import get
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader, DeepLakeMetric
from mmdet_deeplake_plugin.evaluation import Prediction
from mmdet_deeplake_plugin.evaluation.backends import coco as coco_api
from mmdet_deeplake_plugin.lake import ImageColumn, Lake, LakeSource
from mmdet_deeplake_plugin.lake.columns import row_reader
from mmdet_deeplake_plugin.metrics.metric import FORMATS
from mmdet_deeplake_plugin.shuffle.lanes import ChunkIndex, Lanes
from mmdet_deeplake_plugin.shuffle.repeats import sample_counts

register_all_modules()

LOADERS = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
PACK = dict(type='PackDetInputs')
PLAIN = [
    *LOADERS,
    dict(type='Resize', scale=(80, 50), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    PACK,
]
# RTMDet's: other images of a mosaic come from samples that were decoded before.
MOSAIC = [
    *LOADERS,
    dict(type='CachedMosaic', img_scale=(64, 64), max_cached_images=8, random_pop=False),
    dict(type='CachedMixUp', img_scale=(64, 64), max_cached_images=4, random_pop=False),
    PACK,
]


def counted(monkeypatch: Any, owner: Any, name: str) -> Counter[str]:
    """Counts the calls of a function from now on."""
    calls: Counter[str] = Counter()
    inner = getattr(owner, name)

    def count(*args: Any, **keys: Any) -> Any:
        calls[name] += 1
        return inner(*args, **keys)

    monkeypatch.setattr(owner, name, count)
    return calls


@pytest.fixture
def lake_of(tmp_path) -> Callable[[int], str]:
    """Path of a lake of so many rows, of seven boxes each."""

    def of(count: int) -> str:
        boxes = [(i, 2 * i, 10, 12) for i in range(7)]
        rows = [row(number, boxes) for number in range(count)]
        return write_lake(tmp_path / f'lake_{count}', rows)

    return of


@pytest.mark.parametrize('pipeline', [PLAIN, MOSAIC], ids=['resize', 'mosaic'])
@pytest.mark.parametrize('shuffle', [True, False])
def test_a_sample_costs_one_read_and_one_decode(pipeline, shuffle, lake_of, monkeypatch):
    """On a local disk each image is read once, without Deep Lake, and decoded once."""
    dataset = DeepLakeDataset(lake_of(40), pipeline=pipeline)
    reads = counted(monkeypatch, os, 'pread')
    decodes = counted(monkeypatch, mmcv, 'imfrombytes')
    by_deep_lake = counted(monkeypatch, LakeSource, 'read')
    seen = run(dataset, DeepLakeLoader(dataset, shuffle=shuffle, seed=0))
    assert len(seen) == 40
    assert (reads['pread'], decodes['imfrombytes']) == (40, 40)
    assert not by_deep_lake
    totals = dataset.reader.counters.totals()
    assert totals['requests'] == 40 and totals['bytes'] == totals['needed']


def test_images_that_no_transform_looks_at_are_not_read(lake_of, monkeypatch):
    """A pipeline of annotations alone costs no image, batch or not."""
    dataset = DeepLakeDataset(lake_of(8), pipeline=[LOADERS[1]])
    reads = counted(monkeypatch, os, 'pread')
    assert len(dataset.__getitems__([0, 1, 2])) == 3
    assert not reads and not dataset.reader.counters.totals()['requests']


def test_an_image_of_a_local_lake_takes_few_calls(lake_of):
    """41 functions of Python for its bytes, those of MMEngine's file client included."""
    dataset = DeepLakeDataset(lake_of(30))
    paths = [dataset.get_data_info(index)['img_path'] for index in range(30)]
    for path in paths:
        get(path)
    calls: Counter[str] = Counter()
    sys.setprofile(lambda frame, event, arg: calls.update([event]))
    for path in paths:
        get(path)
    sys.setprofile(None)
    assert calls['call'] / 30 <= 45


def test_opening_reads_each_column_once_and_no_image(lake_of, monkeypatch):
    """As many reads for 20 rows as for 400: one a column."""
    reads = {}
    for count in (20, 400):
        path = lake_of(count)
        calls = counted(monkeypatch, LakeSource, 'values')
        images = counted(monkeypatch, ImageColumn, 'read_row')
        dataset = DeepLakeDataset(path, pipeline=PLAIN)
        DeepLakeLoader(dataset, seed=0)
        reads[count] = calls['values']
        assert not images
        monkeypatch.undo()
    roles = ('gt_bboxes', 'gt_labels', 'img_id', 'file_name', 'width', 'height')
    assert reads[20] == reads[400] == len(roles)


def test_opening_on_object_storage_asks_for_no_more_with_more_rows(tmp_path):
    """Requests to open a lake grow by its chunks at most, not by its rows."""
    asked = {}
    with ObjectStore.start(tmp_path) as store:
        for name, size in (('few', 10), ('many', 200)):
            path = write_chunked(tmp_path / name, [size] * 4, image_size=20_000)
            url = store.upload(path, name)
            store.reset_log()
            creds = dict(creds=store.creds)
            dataset = DeepLakeDataset(url, deeplake_credentials=creds)
            DeepLakeLoader(dataset, seed=0)
            asked[name] = store.totals(CHUNK_KEYS).requests
            total = store.totals(rf'^{name}/')
            assert total.bytes < 4 * size * 20_000  # less than its images
    assert asked['many'] <= asked['few'] + 2


def test_each_annotation_column_is_read_once_from_object_storage(tmp_path, monkeypatch):
    """Their reads begin together, and none is left over when workers fork."""
    lake = write_chunked(tmp_path / 'lake', [10] * 4)
    asked: Counter[str] = Counter()
    values = LakeSource.values

    def counted_values(self: LakeSource, column: str, *args: Any, **keys: Any) -> Any:
        asked[column] += 1
        return values(self, column, *args, **keys)

    monkeypatch.setattr(LakeSource, 'values', counted_values)
    with ObjectStore.start(tmp_path) as store:
        creds = dict(creds=store.creds)
        pipeline = [dict(type='LoadAnnotations', with_bbox=True)]
        url = store.upload(lake, 'lake')
        dataset = DeepLakeDataset(url, deeplake_credentials=creds, pipeline=pipeline)
        assert len(dataset[3]['gt_bboxes']) == 1
        local = DeepLakeDataset(lake)
        for index in range(40):
            left, right = dataset.get_data_info(index), local.get_data_info(index)
            assert list(left['instances']) == list(right['instances'])
            assert left['img_id'] == right['img_id'] and left['width'] == right['width']
    columns = ('boxes', 'categories', 'image_id', 'file_name', 'width', 'height')
    assert asked == {column: 2 for column in columns}  # of both datasets
    assert not [t for t in threading.enumerate() if t.name == 'deeplake-read']


def test_annotations_are_no_python_objects(lake_of):
    """Ten times the rows leave as many objects behind."""
    objects = {}
    for count in (30, 300):
        path = lake_of(count)
        DeepLakeDataset(path, pipeline=PLAIN)  # fills caches of modules
        gc.collect()
        before = len(gc.get_objects())
        dataset = DeepLakeDataset(path, pipeline=PLAIN)
        gc.collect()
        objects[count] = len(gc.get_objects()) - before
        assert len(dataset) == count
    assert objects[300] <= objects[30] + 20


def test_annotations_take_few_bytes(lake_of):
    """A box takes 45 bytes: four doubles, label, flag, place; a row 70 and its name."""
    few, many = (DeepLakeDataset(lake_of(count))._samples for count in (30, 300))
    per_row = (many.nbytes - few.nbytes) / 270
    assert per_row <= 7 * 45 + 70 + len('000000.jpg')


def test_columns_that_are_joined_at_once_are_what_each_row_holds(tmp_path, monkeypatch):
    """With rows without boxes among them: the same table as by looking at each row."""
    plain = [(1, 2, 10, 12), (3, 4, 5, 6)]
    rows = [row(n, plain[: n % 3]) for n in range(12)]
    path = write_lake(tmp_path / 'gaps', rows)
    tables = []
    for joined in (row_reader._joined, lambda values: None):
        monkeypatch.setattr(row_reader, '_joined', joined)
        tables.append(DeepLakeDataset(path).lake.annotations(None))
    quick, slow = tables
    assert quick.offsets.tolist()[:5] == [0, 0, 1, 3, 3]
    for name in ('offsets', 'boxes', 'labels', 'ignore_flags', 'areas', 'widths'):
        ours, theirs = getattr(quick, name), getattr(slow, name)
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs), name


class Kept(BaseTransform):
    """Ends a pipeline with the very object that the file backend gave."""

    def transform(self, results: dict) -> dict:
        """The bytes as ``content``."""
        return {'content': get(results['img_path'])}


@pytest.mark.parametrize('shuffle', ['lanes', 'full'])
def test_bytes_of_an_image_are_not_copied_again(shuffle, tmp_path, monkeypatch):
    """What a chunk or list was read into is what the pipeline gets: the same object."""
    given: set[int] = set()
    kept: list[Any] = []
    inner = ImageColumn.read_rows

    def read_rows(self: Any, rows: Any) -> list[bytes]:
        found = inner(self, rows)
        kept.append(found)
        given.update(map(id, found))
        return found

    monkeypatch.setattr(ImageColumn, 'read_rows', read_rows)
    path = write_chunked(tmp_path / 'lake', [12, 20, 8])
    dataset = DeepLakeDataset(path, pipeline=[Kept()])
    sampler = DeepLakeLoader(dataset, shuffle, seed=0, lanes=4, loader_type='c++')
    contents = [seen['content'] for seen in run(dataset, sampler)]
    assert len(contents) == 40
    assert {id(content) for content in contents} <= given


def test_copies_of_a_dataset_share_annotations(lake_of):
    """Deep copies, subsets and the wrappers' copies hold the same arrays."""
    dataset = DeepLakeDataset(lake_of(30), pipeline=PLAIN)
    for other in (deepcopy(dataset), dataset.get_subset([1, 2, 3])):
        assert other._samples is dataset._samples
        assert other.reader is dataset.reader


def test_a_pickle_holds_annotations_and_little_else(lake_of):
    """What a worker that is spawned is sent grows by the arrays, and holds no image."""
    sizes = {}
    for count in (30, 300):
        dataset = DeepLakeDataset(lake_of(count), pipeline=PLAIN)
        dataset[0]
        sizes[count] = len(pickle.dumps(dataset)), dataset._samples.nbytes
    grown, arrays = np.subtract(sizes[300], sizes[30])
    assert grown <= 1.1 * arrays + 8 * 300  # and the rows that are kept


def test_ground_truth_is_read_once_for_all_evaluations(lake_of, monkeypatch):
    """A validation after each epoch reads the lake in the first only."""
    torch = pytest.importorskip('torch')
    dataset = DeepLakeDataset(lake_of(6), test_mode=True)
    reads = counted(monkeypatch, Lake, 'annotations')
    metric = DeepLakeMetric(metric='bbox')
    metric.dataset_meta = dataset.metainfo
    for _ in range(3):
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            boxes = torch.tensor([each['bbox'] for each in info['instances']])
            labels = torch.tensor([each['bbox_label'] for each in info['instances']])
            found = dict(bboxes=boxes, labels=labels, scores=torch.ones(len(labels)))
            sample = {'img_path': info['img_path'], 'pred_instances': found}
            metric.process({}, [sample])
        assert metric.evaluate(len(dataset))['coco/bbox_mAP'] == pytest.approx(1)
    assert reads['annotations'] == 1


def test_masks_are_measured_some_hundred_at_a_time(monkeypatch):
    """1,000 detections with masks cost four calls, not a thousand."""
    mask = coco_mask.encode(np.ones((4, 5), np.uint8, order='F'))
    calls = counted(monkeypatch, coco_mask, 'area')
    assert coco_api.mask_areas([mask] * 1000).tolist() == [20] * 1000
    assert calls['area'] == 4


@pytest.mark.parametrize('fails', [False, True])
def test_the_collector_waits_for_an_evaluation(fails, lake_of, monkeypatch):
    """And goes on after it, also if it fails."""
    dataset = DeepLakeDataset(lake_of(2), test_mode=True)
    enabled = []

    def evaluate(*args: Any, **keys: Any) -> dict[str, float]:
        enabled.append(gc.isenabled())
        if fails:
            raise ValueError('as it does')
        return {}

    monkeypatch.setattr(FORMATS['COCO'], 'evaluate', evaluate)
    metric = DeepLakeMetric()
    metric.dataset_meta = dataset.metainfo
    path = dataset.get_data_info(0)['img_path']
    empty = np.zeros((0, 4), np.float32)
    prediction = Prediction(empty, empty[:, 0], np.zeros(0, np.int64))
    with pytest.raises(ValueError, match='as it does') if fails else nullcontext():
        metric.compute_metrics([(path, prediction)])
    assert enabled == [False] and gc.isenabled()


def test_a_sample_is_told_in_few_objects(lake_of):
    """A dict for the sample, one for each box, and a list for its four numbers."""
    dataset = DeepLakeDataset(lake_of(10), pipeline=PLAIN)
    info = dataset.get_data_info(3)
    gc.collect()
    tracked = [info, info['instances'], *info['instances']]
    tracked += [each['bbox'] for each in info['instances']]
    assert len(info['instances']) == 7
    reached = {id(each) for each in tracked}
    front = [info]
    found = set()
    while front:
        each = front.pop()
        if id(each) not in found and isinstance(each, (dict, list, tuple)):
            found.add(id(each))
            front.extend(gc.get_referents(each))
    assert found == reached


@pytest.mark.parametrize('in_order', [True, False], ids=['in order', 'shuffled view'])
def test_an_order_with_weights_takes_few_bytes_a_row(in_order):
    """Weights (8), counts (4), repeated rows (4), the order (4), and not all at once."""
    count = 1_500_000
    chunks = np.arange(count, dtype=np.int64) // 50
    if not in_order:
        chunks = np.random.default_rng(0).permutation(chunks)
    index = ChunkIndex.from_chunks(chunks, count // 50)
    weights = np.random.default_rng(0).random(count)
    tracemalloc.start()
    counts = sample_counts(weights, count, 0, 0)
    repeated = index.repeated(counts)
    del counts
    order = Lanes(repeated, 64, 1, 0, 0).rank_slice(0, 1, count)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(order) == count and order.dtype == np.int32
    # Beside the weights, with a block of rows and a lane at work.
    assert peak / count <= 4 + 4 + 6
