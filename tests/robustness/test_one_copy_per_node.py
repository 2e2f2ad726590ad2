"""Ranks of a node hold one copy of what a lake says of its images, and the same samples."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from helpers.chunked import write_chunked
from helpers.lakes import CLASSES, TYPES, box_type, open_lake, row, write_lake
from helpers.object_store import CHUNK_KEYS, ObjectStore
from helpers.ranks import files_of, hear, ranks, run_ranks, tell
from helpers.samples import assert_equal
from mmdet.utils import register_all_modules
from mmengine.dist import barrier, get_rank

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.lake import LakeSource
from mmdet_deeplake_plugin.structures.masks import pack_segmentations

register_all_modules()

ROWS = 24
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs'),
]


@pytest.fixture(scope='module')
def rich(tmp_path_factory) -> str:
    """A lake with boxes of heads, flags, masks and captions; some rows have no box."""
    square = [1.0, 2.0, 9.0, 2.0, 9.0, 11.5]
    rows = []
    for number in range(ROWS):
        boxes = [(i + 0.5, 2, 10 + i, 12) for i in range(number % 4)]
        head = [(i + 1.0, 3, i + 5.0, 8) for i in range(number % 4)]
        rows.append(
            {
                **row(number, boxes),
                'image_id': f'{number:04d}',
                'hbox': np.array(head, np.float64).reshape(-1, 4),
                'segmentation': pack_segmentations([[square]] * (number % 4)),
                'caption': f'Ein Käuzchen im Wald, zum {number}. Mal.',
            }
        )
    columns = {
        'image_id': TYPES['text'],
        'hbox': box_type('ltrb', 'pixel'),
        'segmentation': TYPES['text'],
        'caption': TYPES['text'],
    }
    return write_lake(tmp_path_factory.mktemp('lakes') / 'rich', rows, columns)


@pytest.fixture(scope='module')
def chunked(tmp_path_factory) -> str:
    """A lake of 120 rows in 12 chunks."""
    return write_chunked(tmp_path_factory.mktemp('lakes') / 'chunked', [10] * 12)


def cases(path: str, panoptic: str) -> list[dict[str, Any]]:
    """Keys of datasets that a training may build one after the other."""
    return [
        dict(deeplake_path=path, pipeline=LOAD, deeplake_tensors=dict(hbox='hbox')),
        dict(deeplake_path=path, pipeline=LOAD, test_mode=True),
        dict(deeplake_path=path, filter_cfg=dict(filter_empty_gt=True)),
        dict(deeplake_path=path, indices=[5, 3, 20]),
        dict(deeplake_path=path, metainfo=dict(classes=('owl', 'cat')), lazy_init=True),
        dict(deeplake_path=path, deeplake_query='SELECT * ORDER BY RANDOM() LIMIT 9'),
        dict(deeplake_path=path, on_broken_image='skip'),
        dict(deeplake_path=panoptic),
    ]


def look(dataset: DeepLakeDataset) -> list[dict[str, Any]]:
    """What the pipeline gets for each sample; lazy lists are filled."""
    infos = map(dataset.get_data_info, range(len(dataset)))
    return [pickle.loads(pickle.dumps(info)) for info in infos]


def arrays_of(dataset: DeepLakeDataset) -> list[Any]:
    """Large arrays of a dataset."""
    samples = dataset._samples
    arrays = [samples.boxes, samples.rows, samples.names._bytes]
    if dataset._indices is None:  # else it is a part of them
        arrays.append(dataset._positions)
    if samples.segments is not None:
        arrays.append(samples.segments.ids)
    infos = dataset._infos
    for texts in (infos.masks and infos.masks.packed, *_texts(infos)):
        if texts is not None:
            arrays.append(texts._bytes)
    if infos.extras is not None:
        arrays.extend(infos.extras.values.values())
    return arrays


def _texts(infos: Any) -> Iterator[Any]:
    yield from infos._texts._texts.values() if infos._texts else ()


def build(keys: list[dict[str, Any]]) -> list[tuple[list[dict], list[set[str]]]]:
    datasets = [DeepLakeDataset(**each) for each in keys]
    return [(look(each), list(map(files_of, arrays_of(each)))) for each in datasets]


@pytest.mark.parametrize('count', [2, 4])
def test_samples_of_all_ranks_are_those_of_one_rank(count, rich, panoptic_lake, tmp_path):
    """Boxes, masks, texts, heads, segments and rows; each array is one file."""
    keys = cases(rich, panoptic_lake)
    first, *others = run_ranks(count, build, tmp_path, keys)
    alone = build(keys)
    for number, (samples, files) in enumerate(first):
        for other in others:
            assert_equal(other[number][0], samples)
            assert other[number][1] == files
        assert all(len(each) == 1 for each in files)
        if 'RANDOM' not in keys[number].get('deeplake_query', ''):
            assert_equal(samples, alone[number][0])
            assert not any(alone[number][1])


def count_reads(keys: list[dict[str, Any]]) -> Counter[str]:
    asked: Counter[str] = Counter()
    values = LakeSource.values

    def counted(self: LakeSource, column: str, *args: Any, **options: Any) -> Any:
        asked[column] += 1
        return values(self, column, *args, **options)

    LakeSource.values = counted
    for each in keys:
        DeepLakeDataset(**each).full_init()
    return asked


def test_one_rank_of_four_reads_the_columns(rich, panoptic_lake, tmp_path):
    """Each as often as a rank by itself would; the others read none."""
    keys = cases(rich, panoptic_lake)
    (alone,) = run_ranks(1, count_reads, tmp_path, keys)
    first, *others = run_ranks(4, count_reads, tmp_path, keys)
    assert {'boxes', 'hbox', 'segmentation', 'caption', 'image_id'} <= first.keys()
    assert first == alone
    assert not any(others)


def open_with(url: str, creds: dict[str, str]) -> int:
    dataset = DeepLakeDataset(url, deeplake_credentials=dict(creds=creds))
    return len(DeepLakeLoader(dataset, seed=0))


def test_object_storage_is_asked_for_columns_once_a_node(chunked, tmp_path):
    """Three ranks ask for chunks of annotations as often as one, counted by the store."""
    asked = {}
    with ObjectStore.start(tmp_path) as store:
        url = store.upload(chunked, 'lake')
        for count in (1, 3):
            store.reset_log()
            assert run_ranks(count, open_with, tmp_path, url, store.creds) == [
                120 // count
            ] * count
            asked[count] = Counter(each.key for each in store.requests(CHUNK_KEYS))
    once = {key for key, times in asked[1].items() if times == 1}
    assert len(once) == 6 * 12  # columns and chunks
    assert {key: asked[3][key] for key in once} == dict.fromkeys(once, 1)
    assert len(asked[1].keys() - once) == 1  # each rank tries to read an image
    assert asked[3].keys() == asked[1].keys()


# --------------------------------------------------------------------- what still works


def spoil(value: Any) -> None:
    """Changes a sample in place, wherever that is possible."""
    if isinstance(value, np.ndarray):
        value[...] = 0
    elif isinstance(value, dict):
        for each in value.values():
            spoil(each)
        value.clear()
    elif isinstance(value, list):
        for each in value:
            spoil(each)
        value.clear()


def change_on_first(keys: dict[str, Any]) -> Any:
    dataset = DeepLakeDataset(**keys)
    before = look(dataset)
    barrier()
    if get_rank() == 0:
        for index in range(len(dataset)):
            spoil(dataset.get_data_info(index))
        for values in (dataset.rows_of(), *dataset.sizes_of_samples()):
            spoil(values)
        for values in dataset.labels_of_samples():
            spoil(values)
    barrier()
    return before, look(dataset)


@pytest.mark.parametrize('which', [0, -1], ids=['boxes', 'panoptic'])
def test_a_change_of_a_sample_reaches_no_other(which, rich, panoptic_lake, tmp_path):
    """Neither another rank, nor the rank that made it."""
    keys = cases(rich, panoptic_lake)[which]
    for before, after in run_ranks(2, change_on_first, tmp_path, keys):
        assert_equal(after, before)


def copies(path: str) -> list[list[Any]]:
    dataset = DeepLakeDataset(path)
    made = [
        dataset.get_subset([4, 2, 9]),
        dataset.get_subset(-3),
        deepcopy(dataset),
        pickle.loads(pickle.dumps(dataset)),
    ]
    dataset.get_subset_(2)
    return [look(each) for each in (*made, dataset)]


def test_subsets_copies_and_pickles_are_as_ever(rich, tmp_path):
    """On each of two ranks: what they are on one."""
    for found in run_ranks(2, copies, tmp_path, rich):
        assert_equal(found, copies(rich))


def with_classes_of_rank(path: str) -> list[Any]:
    return look(DeepLakeDataset(path, metainfo=dict(classes=CLASSES[get_rank() :])))


def test_ranks_with_other_classes_have_their_own_samples(rich, tmp_path):
    """Though they open the same lake at the same time."""
    for number, found in enumerate(run_ranks(2, with_classes_of_rank, tmp_path, rich)):
        dataset = DeepLakeDataset(rich, metainfo=dict(classes=CLASSES[number:]))
        assert_equal(found, look(dataset))


def open_on_first(path: str) -> int:
    return len(DeepLakeDataset(dataset=open_lake(path))) if get_rank() == 0 else 0


def test_a_dataset_that_one_rank_has_open_concerns_no_other(rich, tmp_path):
    """No rank waits for another."""
    assert run_ranks(2, open_on_first, tmp_path, rich) == [ROWS, 0]


def fail_on_all(path: str) -> tuple[str, str]:
    try:
        DeepLakeDataset(path)
    except ValueError as error:
        return type(error).__name__, str(error)
    return '', ''


def test_a_wrong_row_is_an_error_of_every_rank(tmp_path):
    """The one that read it, and those that wait for it."""
    rows = [row(number) for number in range(6)]
    rows[4] = row(4, [(1, 2, float('nan'), 4)])
    path = write_lake(tmp_path / 'wrong', rows)
    found = run_ranks(3, fail_on_all, tmp_path, path)
    assert found == [found[0]] * 3
    assert found[0][0] == 'ValueError'
    assert 'row 4: a box must be four finite numbers' in found[0][1]


def loaded(dataset: DeepLakeDataset) -> list[tuple[int, int, float]]:
    """Sums of pixels, instances and pixels of masks of each sample."""
    return [
        (each['inputs'].sum().item(), len(truth), float(truth.masks.areas.sum()))
        for each in dataset
        for truth in [each['data_samples'].gt_instances]
    ]


def read_on(path: str) -> None:
    dataset = DeepLakeDataset(path, pipeline=LOAD)
    tell(len(dataset))
    hear()
    tell(loaded(dataset))


def test_ranks_train_on_when_the_one_that_read_is_killed(rich, tmp_path):
    """Annotations, masks and images."""
    expected = loaded(DeepLakeDataset(rich, pipeline=LOAD))
    assert max(areas for _, _, areas in expected) > 0
    with ranks(3, read_on, tmp_path, rich) as started:
        for rank in started:
            assert rank.hear() == ROWS
        started[0].kill()
        for rank in started[1:]:
            rank.say('go')
            assert rank.hear() == expected


# --------------------------------------------------------------------------- the order

ORDERS: dict[str, dict[str, Any]] = {
    'lanes': dict(shuffle='lanes'),
    'full': dict(shuffle='full'),
    'none': dict(shuffle=False),
    'by weight': dict(shuffle='lanes', weights=dict(type='column', name='image_id')),
    'by factor': dict(shuffle='full', weights=dict(type='repeat_factor', threshold=0.9)),
}


def order(path: str, keys: dict[str, Any]) -> dict[str, Any]:
    query = 'SELECT * WHERE image_id > 1 ORDER BY image_id % 7'
    dataset = DeepLakeDataset(path, deeplake_query=query)
    sampler = DeepLakeLoader(dataset, seed=3, loader_type='c++', lanes=4, **keys)
    sampler.set_epoch(1)
    kept = [sampler._weights, sampler._reads.index.items]
    return {
        'own': list(sampler),
        'all': sampler.global_order().tolist(),
        'state': sampler.order_state(),
        'files': [files_of(array) for array in kept if array is not None],
    }


@pytest.mark.parametrize('name', ORDERS)
def test_the_order_is_that_of_one_rank_and_its_index_is_shared(name, chunked, tmp_path):
    """Each rank takes its part; weights, and samples by chunk, are one file each."""
    keys = ORDERS[name]
    alone = order(chunked, keys)
    found = run_ranks(3, order, tmp_path, chunked, keys)
    for number, each in enumerate(found):
        assert each['all'] == alone['all'] and each['state'] == alone['state']
        total = len(alone['all'])
        ends = (alone['all'] * 2)[: -(-total // 3) * 3]
        assert each['own'] == ends[number::3]
        assert each['files'] == found[0]['files']
    shared = [files for files in found[0]['files'] if files]
    assert len(shared) == (name in ('lanes', 'by weight')) + ('weights' in keys)


def weigh(path: str) -> Counter[str]:
    asked: Counter[str] = Counter()
    computed = LakeSource.computed

    def counted(self: LakeSource, expression: str, *args: Any) -> Any:
        asked[expression] += 1
        return computed(self, expression, *args)

    LakeSource.computed = counted
    weights = dict(type='query', expression='image_id + 1')
    DeepLakeLoader(DeepLakeDataset(path), weights=weights)
    return asked


def test_weights_are_read_by_one_rank(chunked, tmp_path):
    """Of three."""
    first, *others = run_ranks(3, weigh, tmp_path, chunked)
    assert first == {'image_id + 1': 1} and not any(others)


