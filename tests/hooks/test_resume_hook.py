"""DeepLakeResumeHook goes on at exactly the next batch, on any number of ranks."""

from __future__ import annotations

import copy
import io
import itertools
import json
import logging
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import mmengine.fileio
import numpy as np
import pytest
import torch
from helpers.lakes import COLUMNS, append, open_lake, picture, row, version, write_lake
from mmdet.registry import METRICS, MODELS, TRANSFORMS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import IterBasedTrainLoop, Runner

import mmdet_deeplake_plugin.hooks.resume as resume_module
import mmdet_deeplake_plugin.samplers.loader as loader_module
from mmdet_deeplake_plugin import (
    DeepLakeAspectRatioBatchSampler,
    DeepLakeDataset,
    DeepLakeLoader,
    DeepLakeResumeHook,
)
from mmdet_deeplake_plugin.lake import ImageReader
from mmdet_deeplake_plugin.tools.to_coco import to_coco
from mmdet_deeplake_plugin.tools.update import update

register_all_modules()

CHUNKS = (8, 3, 6, 5)  # rows appended by one commit each, which gives chunks
ROWS = sum(CHUNKS)
GLOBAL_BATCH = 4
LENGTH = 6  # batches of an epoch, the last of which has two samples
EPOCHS = 2
SECRET = 'hunter2-hunter2'
BATCHES = {
    'plain': None,
    'aspect': dict(type='DeepLakeAspectRatioBatchSampler'),
    'stock-aspect': dict(type='AspectRatioBatchSampler'),
}


@MODELS.register_module(name='ResumeTestModel')
class Model(BaseModel):
    """Notes the ids of each batch that it is trained on."""

    seen: ClassVar[list[list[int]]] = []

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, img_id: list[Any], mode: str) -> Any:
        if mode != 'loss':
            return [0 for _ in img_id]
        Model.seen.append(list(img_id))
        return {'loss': self.weight.sum()}


@TRANSFORMS.register_module(name='ResumeTestRead')
class Read:
    """Reads the image of a sample and keeps only the id."""

    def __call__(self, info: dict) -> dict:
        assert mmengine.fileio.get(info['img_path'])
        return {'img_id': info['img_id']}


@TRANSFORMS.register_module(name='ResumeTestMix')
class Mix:
    """Draws three others and puts what they could be beside the id."""

    def get_indexes(self, dataset: Any) -> list[int]:
        every = range(len(dataset))
        self.drawn_from = [dataset.get_data_info(i)['img_id'] for i in every]
        return np.random.randint(0, len(dataset), 3).tolist()

    def __call__(self, sample: dict) -> dict:
        others = {other['img_id'] for other in sample['mix_results']}
        assert others <= set(self.drawn_from)
        return {'img_id': f'{sample["img_id"]} from {self.drawn_from}'}


@METRICS.register_module(name='ResumeTestMetric')
class Metric(BaseMetric):
    """Gives each validation a better score than the last."""

    default_prefix = 'test'
    scores = itertools.count()

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict:
        return {'score': next(self.scores)}


@dataclass
class Training:
    """Runs trainings in this process, on ranks one after the other.

    Args:
        lake: Path of the lake.
        folder: Where checkpoints go.
        reads: File to which each process writes the rows whose images it reads.
        be: Makes the package believe that this process is rank ``r`` of ``R``.
    """

    lake: str
    folder: Path
    reads: Path
    be: Callable[[int, int], None]

    def config(
        self,
        loop: str = 'epoch',
        batches: str = 'plain',
        ranks: int = 1,
        workers: int = 0,
        **sampler: Any,
    ) -> Config:
        """A whole config."""
        by_epoch = loop == 'epoch'
        dataloader = dict(
            batch_size=GLOBAL_BATCH // ranks,
            num_workers=workers,
            persistent_workers=workers > 0,
            sampler=dict(type='DeepLakeLoader', **sampler),
            dataset=dict(
                type='DeepLakeDataset',
                deeplake_path=self.lake,
                pipeline=[dict(type='ResumeTestRead')],
            ),
        )
        if BATCHES[batches]:
            dataloader['batch_sampler'] = dict(BATCHES[batches])
        limit = (
            dict(by_epoch=True, max_epochs=EPOCHS)
            if by_epoch
            else dict(by_epoch=False, max_iters=EPOCHS * LENGTH)
        )
        return Config(
            dict(
                default_scope='mmdet',
                model=dict(type='ResumeTestModel'),
                work_dir=str(self.folder),
                train_dataloader=dataloader,
                train_cfg=limit,
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
                default_hooks=dict(
                    logger=dict(type='LoggerHook', interval=1000),
                    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3),
                ),
                log_processor=dict(by_epoch=by_epoch),
                custom_hooks=[dict(type='DeepLakeResumeHook')],
                randomness=dict(seed=3),
                log_level='WARNING',
            )
        )

    def run(self, config: Config, ranks: int = 1, start: str = '') -> list[list[int]]:
        """Trains from the beginning or from a checkpoint, once as each rank.

        Returns:
            Ids of each batch of all ranks, in their order.
        """
        by_rank = []
        for rank in range(ranks):
            self.be(rank, ranks)
            config = copy.deepcopy(config)
            if start:
                config.update(resume=True, load_from=str(self.folder / start))
                config.default_hooks.checkpoint.update(interval=100, save_last=False)
            # Only the first rank writes checkpoints.
            config.work_dir = str(self.folder if not rank else self.folder / 'other')
            config.experiment_name = f'run_{next(_numbers)}'
            Model.seen = []
            runner = Runner.from_cfg(config)
            try:
                runner.train()
            finally:
                _end_workers(runner)
            by_rank.append(Model.seen)
        self.be(0, 1)
        assert len({len(seen) for seen in by_rank}) == 1
        return [_dealt(parts) for parts in zip(*by_rank)]

    def read_rows(self) -> Counter[int]:
        """Rows whose images were read since the last call, and how often."""
        rows = self.reads.read_text().split() if self.reads.exists() else []
        self.reads.unlink(missing_ok=True)
        return Counter(map(int, rows))


_numbers = itertools.count()


def _end_workers(runner: Runner) -> None:
    # A runner is a part of cycles: its workers would wait until these are found.
    if isinstance(runner.train_loop, IterBasedTrainLoop):
        runner.train_loop.dataloader_iterator = None
    runner.train_dataloader._iterator = None


def _dealt(parts: tuple[list[int], ...]) -> list[int]:
    """Puts together what the ranks got of a batch, ``batch[rank::ranks]`` each."""
    rounds = itertools.zip_longest(*parts)
    return [i for turn in rounds for i in turn if i is not None]


@pytest.fixture(scope='module')
def mixed_lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake of several chunks with upright and wide images; ids are row numbers."""
    rows = [row(number) for number in range(ROWS)]
    for number in range(0, ROWS, 3):
        rows[number].update(images=picture(number, 40, 64), width=40, height=64)
    path = write_lake(tmp_path_factory.mktemp('lakes') / 'mixed', rows[: CHUNKS[0]])
    start = CHUNKS[0]
    for count in CHUNKS[1:]:
        lake, more = open_lake(path), rows[start : start + count]
        lake.append({name: [values[name] for values in more] for name in COLUMNS})
        lake.commit()
        start += count
    return path


@pytest.fixture()
def training(mixed_lake: str, tmp_path: Path, monkeypatch) -> Iterator[Training]:
    """Trains on the lake and counts image reads, in workers too."""
    yield _training(mixed_lake, tmp_path, monkeypatch)


def _training(lake: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    reads = folder / 'reads.txt'
    list_rows, read_one = ImageReader._list, ImageReader.read_row

    def note(rows: Iterable[int]) -> None:
        with reads.open('a') as file:
            file.writelines(f'{number}\n' for number in rows)

    def noted_list(reader: ImageReader, rows: list[int]) -> None:
        list_rows(reader, rows)
        note(reader._listed)

    def noted(reader: ImageReader, row: int) -> bytes:
        note({row} - reader._listed.keys())
        return read_one(reader, row)

    def be(rank: int, ranks: int) -> None:
        monkeypatch.setattr(loader_module, 'get_dist_info', lambda: (rank, ranks))
        monkeypatch.setattr(resume_module, 'get_world_size', lambda: ranks)

    monkeypatch.setattr(ImageReader, '_list', noted_list)
    monkeypatch.setattr(ImageReader, 'read_row', noted)
    # It runs compilers to learn their versions, for seconds.
    monkeypatch.setattr(Runner, '_log_env', lambda *arguments: None)
    # torch >= 2.6 refuses the checkpoints of MMEngine otherwise.
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    return Training(lake, folder, reads, be)


@pytest.fixture()
def log() -> Iterator[io.StringIO]:
    """What MMEngine's loggers write."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    original = MMLogger.callHandlers

    def also(logger: MMLogger, record: logging.LogRecord) -> None:
        handler.handle(record)
        original(logger, record)

    MMLogger.callHandlers = also
    yield stream
    MMLogger.callHandlers = original


# ------------------------------------------------------------------------- the next batch


@pytest.mark.parametrize('loop', ['epoch', 'iteration'])
@pytest.mark.parametrize('shuffle', ['full', 'lanes'])
@pytest.mark.parametrize(
    ('batches', 'before', 'now'),
    [
        ('plain', 1, 1),
        ('plain', 1, 2),
        ('plain', 2, 1),
        ('aspect', 1, 1),
        ('aspect', 1, 2),
        ('aspect', 2, 1),
        ('stock-aspect', 1, 1),
    ],
)
def test_it_goes_on_at_the_next_batch(loop, shuffle, batches, before, now, training):
    """From any iteration, with any ranks and workers, the rest comes in its order.

    And the images that are read are those of the rest, each once.
    """
    keys = dict(loop=loop, batches=batches, shuffle=shuffle)
    keys.update(lanes=4) if shuffle == 'lanes' else None
    whole = training.run(training.config(ranks=before, **keys), before)
    assert len(whole) == EPOCHS * LENGTH
    for epoch in (whole[:LENGTH], whole[LENGTH:]):
        assert sorted(itertools.chain(*epoch)) == list(range(ROWS))
    training.read_rows()
    for workers, done in [(0, 3), (0, LENGTH), (2, LENGTH + 3)]:
        config = training.config(ranks=now, workers=workers, **keys)
        rest = training.run(config, now, f'iter_{done}.pth')
        assert rest == whole[done:], (workers, done)
        assert training.read_rows() == Counter(itertools.chain(*rest)), (workers, done)


def test_a_resumed_run_is_resumed_in_the_same_epoch(training):
    """A checkpoint that a resumed run writes tells the place in the whole epoch."""
    config = training.config()
    config.default_hooks.checkpoint.interval = 2
    whole = training.run(config)
    (training.folder / 'iter_2.pth').rename(training.folder / 'first.pth')
    (training.folder / 'iter_4.pth').unlink()
    config.train_cfg.max_epochs = 1
    config.load_from, config.resume = str(training.folder / 'first.pth'), True
    assert training.run(config) == whole[2:LENGTH]
    rest = training.run(training.config(ranks=2), 2, 'iter_4.pth')
    assert rest == whole[4:]


@pytest.mark.parametrize(('loop', 'done'), [('epoch', LENGTH), ('iteration', 8)])
def test_the_best_checkpoint_is_resumed_behind_its_batches(loop, done, training):
    """What save_best writes, between two epochs or within one, loses no batch."""
    config = training.config(loop)
    if loop == 'epoch':
        config.train_cfg.update(max_epochs=1, val_interval=1)
    else:
        config.train_cfg.update(max_iters=done, val_interval=4)
    config.val_cfg = dict()
    config.val_dataloader = dict(
        batch_size=ROWS,
        num_workers=0,
        sampler=dict(type='DeepLakeLoader', shuffle=False),
        dataset=copy.deepcopy(config.train_dataloader.dataset),
    )
    config.val_evaluator = dict(type='ResumeTestMetric')
    config.default_hooks.checkpoint.update(
        save_best='test/score', rule='greater', interval=100, save_last=False
    )
    training.run(config)
    (best,) = training.folder.glob(f'best_test_score_iter_{done}.pth')
    whole = training.run(training.config(loop))
    assert training.run(training.config(loop), start=best.name) == whole[done:]


def test_epochs_shorter_than_their_length_are_resumed(training):
    """AspectRatioBatchSampler with drop_last gives fewer batches than its length."""
    config = training.config('iteration', 'stock-aspect')
    config.train_dataloader.batch_sampler.drop_last = True
    config.train_dataloader.dataset.indices = 20  # 7 upright and 13 wide images
    whole = training.run(config)
    assert len(list(Runner.build_dataloader(config.train_dataloader))) == 4 < 20 // 4
    for done in (3, 6, 9):
        assert training.run(config, start=f'iter_{done}.pth') == whole[done:]


@pytest.mark.parametrize('loop', ['epoch', 'iteration'])
def test_weighted_samples_are_resumed(loop, training):
    """An order in which samples come several times goes on as it was."""
    config = training.config(loop, 'aspect', shuffle='lanes', lanes=4)
    config.train_dataloader.sampler.weights = dict(type='column', name='width')
    whole = training.run(config)
    assert max(Counter(itertools.chain(*whole[:LENGTH])).values()) > 1
    for done in (3, 9):
        assert training.run(config, start=f'iter_{done}.pth') == whole[done:]


@pytest.mark.parametrize('loop', ['epoch', 'iteration'])
@pytest.mark.parametrize(('ranks', 'workers'), [(1, 0), (1, 2), (2, 1)])
def test_samples_are_mixed_from_the_same_after_a_resume(loop, ranks, workers, training):
    """The next batch, and for each sample what the other images are drawn from."""

    def config() -> Config:
        keys = dict(shuffle='lanes', lanes=4, loader_type='c++')
        found = training.config(loop, ranks=ranks, workers=workers, **keys)
        found.train_dataloader.dataset = dict(
            type='DeepLakeMultiImageMixDataset',
            dataset=found.train_dataloader.dataset,
            pipeline=[dict(type='ResumeTestMix')],
        )
        return found

    whole = training.run(config(), ranks)
    ids = [[int(sample.partition(' ')[0]) for sample in batch] for batch in whole]
    for epoch in (ids[:LENGTH], ids[LENGTH:]):
        assert sorted(itertools.chain(*epoch)) == list(range(ROWS))
    texts = [sample.partition(' ')[2] for batch in whole for sample in batch]
    assert len(set(texts)) > 4
    for done in (3, LENGTH, LENGTH + 3):
        assert training.run(config(), ranks, f'iter_{done}.pth') == whole[done:]


def test_wrapped_lakes_are_resumed(training):
    """Behind ConcatDataset and RepeatDataset a run goes on at the next batch too."""
    config = training.config()
    inner = dict(config.train_dataloader.dataset, indices=6)
    config.train_dataloader.dataset = dict(
        type='ConcatDataset',
        datasets=[inner, dict(type='RepeatDataset', times=2, dataset=inner)],
    )
    whole = training.run(config)
    assert len(whole) == EPOCHS * 5
    assert training.run(config, start='iter_6.pth') == whole[6:]
    lakes = _entry(training, 'iter_6.pth')['lakes']
    assert [lakes[key]['samples'] for key in ('0', '1')] == [6, 6]


# ---------------------------------------------------------------------- what has changed


@pytest.fixture(scope='module')
def trained(mixed_lake: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an epoch's training on a copy of the lake, ``lake``."""
    folder = tmp_path_factory.mktemp('trained')
    shutil.copytree(mixed_lake, folder / 'lake')
    with pytest.MonkeyPatch.context() as monkeypatch:
        training = _training(str(folder / 'lake'), folder, monkeypatch)
        training.run(training.config(shuffle='full'))
    return folder


@pytest.fixture()
def again(trained: Path, monkeypatch) -> Training:
    """Trains on that copy, beside its checkpoints."""
    return _training(str(trained / 'lake'), trained, monkeypatch)


def _change_rows(config: Config) -> None:
    config.train_dataloader.dataset.indices = 20


def _change_seed(config: Config) -> None:
    config.train_dataloader.sampler.seed = 7


def _change_batch(config: Config) -> None:
    config.train_dataloader.batch_size = 6


def _change_shuffle(config: Config) -> None:
    config.train_dataloader.sampler.shuffle = 'lanes'


def _change_batches(config: Config) -> None:
    config.train_dataloader.batch_sampler = dict(type='DeepLakeAspectRatioBatchSampler')


CHANGES = {
    'rows': (
        _change_rows,
        [
            f'lakes.0.samples: {ROWS} in the checkpoint, 20 now; lakes.0.rows: ',
            f'; order.samples: {ROWS} in the checkpoint, 20 now',
        ],
    ),
    'seed': (_change_seed, [': order.seed: 3 in the checkpoint, 7 now. Restore']),
    'global-batch': (
        _change_batch,
        [
            ': batches.global_batch: 4 in the checkpoint, 6 now; '
            f'batches.in_epoch: {LENGTH} in the checkpoint, 4 now. Restore'
        ],
    ),
    'shuffle': (
        _change_shuffle,
        [
            ': order.shuffle: full in the checkpoint, lanes now; order.lanes: none in '
            'the checkpoint, 64 now; order.window: none in the checkpoint, 1 now. Restore'
        ],
    ),
    'batch-sampler': (
        _change_batches,
        [
            ': batches.sampler: BatchSampler in the checkpoint, '
            'DeepLakeAspectRatioBatchSampler now. Restore'
        ],
    ),
}
BEGIN = 'DeepLakeResumeHook: this run would not continue exactly after the checkpoint: '
END = (
    'Restore what differs, or accept it with '
    "custom_hooks=[dict(type='DeepLakeResumeHook', accept_changes=True)]"
)


@pytest.mark.parametrize('change', CHANGES)
def test_a_change_is_an_error_that_shows_both_sides(change, again):
    """Rows, seed, batch, shuffle and batch sampler must be those of the checkpoint."""
    make, texts = CHANGES[change]
    config = again.config(shuffle='full')
    make(config)
    with pytest.raises(ValueError, match=re.escape(BEGIN)) as caught:
        again.run(config, start='iter_3.pth')
    for text in (*texts, END):
        assert text in str(caught.value)
    assert Model.seen == []


@pytest.mark.parametrize('loop', ['epoch', 'iteration'])
@pytest.mark.parametrize('change', CHANGES)
def test_a_change_can_be_accepted(change, loop, again, log):
    """With accept_changes the training goes on to its end, with a warning instead."""
    make, texts = CHANGES[change]
    config = again.config(loop, shuffle='full')
    config.custom_hooks[0].accept_changes = True
    make(config)
    seen = again.run(config, start='iter_6.pth')
    total = (
        EPOCHS * LENGTH
        if loop == 'iteration'
        else LENGTH + len(Runner.build_dataloader(config.train_dataloader))
    )
    assert len(seen) == total - 6
    assert BEGIN in log.getvalue()
    for text in texts:
        assert text.replace('. Restore', '') in log.getvalue()


def test_another_version_of_the_lake_is_an_error(training, tmp_path):
    """A commit behind the checkpoint is named with both versions; pinning helps."""
    training.lake = shutil.copytree(training.lake, tmp_path / 'lake')
    training.lake = str(training.lake)
    whole = training.run(training.config())
    old = version(training.lake)
    append(training.lake, [ROWS])
    new = version(training.lake)
    text = f'{BEGIN}lakes.0.version: {old} in the checkpoint, {new} now; '
    with pytest.raises(ValueError, match=re.escape(text)):
        training.run(training.config(), start='iter_9.pth')
    config = training.config()
    config.train_dataloader.dataset.deeplake_commit_id = old
    assert training.run(config, start='iter_9.pth') == whole[9:]


def test_a_branch_with_corrections_is_an_error(training, tmp_path):
    """Both branches and versions are named; a training of its own reads the branch."""
    training.lake = str(shutil.copytree(training.lake, tmp_path / 'lake'))
    whole = training.run(training.config())
    to_coco(training.lake, tmp_path / 'out.json')
    content = json.loads((tmp_path / 'out.json').read_text())
    content['annotations'][0]['bbox'][0] += 1
    (tmp_path / 'out.json').write_text(json.dumps(content))
    update(training.lake, tmp_path / 'out.json', 'relabel')
    old = version(training.lake)
    training.lake += '@relabel'
    new = open_lake(training.lake, writable=False).version
    text = (
        f'{BEGIN}lakes.0.branch: main in the checkpoint, relabel now; '
        f'lakes.0.version: {old} in the checkpoint, {new} now. Restore what differs, or '
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        training.run(training.config(), start='iter_9.pth')
    assert training.run(training.config()) == whole


def test_stock_batches_cannot_move_to_other_ranks(training):
    """Under AspectRatioBatchSampler each rank sorts its own: another number differs."""
    training.run(training.config(batches='stock-aspect'))
    text = 'batches.ranks: 1 in the checkpoint, 2 now'
    with pytest.raises(ValueError, match=re.escape(text)):
        training.run(training.config(batches='stock-aspect', ranks=2), 2, 'iter_3.pth')


def test_an_epoch_of_another_length_is_an_error(training):
    """With drop_last, 19 samples are 4 batches of one rank, but 5 of two."""
    config = training.config()
    config.train_dataloader.update(drop_last=True)
    config.train_dataloader.dataset.indices = 19
    training.run(config)
    config.train_dataloader.batch_size = 2
    text = f'{BEGIN}batches.in_epoch: 4 in the checkpoint, 5 now. {END}'
    with pytest.raises(ValueError, match=re.escape(text)):
        training.run(config, 2, 'iter_3.pth')


def test_the_order_of_the_checkpoint_is_taken_over(training):
    """Lanes that follow from ranks and workers, and a drawn seed, stay as they were."""
    keys = dict(shuffle='lanes', batch_size=3, num_workers=5, window=2)
    config = training.config(**keys)
    config.randomness = dict(seed=None)
    whole = training.run(config)
    order = _entry(training, 'iter_3.pth')['order']
    assert (order['lanes'], order['window']) == (75, 2)
    config = training.config(ranks=2, shuffle='lanes')
    config.randomness = dict(seed=None)
    assert training.run(config, 2, 'iter_3.pth') == whole[3:]


# -------------------------------------------------------------------------- checkpoints


def _entry(training: Training, name: str) -> dict:
    checkpoint = torch.load(training.folder / name, weights_only=False)
    return checkpoint['deeplake']


def test_a_checkpoint_holds_plain_values_and_no_secret(training, monkeypatch):
    """The entry survives JSON; the file holds no value that a reference stands for."""
    monkeypatch.setenv('RESUME_TOKEN', SECRET)
    config = training.config(shuffle='lanes', lanes=4)
    config.train_dataloader.dataset.deeplake_credentials = dict(
        token='env:RESUME_TOKEN', creds=dict(aws_secret_access_key='env:RESUME_TOKEN')
    )
    training.run(config)
    entry = _entry(training, 'iter_9.pth')
    assert json.loads(json.dumps(entry)) == entry
    rows = entry['lakes']['0'].pop('rows')
    assert re.fullmatch('[0-9a-f]{16}', rows)
    assert entry == {
        'lakes': {
            '0': {
                'path': training.lake,
                'id': open_lake(training.lake, writable=False).id,
                'branch': 'main',
                'version': version(training.lake),
                'view': '',
                'samples': ROWS,
                'classes': ['cat', 'dog', 'owl'],
            }
        },
        'order': {
            'seed': 3,
            'shuffle': 'lanes',
            'samples': ROWS,
            'round_up': True,
            'lanes': 4,
            'window': 1,
        },
        'batches': {
            'sampler': 'BatchSampler',
            'global_batch': GLOBAL_BATCH,
            'drop_last': False,
            'in_epoch': LENGTH,
        },
        'position': {'epoch': 1, 'batches': 3},
    }
    assert SECRET.encode() not in (training.folder / 'iter_9.pth').read_bytes()


@pytest.mark.parametrize('loop', ['epoch', 'iteration'])
def test_a_checkpoint_without_the_entry_is_resumed_with_a_warning(loop, training, log):
    """Its iteration tells the place; that nothing could be compared is said."""
    whole = training.run(training.config(loop))
    for file in training.folder.glob('*.pth'):
        file.unlink()
    config = training.config(loop)
    config.custom_hooks = []
    if loop == 'iteration':
        config.train_cfg.max_iters = LENGTH  # MMEngine's iterator sleeps behind it
    training.run(config)
    config = training.config(loop)
    assert training.run(config, start='iter_3.pth') == whole[3:]
    assert (
        'DeepLakeResumeHook: the checkpoint was written without this hook, so its lakes '
        'and order cannot be compared with those of this run'
    ) in log.getvalue()


@pytest.mark.parametrize('loop', ['epoch', 'iteration'])
def test_weights_that_are_only_loaded_change_nothing(loop, again):
    """load_from without resume begins at the first batch, whatever was trained on."""
    config = again.config(loop, seed=11, shuffle='full')
    whole = again.run(config)
    shutil.copy(again.folder / 'iter_3.pth', again.folder / 'weights.pth')
    config.load_from = str(again.folder / 'weights.pth')
    assert again.run(config) == whole and len(whole) == EPOCHS * LENGTH


# --------------------------------------------------------------------------------- pause


def test_samplers_wait_until_the_run_has_begun(mixed_lake, log):
    """While a hook waits for its checkpoint nothing is dealt, and the log says so."""
    dataset = DeepLakeDataset(mixed_lake)
    sampler = DeepLakeLoader(dataset, seed=0)
    batches = DeepLakeAspectRatioBatchSampler(sampler, 4)
    hook = DeepLakeResumeHook()
    assert list(sampler) == [] and list(batches) == []
    assert 'DeepLakeLoader: paused until the run begins' in log.getvalue()
    hook.before_run(None)
    assert len(list(sampler)) == ROWS and len(list(batches)) == LENGTH
    hook = DeepLakeResumeHook()
    assert list(sampler) == []
    del hook
    assert len(list(sampler)) == ROWS
