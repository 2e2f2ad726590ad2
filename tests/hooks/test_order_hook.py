"""DeepLakeOrderHook: other reads, the same batches, results and files."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.chunked import write_chunked
from helpers.lakes import open_lake
from mmdet.evaluation import DumpDetResults
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.fileio import load
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch.utils.data import BatchSampler

from mmdet_deeplake_plugin import DeepLakeMetric
from mmdet_deeplake_plugin.metrics.in_order import InDatasetOrder

register_all_modules()

CHUNKS = [12, 20, 1, 8, 30, 6, 14]  # 91 rows
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path')),
]
BY_WORKER = 'each worker reads chunks of its own'
SAMPLER = dict(
    type='mmdet.DeepLakeLoader', shuffle=False, round_up=False, loader_type='c++'
)
METRIC = dict(type='mmdet.DeepLakeMetric', metric='bbox', proposal_nums=(100, 1, 10))


class Mates(BaseModel):
    """Predicts what depends on an image, and on the others in its batch.

    Attributes:
        seen: Ids of each batch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[int]] = []

    def forward(
        self, inputs: Any = None, data_samples: Any = None, mode: str = 'predict'
    ) -> list[DetDataSample]:
        """A box whose score is the same for many images, so that there are ties."""
        ids = [sample.img_id for sample in data_samples]
        self.seen.append(ids)
        for sample in data_samples:
            box = [1.0, 2.0, 8.0 + sample.img_id % 5, 14.0 - sum(ids) % 3]
            sample.pred_instances = InstanceData(
                bboxes=torch.tensor([box]),
                scores=torch.tensor([0.5 + sample.img_id % 2 / 4]),
                labels=torch.tensor([sample.img_id % 3]),
            )
        return data_samples


class Watching(Hook):
    """Looks at single batches."""

    def after_test_iter(self, *args: Any, **keys: Any) -> None:
        """Look."""


class OwnMetric(BaseMetric):
    """A metric of another package."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        """Count."""
        self.results.extend(sample['img_id'] for sample in data_samples)

    def compute_metrics(self, results: list) -> dict:
        """Report the first."""
        return {'first': results[0]}


@DATA_SAMPLERS.register_module()
class PairsInTurn(BatchSampler):
    """Another batch sampler."""


@pytest.fixture(scope='module')
def path(tmp_path_factory) -> str:
    """A lake of seven chunks."""
    return write_chunked(tmp_path_factory.mktemp('order') / 'lake', CHUNKS)


@pytest.fixture()
def lines() -> list[str]:
    """What runners of :func:`make` log."""
    return []


def hooks_of(with_hook: bool = True, *others: Any) -> list[Any]:
    """``custom_hooks``."""
    return [*([dict(type='DeepLakeOrderHook')] if with_hook else []), *others]


@pytest.fixture()
def make(path, tmp_path, lines) -> Callable[..., Runner]:
    """Makes a runner for a test of the lake, read in chunks as from object storage."""

    def of(
        hooks: list[Any], metrics: Any = None, sampler: Any = None, **dataloader: Any
    ) -> Runner:
        loader = dict(
            batch_size=3,
            num_workers=2,
            dataset=dict(
                type='mmdet.DeepLakeDataset',
                deeplake_path=path,
                pipeline=LOAD,
                test_mode=True,
            ),
            sampler={**SAMPLER, **(sampler or {})},
            collate_fn=dict(type='pseudo_collate'),
        )
        runner = Runner(
            model=Mates(),
            work_dir=str(tmp_path / 'work'),
            test_dataloader={**loader, **dataloader},
            test_cfg=dict(type='TestLoop'),
            test_evaluator=metrics or [METRIC],
            custom_hooks=hooks,
            visualizer=dict(type='DetLocalVisualizer'),
            default_hooks=dict(checkpoint=None, logger=None),
            experiment_name=f'order_{np.random.default_rng().integers(1 << 62)}',
            default_scope='mmdet',
        )
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore
        MMLogger.get_current_instance().addHandler(handler)
        return runner

    return of


def outcome(runner: Runner, folder: Path) -> tuple[dict, list, list]:
    """Metrics, pickled results, and batches sorted, of a test with ``--out``."""
    folder.mkdir()
    runner.test_evaluator.metrics.append(DumpDetResults(str(folder / 'results.pkl')))
    metrics = runner.test()
    batches = sorted(runner.model.seen)
    return metrics, load(folder / 'results.pkl'), batches


@pytest.mark.parametrize('workers', [2, 4])
@pytest.mark.parametrize('size', [1, 4])
@pytest.mark.filterwarnings('ignore:This DataLoader will create')
def test_results_are_those_of_the_order_of_the_dataset(
    size, workers, make, tmp_path, lines
):
    """The metrics to the digit, the pickle in its order, the JSON file to the byte.

    VOC's mean average precision depends on the order of equal scores, and a prediction
    of this model on the batch that its image is in.
    """
    found = []
    for with_hook in (False, True):
        folder = tmp_path / str(with_hook)
        voc = dict(type='mmdet.DeepLakeMetric', metrics_format='PascalVOC')
        coco = {**METRIC, 'outfile_prefix': f'{folder}/coco'}
        runner = make(
            hooks_of(with_hook),
            [coco, voc],
            batch_size=size,
            num_workers=workers,
        )
        metrics, results, batches = outcome(runner, folder)
        order = [each for batch in runner.model.seen for each in batch]
        assert (order == list(range(91))) != with_hook
        written = (folder / 'coco.bbox.json').read_bytes()
        found.append((metrics, results, batches, written))
        assert any(BY_WORKER in line for line in lines) == with_hook
    plain, ours = found
    assert plain[0] == ours[0] and plain[0]['coco/bbox_mAP'] > 0
    assert [each['img_id'] for each in ours[1]] == list(range(91))
    for one, other in zip(plain[1], ours[1]):
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(one['pred_instances'][key], other['pred_instances'][key])
    assert plain[2] == ours[2] and plain[3] == ours[3]
    assert len(json.loads(ours[3])) == 91


@pytest.mark.filterwarnings('ignore:This DataLoader will create')
def test_workers_read_chunks_of_their_own(make):
    """Seven chunks for three workers: two more are read at most, where runs meet."""
    runner = make(hooks_of(), num_workers=3)
    dataset = runner.test_loop.dataloader.dataset
    dataset.reader.counters.share()
    runner.test()
    totals = dataset.reader.counters.totals()
    assert len(CHUNKS) - 2 <= totals['chunks'] <= len(CHUNKS) + 2
    assert totals['needed'] <= totals['bytes'] < 1.6 * totals['needed']


def test_the_evaluator_has_its_metrics_back(make):
    """Wrapped for the run alone, also where two loops share an evaluator."""
    evaluator = Evaluator([METRIC])
    runner = make(hooks_of(), evaluator)
    (metric,) = evaluator.metrics
    wrapped = []

    class Look(Hook):
        def before_test_epoch(self, runner: Any) -> None:
            wrapped.extend(map(type, evaluator.metrics))

    runner.register_hook(Look())
    runner.test()
    assert wrapped == [InDatasetOrder]
    assert evaluator.metrics == [metric] and isinstance(metric, DeepLakeMetric)
    runner.test()
    assert evaluator.metrics == [metric]


def test_predictions_are_written_to_their_rows(make, path, lines):
    """As without the hook; an evaluator that writes them keeps the order of workers."""
    found = []
    for with_hook in (False, True):
        branch = f'runs/{with_hook}'
        writes = dict(type='mmdet.DeepLakePredictions', name='net', branch=branch)
        make(hooks_of(with_hook), [METRIC, writes]).test()
        assert any(BY_WORKER in line for line in lines) == with_hook
        main = open_lake(path, writable=False)
        rows = main.branches[branch].open()
        found.append([rows[name][:] for name in ('net/scores', 'net/boxes')])
    for plain, ours in zip(*found):
        assert len(plain) == len(ours) == 91
        assert all(map(np.array_equal, plain, ours))


LEFT = {
    'a hook that watches': dict(hooks=[Watching()]),
    'a hook that draws': dict(hooks=[dict(type='DetVisualizationHook', draw=True)]),
    'a metric of others': dict(metrics=[METRIC, OwnMetric(prefix='own')]),
    'drop_last': dict(drop_last=True),
    'another batch sampler': dict(batch_sampler=dict(type='PairsInTurn', drop_last=False)),
    'one process': dict(num_workers=1),
    'order=dataset': dict(sampler=dict(order='dataset')),
    'row by row': dict(sampler=dict(loader_type='python')),
    'at random': dict(query='SELECT * ORDER BY RANDOM()'),
}


@pytest.mark.parametrize('keys', LEFT.values(), ids=LEFT)
def test_the_order_stays_where_it_could_be_noticed(keys, make, lines, path):
    """Or where nothing is gained."""
    keys = dict(keys)
    others = keys.pop('hooks', [])
    query = keys.pop('query', '')
    if query:
        keys['dataset'] = dict(
            type='mmdet.DeepLakeDataset',
            deeplake_path=path,
            deeplake_query=query,
            pipeline=LOAD,
            test_mode=True,
        )
    runner = make(hooks_of(True, *others), **keys)
    runner.test()
    sampler = runner.test_loop.dataloader.batch_sampler.sampler
    assert not sampler.is_by_worker
    if not query and 'batch_sampler' not in keys:
        order = [each for batch in runner.model.seen for each in batch]
        assert order == list(range(len(order)))
    assert not [line for line in lines if BY_WORKER in line]


def test_a_hook_that_draws_nothing_does_not_count(make, lines):
    """As DetVisualizationHook in the default hooks of MMDetection."""
    runner = make(hooks_of(True, dict(type='DetVisualizationHook')))
    runner.test()
    assert [line for line in lines if BY_WORKER in line]


def test_an_order_that_is_asked_for_is_put_back_too(make, tmp_path):
    """order='by_worker' with the hook: the pickle is in the order of the dataset."""
    asked = dict(order='by_worker', batch_size=3, num_workers=2)
    runner = make(hooks_of(), sampler=asked)
    _, results, _ = outcome(runner, tmp_path / 'asked')
    assert [each['img_id'] for each in results] == list(range(91))


def test_an_order_that_is_asked_for_and_cannot_be_put_back_is_told(make, lines):
    """A metric of another package gets its results as they come, with a warning."""
    asked = dict(order='by_worker', batch_size=3, num_workers=2)
    make(hooks_of(), [OwnMetric(prefix='own')], sampler=asked).test()
    (warning,) = [line for line in lines if 'results stay in the order of' in line]
    assert 'because a metric or the evaluator collects results in its own way' in warning


def test_each_run_has_it_with_workers_that_live_on(make):
    """The second validation of a training reads and scores as the first."""
    runner = make(hooks_of(), persistent_workers=True)
    first = runner.test()
    seen = list(runner.model.seen)
    assert runner.test() == first
    assert runner.model.seen == seen * 2
