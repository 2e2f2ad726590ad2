"""Which rows: the same in every process, while another one writes to the lake."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
from helpers.lakes import (
    add_rows,
    append,
    branch,
    open_lake,
    row,
    tag,
    version,
    write_lake,
    writer,
)
from mmdet.utils import register_all_modules
from mmengine.dataset import pseudo_collate
from mmengine.dist import get_rank
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset

register_all_modules()

ROWS = 24
LOAD = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]
RANDOM = 'SELECT * ORDER BY RANDOM()'
SAMPLED = 'SELECT * SAMPLE BY sum_weight(image_id < 6: 9, True: 1) LIMIT 40'


@pytest.fixture(scope='module')
def lake(tmp_path_factory) -> dict[str, str]:
    """A lake with an old version, saved views and a branch; nobody writes to it."""
    path = tmp_path_factory.mktemp('pin') / 'lake'
    return _with_history(str(path))


@pytest.fixture()
def busy(tmp_path) -> Any:
    """Such a lake, and a process that appends and deletes rows on demand."""
    found = _with_history(str(tmp_path / 'busy'))
    # Not before a dataset is open: Deep Lake may crash when it samples a lake with
    # deleted rows, see docs/limits.md.
    with writer(found['path']) as process:
        yield {**found, 'writer': process}


def _with_history(path: str) -> dict[str, str]:
    write_lake(path, [row(i) for i in range(ROWS - 4)])
    old = version(path)
    append(path, range(ROWS - 4, ROWS))
    tag(path, 'SELECT * WHERE image_id % 3 == 0 ORDER BY image_id DESC', 'thirds')
    tag(path, RANDOM, 'mixed')
    tag(path, 'SELECT * WHERE image_id > 9', 'living', fixed=False)
    branch(path, 'side', [100, 101])
    return {'path': path, 'old': old, 'newest': version(path)}


def _cases(lake: dict[str, str]) -> dict[str, dict[str, str]]:
    """Ways to choose rows, among them random ones."""
    path = lake['path']
    return {
        'newest': dict(deeplake_path=path),
        'random': dict(deeplake_path=path, deeplake_query=RANDOM),
        'sampled': dict(deeplake_path=path, deeplake_query=SAMPLED),
        'old': dict(deeplake_path=path, deeplake_commit_id=lake['old']),
        'view': dict(deeplake_path=path, deeplake_view_id='mixed'),
        'suffix': dict(deeplake_path=f'{path}@thirds'),
        'branch': dict(deeplake_path=f'{path}@side'),
        'from': dict(deeplake_query=f'SELECT * FROM "{path}" ORDER BY RANDOM()'),
    }


def _ids(dataset: DeepLakeDataset) -> list[int]:
    return [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))]


def _shown(sample: dict) -> tuple[int, int]:
    """Id of a sample, and the number that the shade of its pixels tells."""
    return sample['data_samples'].img_id, round(float(sample['inputs'].float().mean()))


def _split(batch: dict) -> list[tuple[int, int]]:
    samples = zip(batch['inputs'], batch['data_samples'])
    return [_shown(dict(inputs=image, data_samples=found)) for image, found in samples]


# ------------------------------------------------------------------- what is selected

COMBINATIONS = {
    'all': ({}, list(range(24))),
    'old': (dict(deeplake_commit_id='{old}'), list(range(20))),
    'commit+query': (
        dict(deeplake_commit_id='{old}', deeplake_query='SELECT * WHERE image_id > 16'),
        [17, 18, 19],
    ),
    'query-as-projection': (
        dict(deeplake_query='SELECT image_id WHERE image_id > 21 ORDER BY image_id DESC'),
        [23, 22],
    ),
    'limit': (dict(deeplake_query='SELECT * LIMIT 3 OFFSET 2'), [2, 3, 4]),
    'view': (dict(deeplake_view_id='thirds'), [21, 18, 15, 12, 9, 6, 3, 0]),
    'view-suffix': (
        dict(deeplake_path='{path}@thirds'),
        [21, 18, 15, 12, 9, 6, 3, 0],
    ),
    'view+query': (
        dict(deeplake_view_id='thirds', deeplake_query='SELECT * WHERE image_id < 10'),
        [9, 6, 3, 0],
    ),
    'suffix+query': (
        dict(deeplake_path='{path}@thirds', deeplake_query='SELECT * LIMIT 2'),
        [21, 18],
    ),
    'living-view': (dict(deeplake_view_id='living'), list(range(10, 24))),
    'living-view+commit': (
        dict(deeplake_view_id='living', deeplake_commit_id='{old}'),
        list(range(10, 20)),
    ),
    'view+its-own-commit': (
        dict(deeplake_view_id='thirds', deeplake_commit_id='{newest}'),
        [21, 18, 15, 12, 9, 6, 3, 0],
    ),
    'branch': (dict(deeplake_path='{path}@side'), [*range(24), 100, 101]),
    'branch+query': (
        dict(deeplake_path='{path}@side', deeplake_query='SELECT * WHERE image_id > 22'),
        [23, 100, 101],
    ),
    'main-by-name': (dict(deeplake_path='{path}@main'), list(range(24))),
    'file-url': (dict(deeplake_path='file://{path}'), list(range(24))),
    'from': (
        dict(
            deeplake_path='',
            deeplake_query='SELECT * FROM "{path}" WHERE image_id > 21',
        ),
        [22, 23],
    ),
    'from-and-the-same-path': (
        dict(deeplake_query='select * from "{path}" where image_id > 21'),
        [22, 23],
    ),
    'from-a-view': (
        dict(deeplake_path='', deeplake_query='SELECT * FROM "{path}@thirds" LIMIT 1'),
        [21],
    ),
    'from-in-single-quotes': (
        dict(deeplake_path='', deeplake_query="SELECT * FROM '{path}' LIMIT 1"),
        [0],
    ),
}


@pytest.mark.parametrize(('keys', 'ids'), COMBINATIONS.values(), ids=COMBINATIONS)
def test_commit_view_query_and_suffix_select_these_rows(keys, ids, lake):
    """Each way to name rows, alone and combined, gives these ids in this order."""
    keys = {'deeplake_path': '{path}', **keys}
    keys = {key: value.format(**lake) for key, value in keys.items()}
    assert _ids(DeepLakeDataset(**keys)) == ids


def test_a_commit_that_contradicts_a_view_is_an_error(lake):
    """A saved view has its version; another one beside it is refused."""
    text = (
        'deeplake_commit_id and the saved view must be of the same version, got '
        f"'{lake['old']}' and the view 'thirds' of version '{lake['newest']}'; remove one "
        'of the two'
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeDataset(
            lake['path'], deeplake_commit_id=lake['old'], deeplake_view_id='thirds'
        )


def test_a_random_query_keeps_its_rows_in_a_process(lake):
    """ORDER BY RANDOM() is drawn once: reading, copying and pickling do not draw anew."""
    dataset = DeepLakeDataset(lake['path'], deeplake_query=RANDOM, pipeline=LOAD)
    ids = _ids(dataset)
    assert sorted(ids) == list(range(ROWS)) and ids != list(range(ROWS))
    copy = pickle.loads(pickle.dumps(dataset))
    assert _ids(copy) == _ids(dataset) == ids
    for index, number in enumerate(ids):
        found, shade = _shown(copy[index])
        assert found == number and abs(shade - number) <= 1


def test_every_opening_of_a_random_query_draws_anew(lake):
    """The rows are pinned to a dataset, not to a query."""
    drawn = {
        tuple(_ids(DeepLakeDataset(lake['path'], deeplake_query=RANDOM)))
        for _ in range(3)
    }
    assert len(drawn) == 3


# ------------------------------------------------------------- while a writer is busy


@pytest.mark.parametrize('start', ['main', 'fork'])
def test_rows_stay_while_another_process_writes(start, busy):
    """Ids, annotations and pixels are those of the pinned rows, in every worker."""
    datasets = {
        name: DeepLakeDataset(**keys, pipeline=LOAD)
        for name, keys in _cases(busy).items()
    }
    ids = {name: _ids(dataset) for name, dataset in datasets.items()}
    busy['writer'].wait(2)
    for name, dataset in datasets.items():
        busy['writer'].wait()
        workers = dict(num_workers=2, multiprocessing_context='fork')
        loader = DataLoader(
            dataset,
            batch_size=5,
            collate_fn=pseudo_collate,
            **(workers if start == 'fork' else {}),
        )
        seen = [pair for batch in loader for pair in _split(batch)]
        assert [number for number, _ in seen] == ids[name] == _ids(dataset), name
        for number, shade in seen:
            assert abs(shade - number) <= 1, name
    # The writer has moved on, and what is opened now shows it.
    fresh = _ids(DeepLakeDataset(busy['path']))
    assert fresh != ids['newest'] and 0 not in fresh


def test_spawned_workers_read_the_pinned_rows(busy):
    """Spawned and persistent workers, over two epochs, with a writer between."""
    datasets = [DeepLakeDataset(**keys, pipeline=LOAD) for keys in _cases(busy).values()]
    ids = [number for dataset in datasets for number in _ids(dataset)]
    loader = DataLoader(
        torch.utils.data.ConcatDataset(datasets),
        batch_size=8,
        num_workers=2,
        multiprocessing_context='spawn',
        persistent_workers=True,
        collate_fn=pseudo_collate,
    )
    busy['writer'].wait(2)
    for _ in range(2):
        seen = [pair for batch in loader for pair in _split(batch)]
        busy['writer'].wait()
        assert [number for number, _ in seen] == ids
        assert all(abs(shade - number) <= 1 for number, shade in seen)


def test_two_ranks_get_the_rows_of_rank_0(busy, tmp_path):
    """Two real gloo ranks: random and sampled rows, version and failure are one."""
    cases = _cases(busy)
    multiprocessing.spawn(
        _rank, args=(2, str(tmp_path), cases, busy['path']), nprocs=2, join=True
    )
    first, second = (
        json.loads((tmp_path / f'rank{rank}.json').read_text()) for rank in (0, 1)
    )
    assert (first['rank'], second['rank']) == (0, 1)
    for name in cases:
        assert first['ids'][name] == second['ids'][name]
        assert first['versions'][name] == second['versions'][name]
    assert first['keys'] == second['keys']
    assert len(set(map(tuple, (first['ids']['random'], first['ids']['newest'])))) == 2
    for found in (first, second):
        assert found['errors'] == [
            'ValueError: deeplake_query must select at least one row, but '
            "'SELECT * WHERE image_id > 999' selects none",
            'FileNotFoundError: no Deep Lake dataset was found there',
        ]


def _rank(rank: int, world: int, folder: str, cases: dict, path: str) -> None:
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world
    )
    found: dict[str, Any] = {'rank': get_rank(), 'ids': {}, 'versions': {}, 'keys': []}
    for name, keys in cases.items():
        if rank:
            append(path, [240])  # the lake moves on between what the ranks do
        dataset = DeepLakeDataset(**keys)
        found['ids'][name] = _ids(dataset)
        found['versions'][name] = dataset.lake.source.pin.version
        found['keys'].append(dataset.lake.key)
    found['errors'] = []
    for keys, head, tail in (
        (dict(deeplake_query='SELECT * WHERE image_id > 999'), 0, ' of the'),
        (dict(deeplake_path='/no/lake'), "'/no/lake': ", '. '),
    ):
        try:
            DeepLakeDataset(**{'deeplake_path': path, **keys})
        except (ValueError, FileNotFoundError) as error:
            text = str(error) if not head else str(error).partition(head)[2]
            shown = f'{type(error).__name__}: {text.partition(tail)[0]}'
            found['errors'].append(shown)
    Path(folder, f'rank{rank}.json').write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


# ------------------------------------------------------------------ dataset=, in Python


@pytest.mark.parametrize('writable', [True, False], ids=['open', 'read-only'])
def test_an_open_lake_is_taken_in_the_state_that_it_shows(writable, busy):
    """dataset= of an open lake, though others have written since it was opened."""
    handle = open_lake(busy['path'], writable)
    shown = handle['image_id'][:].tolist()
    busy['writer'].wait()
    dataset = DeepLakeDataset(dataset=handle, pipeline=LOAD)
    assert _ids(dataset) == shown
    busy['writer'].wait()
    found, shade = _shown(pickle.loads(pickle.dumps(dataset))[0])
    assert found == shown[0] and abs(shade - found) <= 1


def test_an_open_version_and_branch_are_taken_as_they_are(lake):
    """dataset= of an old version, or of a branch, is that version or branch."""
    handle = open_lake(lake['path'])
    old = handle.history[lake['old']].open()
    assert _ids(DeepLakeDataset(dataset=old)) == list(range(20))
    side = handle.branches['side'].open()
    assert _ids(DeepLakeDataset(dataset=side)) == [*range(24), 100, 101]


@pytest.mark.parametrize(
    ('query', 'ids'),
    [
        ('SELECT * WHERE image_id > 20 ORDER BY image_id DESC', [23, 22, 21]),
        ('SELECT image_id, images, boxes, categories WHERE image_id > 20', [21, 22, 23]),
    ],
)
def test_a_view_is_taken_by_its_query(query, ids, lake):
    """dataset= of a view gives the view's rows in the view's order."""
    view = open_lake(lake['path']).query(query)
    assert _ids(DeepLakeDataset(dataset=view)) == ids


def test_a_view_of_a_view_is_taken(lake):
    """Queries upon queries are followed."""
    view = open_lake(lake['path']).query('SELECT * WHERE image_id > 15')
    view = view.query('SELECT * ORDER BY image_id DESC LIMIT 2')
    assert _ids(DeepLakeDataset(dataset=view)) == [23, 22]


def test_a_random_view_is_refused(lake):
    """A view that cannot be had again: the error says how to save it."""
    view = open_lake(lake['path']).query(RANDOM)
    text = (
        'dataset= must give the same rows when the query of the view runs again, but it '
        'gave others (the query is random, or the lake has changed); save the view with '
        "view.tag('NAME') and use deeplake_view_id='NAME', or pass the query as "
        'deeplake_query'
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeDataset(dataset=view)


def test_a_view_of_a_lake_that_has_moved_on_is_not_another_view(busy):
    """A view over rows that were deleted since is never given other rows in silence."""
    view = open_lake(busy['path']).query('SELECT * LIMIT 3')
    shown = view['image_id'][:].tolist()
    busy['writer'].wait()
    with pytest.raises(ValueError, match='the lake has changed'):
        assert _ids(DeepLakeDataset(dataset=view)) == shown


def test_changes_without_a_commit_are_refused(tmp_path):
    """What no commit holds cannot be read by a worker; committed, it can."""
    handle = open_lake(write_lake(tmp_path / 'lake'))
    add_rows(handle, [50])
    text = (
        'dataset= must not have uncommitted changes, as other processes cannot read '
        'them; call commit() first'
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeDataset(dataset=handle)
    handle.commit()
    assert _ids(DeepLakeDataset(dataset=handle))[-1] == 50


# ---------------------------------------------------------------------- lakes in memory


@pytest.mark.parametrize('workers', [0, 2])
def test_a_lake_in_memory_is_read_here_and_in_forked_workers(workers):
    """mem:// lives in a process and in what it forks."""
    path = write_lake(f'mem://pinning{workers}')
    dataset = DeepLakeDataset(path, deeplake_query=RANDOM, pipeline=LOAD)
    kwargs = dict(multiprocessing_context='fork') if workers else {}
    loader = DataLoader(
        dataset, batch_size=2, num_workers=workers, collate_fn=pseudo_collate, **kwargs
    )
    seen = [pair for batch in loader for pair in _split(batch)]
    assert [number for number, _ in seen] == _ids(dataset)
    assert np.ptp([shade - number for number, shade in seen]) <= 1


def test_an_open_lake_in_memory_is_taken():
    """dataset= of a mem:// lake."""
    handle = open_lake(write_lake('mem://pinning-object'))
    assert _ids(DeepLakeDataset(dataset=handle)) == list(range(6))


# ------------------------------------------------------------------ a moved foundation


def test_a_lake_that_was_replaced_is_told(tmp_path):
    """Another lake at the same place has not the pinned rows: the run stops."""
    path = write_lake(tmp_path / 'lake')
    shutil.copytree(path, tmp_path / 'copy')  # with the same id
    append(path, [6])
    append(str(tmp_path / 'copy'), [6, 7])
    state = pickle.dumps(DeepLakeDataset(path, pipeline=LOAD))
    shutil.rmtree(path)
    shutil.move(tmp_path / 'copy', path)
    dataset = pickle.loads(state)
    with pytest.raises(ValueError, match='7 rows as when the run began, found 8: the lake was replaced or the tag moved'):
        dataset.lake.source.handle  # noqa: B018


def test_the_annotation_style_is_that_of_the_pinned_version(tmp_path):
    """A style declared later changes neither an old version nor a view of it."""
    path = write_lake(tmp_path / 'lake')
    handle = open_lake(path)
    handle['boxes'].metadata['annotation_style'] = 'voc'
    handle.commit()
    old = handle.version
    handle.query('SELECT * LIMIT 2').tag('first two')
    handle['boxes'].metadata['annotation_style'] = 'coco'
    handle.commit()
    assert DeepLakeDataset(path).lake.columns.style == 'coco'
    for keys in (dict(deeplake_commit_id=old), dict(deeplake_view_id='first two')):
        assert DeepLakeDataset(path, **keys).lake.columns.style == 'voc', keys
