"""DeepLakeReportHook says what an epoch read and where its time went."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.chunked import write_chunked
from mmdet.utils import register_all_modules
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner

from mmdet_deeplake_plugin.hooks.report import summary
from mmdet_deeplake_plugin.utils.counters import ReadCounters

register_all_modules()

CHUNKS = [12, 20, 8]
LOAD = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs', meta_keys=())]


class Toy(BaseModel):
    """Learns nothing from anything."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs=None, data_samples=None, mode='loss') -> dict:
        """A loss that does not depend on the samples."""
        return {'loss': self.weight.square().sum()}


@pytest.fixture()
def unshared() -> Iterator[None]:
    """Meters of later tests are their own again."""
    yield
    ReadCounters._shared_from_now_on = False


def lines_of_a_run(tmp_path: Path, train_cfg: dict, workers: int, **hook) -> list[str]:
    """What the hook logs in a training of two epochs of 40 samples."""
    path = write_chunked(tmp_path / 'lake', CHUNKS)
    runner = Runner(
        model=Toy(),
        work_dir=str(tmp_path / 'work'),
        train_dataloader=dict(
            batch_size=4,
            num_workers=workers,
            dataset=dict(type='mmdet.DeepLakeDataset', deeplake_path=path, pipeline=LOAD),
            sampler=dict(
                type='mmdet.DeepLakeLoader',
                shuffle='lanes',
                lanes=4,
                loader_type='c++',
            ),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[dict(type='DeepLakeReportHook', **hook)],
        default_hooks=dict(checkpoint=None, logger=None),
        experiment_name=f'report_{tmp_path.name}',
        default_scope='mmdet',
    )
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        runner.train()
    finally:
        logger.removeHandler(handler)
    return [line for line in lines if line.startswith('DeepLakeLoader,')]


LOOPS = {
    'epochs': dict(by_epoch=True, max_epochs=2),
    'iterations': dict(by_epoch=False, max_iters=20),
}


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('train_cfg', LOOPS.values(), ids=LOOPS)
def test_each_epoch_is_counted_whole(train_cfg, workers, tmp_path, unshared):
    """A line an epoch: 40 samples, the three chunks, the bytes needed and no more."""
    lines = lines_of_a_run(tmp_path, train_cfg, workers)
    assert len(lines) == 2
    for number, line in enumerate(lines, 1):
        assert line.startswith(f'DeepLakeLoader, epoch {number}: 40 samples, ')
        if workers == 0:
            assert '(3 whole chunks), 1.00 x what was needed' in line
        shares = [int(s) for s in re.findall(r' (\d+)%', line.partition('workers:')[2])]
        assert len(shares) == 4 and 98 <= sum(shares) <= 102


def test_details_give_seconds_and_the_quality_of_the_shuffle(tmp_path, unshared):
    """Two lines more: seconds of each stage, and the measured quality of the order."""
    lines = lines_of_a_run(tmp_path, LOOPS['epochs'], 0, details=True)
    assert len(lines) == 6
    assert re.fullmatch(
        r'DeepLakeLoader, all workers: storage [\d.]+ s, decode [\d.]+ s, transforms '
        r'[\d.]+ s, collate [\d.]+ s',
        lines[1],
    )
    assert re.fullmatch(
        r'DeepLakeLoader, shuffle lanes: [\d.]+ bits of [\d.]+; a batch has [\d.]+ '
        r'chunks for each sample',
        lines[2],
    )


def test_the_line_of_an_epoch_in_words():
    """The numbers of a meter stand where they belong."""
    total = dict(
        samples=1000,
        storage=1.0,
        decode=2.0,
        transforms=6.0,
        collate=1.0,
        chunks=20,
        requests=30,
        bytes=110e6,
        needed=100e6,
    )
    assert summary(total, seconds=10.0, waited=0.5) == (
        '1000 samples, 100.0 per second; training waited 5.0%; workers: storage 10%, '
        'decode 20%, transforms 60%, collate 10%; read 110.0 MB in 30 reads (20 whole '
        'chunks), 1.10 x what was needed'
    )
