"""Goes through stock configs: which parts of them can read a lake, and do they?

Many configs differ in the model alone. A part (a dataloader, or an evaluator with its
dataset) that several configs share, once it is rewritten, is one job, done once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from helpers.samples import STOCK_CONFIGS
from mmdet.utils import register_all_modules
from mmengine.config import Config

from zoo.compare import Outcome, compare_evaluators, compare_loaders, one_line, smaller
from zoo.data import ZooData
from zoo.rewrite import (
    OutOfReach,
    evaluator_on_files,
    evaluator_on_lake,
    leaves,
    on_files,
    on_lake,
)

LOADERS = ('train', 'val')


@dataclass(frozen=True)
class Job:
    """A comparison: of two dataloaders, or of two pairs of dataset and evaluator."""

    kind: str
    files: Any
    lake: Any

    @property
    def digest(self) -> str:
        """The same for jobs that do the same."""
        return hashlib.sha256(repr((self.kind, self.files)).encode()).hexdigest()


@dataclass
class Entry:
    """What is known of a config.

    Attributes:
        name: Path below MMDetection's configs.
        group: Kind of its data.
        jobs: Part (``train``, ``val``, ``evaluator``) -> digest of its job.
        out_of_reach: Part -> type that has no counterpart.
        unreadable: Why the config cannot be loaded, else empty.
    """

    name: str
    group: str = ''
    jobs: dict[str, str] = field(default_factory=dict)
    out_of_reach: dict[str, str] = field(default_factory=dict)
    unreadable: str = ''

    @property
    def is_whole(self) -> bool:
        """Whether all its dataloaders have a counterpart."""
        return any(part in self.jobs for part in LOADERS) and not any(
            part in self.out_of_reach for part in LOADERS
        )

    @property
    def is_part(self) -> bool:
        """Whether some but not all of its dataloaders have a counterpart."""
        return not self.is_whole and any(part in self.jobs for part in LOADERS)

    def outcome(self, outcomes: Mapping[str, Outcome]) -> Outcome:
        """The worst outcome of its dataloaders.

        Args:
            outcomes: Digest of a job -> what came of it.
        """
        found = [outcomes[self.jobs[part]] for part in LOADERS if part in self.jobs]
        worst = ('ours', 'stock', 'equal')
        return min(found, key=lambda outcome: worst.index(outcome.verdict))


def stock_names() -> list[str]:
    """All configs that ship with MMDetection, but for those to build on."""
    paths = (path.relative_to(STOCK_CONFIGS) for path in STOCK_CONFIGS.rglob('*.py'))
    return sorted(str(path) for path in paths if '_base_' not in path.parts)


def survey(names: Iterable[str], data: ZooData) -> tuple[list[Entry], dict[str, Job]]:
    """Rewrites configs and collects the comparisons to make.

    Args:
        names: Paths below MMDetection's configs.
        data: Test data, which gets what is missing.

    Returns:
        An entry for each config, and digest -> job.
    """
    register_all_modules()
    jobs: dict[str, Job] = {}
    return [_entry(name, data, jobs) for name in names], jobs


def do(job: Job) -> Outcome:
    """Makes a comparison."""
    compare = compare_loaders if job.kind == 'loader' else compare_evaluators
    return compare(job.files, job.lake)


def _entry(name: str, data: ZooData, jobs: dict[str, Job]) -> Entry:
    try:
        # Modules that a config imports hold models, which are not built here.
        config = Config.fromfile(STOCK_CONFIGS / name, import_custom_modules=False)
    except Exception as error:
        return Entry(name, unreadable=one_line(f'{type(error).__name__}: {error}'))
    plain = config.to_dict()
    entry = Entry(name, _group(plain))
    for part in LOADERS:
        loader = plain.get(f'{part}_dataloader')
        if not loader:
            continue
        try:
            job = _loader_job(loader, data)
        except OutOfReach as error:
            entry.out_of_reach[part] = str(error)
        else:
            jobs[job.digest] = job
            entry.jobs[part] = job.digest
            if part == 'val' and plain.get('val_evaluator'):
                _add_evaluator(entry, plain['val_evaluator'], job, jobs)
    return entry


def _loader_job(loader: Mapping[str, Any], data: ZooData) -> Job:
    cut = smaller(dict(loader))
    files = {**cut, 'dataset': on_files(cut['dataset'], data)}
    return Job(
        'loader', files, {**files, 'dataset': on_lake(files['dataset'], data.lakes)}
    )


def _add_evaluator(
    entry: Entry, evaluator: Any, loader: Job, jobs: dict[str, Job]
) -> None:
    files = evaluator_on_files(evaluator, loader.files['dataset'])
    try:
        lake = evaluator_on_lake(files)
    except OutOfReach as error:
        entry.out_of_reach['evaluator'] = str(error)
        return
    datasets = (_bare(each['dataset']) for each in (loader.files, loader.lake))
    job = Job('evaluator', *zip(datasets, (files, lake)))
    jobs[job.digest] = job
    entry.jobs['evaluator'] = job.digest


def _bare(dataset: Any) -> Any:
    """A dataset without pipelines: the evaluator's job is the same for many of them."""
    if 'datasets' in dataset:
        return {**dataset, 'datasets': [_bare(part) for part in dataset['datasets']]}
    return {**dataset, 'pipeline': []}


def _group(config: Mapping[str, Any]) -> str:
    train = config.get('train_dataloader') or {}
    dataset = train.get('dataset')
    text = repr(dataset)
    types = {leaf['type'] for leaf in leaves(dataset)} if dataset else set()
    if 'CocoPanopticDataset' in types:
        return 'panoptic'
    if any(name.startswith('LVIS') for name in types):
        return 'LVIS'
    if 'CrowdHumanDataset' in types:
        return 'CrowdHuman'
    if any(name.startswith('OpenImages') for name in types):
        return 'OpenImages'
    if types & {'ODVGDataset', 'MDETRStyleRefCocoDataset'}:
        return 'grounding'
    if 'VOCDataset' in types:
        return 'Pascal VOC'
    if 'WIDERFaceDataset' in types:
        return 'WIDER Face'
    if types & {'MOTChallengeDataset', 'YouTubeVISDataset', 'ReIDDataset'}:
        return 'videos and persons'
    if 'MultiBranch' in text:
        return 'semi-supervised'
    if "'return_classes': True" in text:
        return 'open vocabulary'
    if "'with_seg': True" in text:
        return 'instance and semantic'
    return 'instance' if "'with_mask': True" in text else 'detection'
