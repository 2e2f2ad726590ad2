"""A run keeps to its version while others change the lake in every way there is."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import TESTS
from helpers.chunked import Seen, image, intact, run, write_chunked
from helpers.lakes import add_rows, branch, open_lake, version, write_lake
from helpers.object_store import ObjectStore
from mmdet.utils import register_all_modules
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader

register_all_modules()

CHUNKS = [12] * 10
ROWS = sum(CHUNKS)
CHANGES = ('append', 'update', 'delete', 'remove_column', 'compact', 'append')
EVERY = ROWS // (len(CHANGES) + 1) // 4 * 4  # samples between two changes


# -------------------------------------------------------------- in the process that writes


def append(lake: Any) -> None:
    """Appends a stored chunk of rows, which copy those at the end."""
    names = [column.name for column in lake.schema.columns]
    last = {name: [lake[name][len(lake) - 1]] * 12 for name in names if name != 'images'}
    lake.append({**last, 'images': [image(5000 + number) for number in range(12)]})
    lake.commit()


def update(lake: Any) -> None:
    """Replaces images, ids and boxes of rows all over the lake."""
    for number in range(0, len(lake), 7):
        lake[number]['images'] = image(6000 + number)
        lake[number]['image_id'] = 6000 + number
        lake[number]['boxes'] = lake[number]['boxes'] + 1
    lake.commit()


def delete(lake: Any) -> None:
    """Deletes rows at the beginning, the end and between."""
    for number in (len(lake) - 1, 50, 49, 48, 13, 1, 0):
        lake.delete(number)
    lake.commit()


def remove_column(lake: Any) -> None:
    """Drops a column that the run reads, and one that it needs no more."""
    lake.remove_column('file_name')
    lake.remove_column('width')
    lake.commit()


def compact(lake: Any) -> None:
    """Writes what is left of the chunks anew."""
    lake.compact()


# ------------------------------------------------------------------------ from the outside


@contextmanager
def writer(path: str, **variables: str) -> Iterator[Callable[[str], None]]:
    """Starts a process that makes the changes it is told, by name."""
    process = subprocess.Popen(
        [sys.executable, __file__, path],
        env={**os.environ, 'PYTHONPATH': str(TESTS), **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    source, sink = process.stdout, process.stdin

    def change(name: str) -> None:
        sink.write(f'{name}\n')
        sink.flush()
        answer = source.readline().strip()
        assert answer == name, f'the writer died: {answer!r}'

    try:
        yield change
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(params=['disk', 's3'])
def lake(request, tmp_path) -> Iterator[tuple[str, dict, dict[str, str]]]:
    """Path of a lake, config of its credentials, and environment of its writer."""
    path = write_chunked(tmp_path / 'lake', CHUNKS)
    if request.param == 'disk':
        yield path, {}, {}
        return
    with ObjectStore.start(tmp_path) as store:
        names = {name.upper(): value for name, value in store.key.creds.items()}
        variables = dict(names, AWS_ENDPOINT_URL=store.endpoint, AWS_REGION='us-east-1')
        yield store.upload(path, 'lake'), dict(creds=store.creds), variables


def read(
    dataset: DeepLakeDataset, shuffle: str, seed: int, between: Callable[[], None]
) -> list[dict]:
    """An epoch by forked workers, with a call every so many samples."""
    sampler = DeepLakeLoader(dataset, shuffle, seed=seed, lanes=4)
    seen: list[dict] = []
    loader = DataLoader(
        dataset,
        batch_size=4,
        sampler=sampler,
        num_workers=2,
        multiprocessing_context='fork',
        collate_fn=list,
    )
    for batch in loader:
        seen += batch
        if len(seen) % EVERY == 0:
            between()
    assert [each['img_id'] for each in seen] == sampler.global_order().tolist()
    return seen


def test_a_run_is_untouched_by_every_change(lake):
    """Ids, order, bytes and boxes stay: in workers of before, between and after."""
    path, credentials, variables = lake
    dataset = DeepLakeDataset(
        path, deeplake_credentials=credentials, pipeline=[Seen()], on_broken_image='raise'
    )
    pinned = dataset.lake.source.pin.version
    info = [dataset.get_data_info(index) for index in range(ROWS)]
    with writer(path, **variables) as change:
        changes = iter(CHANGES)
        done: list[str] = []

        def next_change() -> None:
            for name in changes:
                change(name)
                done.append(name)
                break

        # Forked anew for each, the second time after all changes.
        for shuffle in ('lanes', 'full', 'none'):
            assert intact(read(dataset, shuffle, seed=3, between=next_change))
        assert done == list(CHANGES)
    copy = pickle.loads(pickle.dumps(dataset)) if not credentials else dataset
    assert intact(run(copy, range(ROWS), num_workers=0))

    def fresh(**keys: Any) -> DeepLakeDataset:
        return DeepLakeDataset(
            path, deeplake_credentials=credentials, pipeline=[Seen()], **keys
        )

    # Opened by its version after all that, it is the same again; the newest is not.
    again = fresh(deeplake_commit_id=pinned)
    assert [again.get_data_info(index) for index in range(ROWS)] == info
    assert intact(run(again, range(ROWS), num_workers=2))
    newest = fresh()
    ids = [newest.get_data_info(index)['img_id'] for index in range(len(newest))]
    assert len(newest) == ROWS + 24 - 7 and 6007 in ids and 'file_name' not in ids
    assert newest.lake.columns.of('file_name') is None


def test_a_version_that_never_was_is_told(tmp_path):
    """The error names the id, branch and lake, the newest versions, and how one goes."""
    path = write_lake(tmp_path / 'lake')
    newest = version(path)
    text = (
        f"deeplake_commit_id='0000000099c00000000': branch main of {path} does not "
        f'have this version; the newest are 0000000000v00000000, {newest}. Compacting a '
        'lake keeps its versions; deleting the branch or the lake removes them'
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeDataset(path, deeplake_commit_id='0000000099c00000000')


def test_a_version_that_went_with_its_branch_is_told(tmp_path):
    """By commit id, by branch name, and in a process that opens the pinned lake anew."""
    path = write_lake(tmp_path / 'lake')
    branch(path, 'side', [100, 101])
    main = open_lake(path)
    side = main.branches['side'].open()
    for number in range(5):  # ids are counted by branch: this one main has not
        add_rows(side, [number])
        side.commit()
    gone = version(f'{path}@side')
    state = pickle.dumps(DeepLakeDataset(f'{path}@side').lake.source)
    main.branches['side'].delete()
    with pytest.raises(ValueError, match=rf"'{gone}': branch main of .* not have this v"):
        DeepLakeDataset(path, deeplake_commit_id=gone)
    with pytest.raises(ValueError, match=r"not have a branch or tag 'side'; branches: main;"):
        DeepLakeDataset(f'{path}@side')
    text = (
        f"deeplake_path='{path}@side': The branch side does not exist. The branch "
        'existed when this run began, so it was deleted or renamed, and its versions '
        'with it; restart the run'
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        assert pickle.loads(state).handle


def _obey(path: str) -> None:
    for line in sys.stdin:
        name = line.strip()
        globals()[name](open_lake(path))
        print(name, flush=True)


if __name__ == '__main__':
    _obey(sys.argv[1])
