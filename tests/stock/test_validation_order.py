"""Stock ``dist_test.sh`` on S3: each chunk is read once, and nothing else differs.

The model has random weights: what it finds depends on every pixel, and on the other
images of a batch.
"""

from __future__ import annotations

import ast
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.chunked import rewrite_in_chunks
from helpers.object_store import ObjectStore
from helpers.samples import assert_equal
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.fileio import load
from stock_tools import HERE, StockTools, metrics_of_test

CONFIG = 'on_s3_two_ranks'
NUM_VAL, ROWS_OF_A_CHUNK, CHUNKS = 87, 3, 29
HEADER = 32 << 10  # bytes: what Deep Lake reads of a chunk to find a row in it
PROOF = 2 * 2  # requests of two ranks for the layout of the first chunk, besides headers
ORDERS = ('auto', 'dataset')


@pytest.fixture(scope='module')
def store(tmp_path_factory) -> Iterator[ObjectStore]:
    """An S3 server."""
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as running:
        yield running


@pytest.fixture(scope='module')
def variables(store, lake, tmp_path_factory) -> dict[str, str]:
    """Variables that the config reads; the lake has a chunk for every three images."""
    path = tmp_path_factory.mktemp('in_chunks') / 'bccd_val'
    rewrite_in_chunks(lake('bccd_val'), path, ROWS_OF_A_CHUNK)
    return dict(
        BCCD_VAL_LAKE=store.upload(path, 'bccd_val'),
        STORE_KEY_ID=store.key.id,
        STORE_SECRET=store.key.secret,
        STORE_ENDPOINT=store.endpoint,
    )


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    """Random weights of the model, with scores that are not all alike."""
    register_all_modules()
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(HERE / 'small_rtmdet.py').model)
    for parameter in model.bbox_head.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    file = tmp_path_factory.mktemp('weights') / 'random.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), file)
    return file


@pytest.fixture(scope='module')
def tested(
    run_tool, variables, checkpoint, store, tmp_path_factory
) -> dict[str, tuple[Path, list[int]]]:
    """Order -> folder of a test by two ranks, and sizes of what is more than a header."""
    found = {}
    for order in ORDERS:
        folder = tmp_path_factory.mktemp(order)
        store.reset_log()
        _test(run_tool, checkpoint, folder, order, variables)
        sent = [record.sent for record in store.requests(r'^bccd_val/')]
        found[order] = folder, [size for size in sent if size > HEADER]
    return found


def _test(
    run_tool: StockTools,
    checkpoint: Path,
    folder: Path,
    order: str,
    variables: dict[str, str],
) -> None:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    output = run_tool(
        'dist_test.sh',
        CONFIG,
        *(checkpoint, 2, '--work-dir', folder, '--out', folder / 'results.pkl'),
        options=[
            'custom_hooks.2.type=DeepLakeOrderHook',
            'test_dataloader.batch_size=2',
            'test_dataloader.num_workers=4',
            f'test_dataloader.sampler.order={order}',
            f'test_evaluator.outfile_prefix={folder}/test',
        ],
        PORT=str(port),
        **variables,
    )
    assert ('each worker reads chunks of its own' in output) == (order == 'auto')


def test_metrics_and_files_are_the_same(tested):
    """Every number to the digit, every prediction in the order of the dataset."""
    folders = [tested[order][0] for order in ORDERS]
    ours, plain = map(metrics_of_test, folders)
    assert ours == plain and 'coco/bbox_mAP' in ours
    written = [(folder / 'test.bbox.json').read_bytes() for folder in folders]
    assert written[0] == written[1] and len(json.loads(written[0])) > NUM_VAL
    results = [load(folder / 'results.pkl') for folder in folders]
    assert [each['img_id'] for each in results[0]] == list(range(1, NUM_VAL + 1))
    for one, other in zip(*results):
        assert_equal(one['pred_instances'], other['pred_instances'])


def test_eval_metric_gives_the_same(run_tool, tested, variables):
    """eval_metric.py on the pickle of workers prints the numbers of the test."""
    folder = tested['auto'][0]
    output = run_tool(
        'analysis_tools/eval_metric.py', CONFIG, folder / 'results.pkl', **variables
    )
    printed = [line for line in output.splitlines() if line.startswith('{')]
    assert ast.literal_eval(printed[-1]) == metrics_of_test(folder)


def test_chunks_are_read_about_once(tested):
    """At most one more where two of eight runs meet; in sequence, several times each."""
    ours, plain = (tested[order][1] for order in ORDERS)
    assert CHUNKS <= len(ours) - PROOF < CHUNKS + 8
    assert sum(ours) < sum(plain)
