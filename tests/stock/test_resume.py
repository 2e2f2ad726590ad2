"""The stock ``train.py``, killed in the middle of an epoch and resumed."""

from __future__ import annotations

import re
import shutil
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain, zip_longest
from pathlib import Path

import pytest
from mmdet.utils import register_all_modules
from stock_tools import StockTools

from mmdet_deeplake_plugin import DeepLakeDataset

register_all_modules()

TOTAL = 14  # iterations: 26 images, 4 a batch, 2 epochs
GLOBAL_BATCH = 4


@dataclass(frozen=True)
class Kind:
    """What the sequence of batches is made of.

    Args:
        config: Name of the config, which is that of a loop.
        lake: Name of the lake; ``coco_cc`` has upright and wide images.
        batches: Type of the batch sampler, if any.
        shuffle: Shuffle of ``DeepLakeLoader``.
        kill: Number of iterations after which a run is killed.
        saved: The last of them with a checkpoint.
    """

    config: str
    lake: str
    batches: str
    shuffle: str
    kill: int
    saved: int


KINDS = {
    'epochs-plain-full': Kind('resume_epochs', 'bccd_train', '', 'full', 5, 3),
    'iterations-aspect-lanes': Kind(
        'resume_iterations', 'coco_cc', 'DeepLakeAspectRatioBatchSampler', 'lanes', 11, 9
    ),
    'epochs-stock-aspect-full': Kind(
        'resume_epochs', 'coco_cc', 'AspectRatioBatchSampler', 'full', 11, 9
    ),
}
# Ranks and workers before the kill, and those of the resumed run.
CHANGES = {
    'one-rank': ((1, 2), (1, 0)),
    'one-to-two-ranks': ((1, 2), (2, 2)),
    'two-ranks-to-one': ((2, 0), (1, 2)),
}


@dataclass
class Trainings:
    """Runs ``train.py`` or ``dist_train.sh`` and knows what was seen and read.

    Args:
        run_tool: Runs a stock tool.
        lake: Gives the path of a lake by name.
        folder: Where the runs leave their files.
        done: Kind of run -> its folder; each is run once.
    """

    run_tool: StockTools
    lake: Callable[[str], str]
    folder: Path
    done: dict[object, Path] = field(default_factory=dict)

    def whole(self, kind: Kind) -> list[tuple[int, list[int]]]:
        """What an uninterrupted run by one process sees."""
        if kind not in self.done:
            self.done[kind] = self._run(kind, self.folder / f'whole_{len(self.done)}')
        seen = batches_seen(self.done[kind])
        assert [number for number, _ in seen] == list(range(TOTAL))
        return seen

    def killed(self, kind: Kind, ranks: int, workers: int) -> Path:
        """Folder of a run that was killed."""
        key = (kind, ranks, workers)
        if key not in self.done:
            self.done[key] = folder = self.folder / f'killed_{len(self.done)}'
            end = r'ended with -9:' if ranks == 1 else r'ended with (-9|1|137):'
            with pytest.raises(pytest.fail.Exception, match=end):
                self._run(
                    kind, folder, ranks, workers, f'custom_hooks.1.kill={kind.kill}'
                )
        return self.done[key]

    def killed_worker(self, kind: Kind, folder: Path) -> str:
        """Kills a worker and returns the end of what the run wrote."""
        with pytest.raises(pytest.fail.Exception, match='ended with 1:') as caught:
            self._run(
                kind,
                folder,
                1,
                2,
                f'custom_hooks.1.kill={kind.kill}',
                'custom_hooks.1.worker=True',
            )
        return str(caught.value)

    def resumed(self, kind: Kind, killed: Path, ranks: int, workers: int) -> Path:
        """Folder of a run that goes on where a killed one has left a checkpoint."""
        folder = self.folder / f'resumed_{len(list(self.folder.iterdir()))}'
        shutil.copytree(killed, folder)
        for file in (folder / 'notes').iterdir():
            file.unlink()
        name = Path((folder / 'last_checkpoint').read_text().strip()).name
        assert name == f'iter_{kind.saved}.pth'
        (folder / 'last_checkpoint').write_text(str(folder / name))
        return self._run(kind, folder, ranks, workers, resume=True)

    def rows(self, kind: Kind) -> dict[int, int]:
        """Image id -> row of the lake."""
        dataset = DeepLakeDataset(self.lake(kind.lake))
        rows = dataset.rows_of().tolist()
        return {dataset.get_data_info(i)['img_id']: row for i, row in enumerate(rows)}

    def _run(
        self,
        kind: Kind,
        folder: Path,
        ranks: int = 1,
        workers: int = 0,
        *options: str,
        resume: bool = False,
    ) -> Path:
        (folder / 'notes').mkdir(parents=True, exist_ok=True)
        options = (
            *options,
            f'train_dataloader.batch_size={GLOBAL_BATCH // ranks}',
            f'train_dataloader.num_workers={workers}',
            f'train_dataloader.persistent_workers={workers > 0}',
            f'train_dataloader.sampler.shuffle={kind.shuffle}',
        )
        if kind.batches:
            batches = 'train_dataloader.batch_sampler'
            options += (f'{batches}.type={kind.batches}', f'{batches}._delete_=True')
        tool, number = ('dist_train.sh', [ranks]) if ranks > 1 else ('train.py', [])
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        self.run_tool(
            tool,
            kind.config,
            *number,
            *('--work-dir', folder),
            *(['--resume'] if resume else []),
            options=options,
            timeout=300,
            PORT=str(port),
            RESUME_LAKE=self.lake(kind.lake),
            RESUME_NOTES=str(folder / 'notes'),
        )
        return folder


def batches_seen(folder: Path) -> list[tuple[int, list[int]]]:
    """Iteration and image ids of each batch of all ranks together, in their order."""
    by_rank = []
    for file in sorted((folder / 'notes').glob('seen_*')):
        lines = [list(map(int, line.split())) for line in file.read_text().splitlines()]
        by_rank.append({number: ids for number, *ids in lines})
        assert len(by_rank[-1]) == len(lines)
    assert all(list(seen) == list(by_rank[0]) for seen in by_rank)
    return [
        # Rank r of R has batch[r::R].
        (number, [i for i in chain(*zip_longest(*parts)) if i is not None])
        for number, parts in (
            (number, [seen[number] for seen in by_rank]) for number in by_rank[0]
        )
    ]


def rows_read(folder: Path) -> Counter[int]:
    """Rows whose image was read, by all processes together, and how often."""
    files = (folder / 'notes').glob('read_*')
    return Counter(int(row) for file in files for row in file.read_text().split())


@pytest.fixture(scope='module')
def trainings(run_tool, lake, tmp_path_factory) -> Trainings:
    """Trainings of this module, each of which is run once."""
    return Trainings(run_tool, lake, tmp_path_factory.mktemp('resume'))


def _assert_goes_on(trainings: Trainings, kind: Kind, resumed: Path) -> None:
    rest = trainings.whole(kind)[kind.saved :]
    assert batches_seen(resumed) == rest
    rows = trainings.rows(kind)
    assert rows_read(resumed) == Counter(rows[i] for _, ids in rest for i in ids)


@pytest.mark.parametrize(
    ('kind', 'change'),
    [
        *(('epochs-plain-full', change) for change in CHANGES),
        *(('iterations-aspect-lanes', change) for change in CHANGES),
        ('epochs-stock-aspect-full', 'one-rank'),
    ],
)
def test_a_killed_training_goes_on_at_the_next_batch(kind, change, trainings):
    """The model sees the very batches of an uninterrupted run, in their order.

    The resumed run reads the images of these batches, each once, and no other.
    """
    kind, (before, now) = KINDS[kind], CHANGES[change]
    killed = trainings.killed(kind, *before)
    assert batches_seen(killed) == trainings.whole(kind)[: kind.kill]
    _assert_goes_on(trainings, kind, trainings.resumed(kind, killed, *now))


def test_a_killed_worker_ends_the_training_soon_and_it_goes_on(trainings):
    """Within 30 s the run ends with an error that says so; the next run resumes it."""
    kind = replace(KINDS['epochs-plain-full'], kill=5)
    folder = trainings.folder / 'killed_worker'
    output = trainings.killed_worker(kind, folder)
    waited = time.time() - float((folder / 'notes' / 'killed_0').read_text())
    assert waited < 30
    assert re.search(r'DataLoader worker \(pid \d+\) is killed by signal: Killed', output)
    _assert_goes_on(trainings, kind, trainings.resumed(kind, folder, 1, 2))
