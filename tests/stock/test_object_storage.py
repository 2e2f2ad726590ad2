"""Stock ``dist_train.sh`` gives the same from S3 as from a local disk, to the digit.

Both runs name the same shuffle: by default lakes on object storage are read along
their chunks, and others are not.
"""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers.chunked import rewrite_in_chunks
from helpers.object_store import ObjectStore
from helpers.samples import assert_equal
from stock_tools import iterations, training_log, validations

EPOCHS, CHUNKS, ROWS_OF_A_CHUNK = 2, 8, 5
TESTED = 31  # odd, so that one of two ranks has an image less or one twice
LARGE = 50_000  # bytes: only chunks of images are larger
CONFIGS = ('on_lake_two_ranks', 'on_s3_two_ranks')
# What both runs have in common; every lane belongs to one worker.
OPTIONS = [
    f'train_cfg.max_epochs={EPOCHS}',
    f'train_cfg.val_interval={EPOCHS}',
    'custom_hooks.1.switch_epoch=1',
    f'train_dataloader.dataset.indices={CHUNKS * ROWS_OF_A_CHUNK}',
    'train_dataloader.num_workers=2',
    'train_dataloader.sampler.shuffle=lanes',
    'train_dataloader.sampler.lanes=8',
    'val_dataloader.num_workers=2',
    f'val_dataloader.dataset.indices={TESTED}',
    # Else a crop without boxes makes MMEngine draw another image, at random.
    'train_dataloader.dataset.pipeline.4.allow_negative_crop=True',
]
RANKS, PROOF = 2, 4  # requests of a rank that prove the layout of the first chunk


@pytest.fixture(scope='module')
def store(tmp_path_factory) -> Iterator[ObjectStore]:
    """An S3 server."""
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as running:
        yield running


@pytest.fixture(scope='module')
def in_chunks(lake, tmp_path_factory) -> Callable[[str], Path]:
    """Path of a lake of BCCD with a stored chunk for every five images."""
    folder = tmp_path_factory.mktemp('in_chunks')

    def of(name: str) -> Path:
        path = folder / name
        if not path.exists():
            rewrite_in_chunks(lake(name), path, ROWS_OF_A_CHUNK)
        return path

    return of


@pytest.fixture(scope='module')
def trained(run_tool, in_chunks, store, tmp_path_factory) -> list[Path]:
    """Folders of two trainings by two ranks: from the disk, and from S3."""
    lakes = {name: in_chunks(name) for name in ('bccd_train', 'bccd_val')}
    urls = {name: store.upload(path, name) for name, path in lakes.items()}
    folder = tmp_path_factory.mktemp('trained')
    for config, places in zip(CONFIGS, (lakes, urls)):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        output = run_tool(
            'dist_train.sh',
            config,
            *(2, '--work-dir', folder / config),
            options=[*OPTIONS, f'val_evaluator.outfile_prefix={folder / config}/val'],
            PORT=str(port),
            BCCD_TRAIN_LAKE=str(places['bccd_train']),
            BCCD_VAL_LAKE=str(places['bccd_val']),
            STORE_KEY_ID=store.key.id,
            STORE_SECRET=store.key.secret,
            STORE_ENDPOINT=store.endpoint,
        )
        (folder / config / 'output.txt').write_text(output)
    return [folder / config for config in CONFIGS]


def test_every_logged_loss_is_that_of_the_disk(trained):
    """Two epochs on two ranks with two workers each, through Mosaic and MixUp."""
    disk, s3 = (iterations(training_log(folder)) for folder in trained)
    assert [entry['step'] for entry in disk] == list(range(1, 21))
    assert len({entry['loss'] for entry in disk}) == 20
    assert s3 == disk


def test_the_evaluation_is_that_of_the_disk(trained):
    """DeepLakeMetric logs the same numbers and writes the same detections."""
    (disk,), (s3,) = (validations(training_log(folder)) for folder in trained)
    assert {'coco/bbox_mAP', 'coco/RBC_precision', 'coco/AR@1000'} <= disk.keys()
    assert disk['coco/bbox_mAP_50'] > 0
    assert s3 == disk
    written = [json.loads((folder / 'val.bbox.json').read_text()) for folder in trained]
    assert len({each['image_id'] for each in written[0]}) == TESTED
    assert written[1] == written[0]


def test_trained_weights_are_those_of_the_disk(trained):
    """Every weight and every averaged weight is equal."""
    disk, s3 = (
        torch.load(folder / 'epoch_2.pth', map_location='cpu', weights_only=False)
        for folder in trained
    )
    for key in ('state_dict', 'ema_state_dict'):
        assert_equal(dict(s3[key]), dict(disk[key]), key)


def test_chunks_were_read_whole_and_once_an_epoch(trained, in_chunks, store):
    """The store sent each chunk of images in one piece, to one worker of one rank.

    Before, each rank proves on the first chunk that it knows where its images are.
    """
    lake = in_chunks('bccd_train')
    sizes = {
        f'bccd_train/{file.relative_to(lake).as_posix()}': file.stat().st_size
        for file in lake.rglob('*')
        if file.is_file() and file.stat().st_size > LARGE
    }
    assert len(sizes) == 41  # of 205 images
    reads = [record for record in store.requests() if record.key in sizes]
    proof, whole = reads[: RANKS * PROOF], reads[RANKS * PROOF :]
    assert len({record.key for record in proof}) == 1
    assert [record.sent for record in whole] == [sizes[record.key] for record in whole]
    times = Counter(record.key for record in whole)
    assert len(times) == CHUNKS and max(times.values()) <= EPOCHS
    # What the training says of itself.
    output = (trained[1] / 'output.txt').read_text()
    assert re.findall(r'\((\d+) whole chunks\)', output) == [str(CHUNKS)] * EPOCHS
