"""Translates the datasets of an old config and the pipelines that they use."""

from __future__ import annotations

from typing import Any

from ..expressions import Unread, as_dict, shown
from ..migration import Migration
from ..text import Noted, Raw, Remark
from .credentials import translate_credentials
from .model import same
from .pipelines import Pipeline, translate_pipeline

_WRAPPERS = {
    'RepeatDataset': ('times',),
    'ClassBalancedDataset': ('oversample_thr',),
    'MultiImageMixDataset': ('skip_type_keys', 'max_refetch'),
}
_OF_FILES = (
    *('type', 'ann_file', 'img_prefix', 'seg_prefix', 'data_root', 'proposal_file'),
    *('test_mode', 'palette', 'file_client_args', 'samples_per_gpu', 'separate_eval'),
)
_REASONS = {
    **dict.fromkeys(_OF_FILES, 'images and annotations come from the lake'),
    'classes': (
        'the old integration took the classes from the lake; to select or reorder them '
        'write metainfo=dict(classes=…)'
    ),
    'filter_empty_gt': (
        'the old integration kept images without boxes; to leave them out write '
        'filter_cfg=dict(filter_empty_gt=True)'
    ),
}
_HANDLED = (
    *('deeplake_path', 'deeplake_credentials', 'deeplake_tensors'),
    *('deeplake_dataloader', 'pipeline', '_delete_'),
)
_SELECTIONS = {
    'deeplake_commit_id': (
        'versions of a lake that was converted to Deep Lake 4 have other ids; '
        'tools.inspect lists them'
    ),
    'deeplake_view_id': (
        "a view is a tag in Deep Lake 4: save it once with view.tag('NAME') and write "
        'that name'
    ),
    'deeplake_query': (
        'functions of TQL changed with Deep Lake 4; tools.inspect LAKE --query shows '
        'whether it selects the rows that you expect'
    ),
}


class Datasets:
    """The datasets of the new config, and their pipelines."""

    def __init__(self, migration: Migration) -> None:
        self._migration = migration
        # Old pipeline, whether it is one of a test, and the expression for the new one.
        self._known: list[tuple[Any, bool, str]] = []
        # Name -> pipeline at the top level of the new config.
        self.pipelines: dict[str, list[Any]] = {}
        # The first one that the old config has of its own.
        self.train_pipeline: Pipeline | None = None

    def over_base(self, part: str, old: Any, base: dict[str, Any]) -> Any:
        """Translate a dataset into what to override in that of the base.

        The wrappers of the base stay where the old config has no pipeline of its own.

        Args:
            part: ``'train'``, ``'val'`` or ``'test'``.
            old: The old dataset.
            base: The dataset of the new base; empty if it has none.

        Raises:
            ValueError: If the dataset cannot be read, or has no pipeline at all.
        """
        inner = base.get('dataset')
        if isinstance(inner, dict) and isinstance(old, dict) and 'pipeline' not in old:
            if old.get('type') not in _WRAPPERS:
                return {'dataset': self.over_base(part, old, inner)}
        new = self._dataset(f'data.{part}', part, old)
        return {'_delete_': True, **new} if base else new

    def _dataset(self, key: str, part: str, old: Any, packs: bool = True) -> Any:
        if isinstance(old, (list, tuple)):
            old = dict(type='ConcatDataset', datasets=list(old))
        if not isinstance(old, dict):
            raise ValueError(f'{key} must be a dict that can be read, got {shown(old)}')
        kind = old.get('type')
        if kind == 'ConcatDataset':
            datasets = [
                self._dataset(f'{key}[{number}]', part, each, packs)
                for number, each in enumerate(old.get('datasets', ()))
            ]
            return dict(type=kind, datasets=datasets)
        if kind not in _WRAPPERS:
            return self._leaf(key, part, old, packs)
        packs = packs and kind != 'MultiImageMixDataset'  # which packs the samples itself
        inner = self._dataset(f'{key}.dataset', part, old.get('dataset', {}), packs)
        new = dict(type=kind, dataset=inner)
        unknown, elsewhere = f'{kind} does not have it', ('type', 'dataset', 'pipeline')
        new |= self._migration.move(key, _WRAPPERS[kind], kind, unknown, elsewhere, old)
        if isinstance(old.get('pipeline'), (list, tuple)):
            here = f'{key}.pipeline'
            new['pipeline'] = self._pipeline(here, part, old['pipeline'], loads=False)
        return new

    def _leaf(
        self, key: str, part: str, old: dict[str, Any], packs: bool
    ) -> dict[str, Any]:
        migration = self._migration
        path, here = old.get('deeplake_path'), f'{key}.deeplake_path'
        new: dict[str, Any] = dict(type='DeepLakeDataset')
        new['deeplake_path'] = Noted('', 'Write the path of the lake.')
        if not path:
            migration.attend(
                here,
                'is missing; write the path of the lake, which the old training script '
                f'passed as ds_{part}=…',
            )
        elif migration.readable(here, path):
            new['deeplake_path'] = path
            migration.carry(here, 'deeplake_path')
        credentials = translate_credentials(
            migration, f'{key}.deeplake_credentials', old.get('deeplake_credentials')
        )
        if credentials is not None:
            new['deeplake_credentials'] = credentials
        for name, text in _SELECTIONS.items():
            if old.get(name) and migration.readable(f'{key}.{name}', old[name]):
                new[name] = old[name]
                migration.carry(f'{key}.{name}', name)
                migration.attend(f'{key}.{name}', text)
        here = f'{key}.deeplake_tensors'
        tensors = migration.readable_keys(here, old.get('deeplake_tensors') or {})
        if tensors:
            new['deeplake_tensors'] = tensors
            migration.carry(here, 'deeplake_tensors')
        if part != 'train':
            new['test_mode'] = True
        here = f'{key}.pipeline'
        new['pipeline'] = self._pipeline(here, part, old.get('pipeline'), packs=packs)
        for name in old:
            if name not in (*_SELECTIONS, *_HANDLED):
                default = 'DeepLakeDataset does not have it'
                migration.leave(f'{key}.{name}', _REASONS.get(name, default))
        return new

    def _pipeline(
        self, key: str, part: str, old: Any, loads: bool = True, packs: bool = True
    ) -> Raw:
        for_test = part != 'train'
        inherited = self._inherited(part)
        if isinstance(old, Unread) and not old.name:
            self._migration.readable(key, old)
        if not isinstance(old, (list, tuple)):  # as in the base
            if inherited is None:
                raise ValueError(
                    f'{key} must be a list of transforms, as neither the old config nor '
                    'the new base has a pipeline; add --base with a config that has one'
                )
            return Raw(inherited[0])
        for pipeline, test, expression in self._known:
            if pipeline == old and test == for_test:
                return Raw(expression)
        masks = self.train_pipeline is not None and self.train_pipeline.has_masks
        new = translate_pipeline(
            self._migration, key, list(old), for_test, masks, loads, packs
        )
        if not for_test and self.train_pipeline is None:
            self.train_pipeline = new
        expression = 'test_pipeline' if for_test else 'train_pipeline'
        if expression in self.pipelines:
            expression += f'_{len(self.pipelines)}'
        whole = not any(isinstance(step, Remark) for step in new.steps)
        if whole and inherited is not None and same(_plain(new.steps), inherited[1]):
            expression = inherited[0]
        else:
            self.pipelines[expression] = new.steps
        self._known.append((old, for_test, expression))
        self._migration.carry(key, expression)
        return Raw(expression)

    def _inherited(self, part: str) -> tuple[str, list[Any]] | None:
        """Return the pipeline of the new base, after the expression for it."""
        base, path = self._migration.base, f'_base_.{part}_dataloader.dataset'
        dataset = as_dict(as_dict(base.get(f'{part}_dataloader')).get('dataset'))
        while 'dataset' in dataset or dataset.get('datasets'):
            if 'dataset' in dataset:
                path, dataset = f'{path}.dataset', dataset['dataset']
            else:
                path, dataset = f'{path}.datasets[0]', dataset['datasets'][0]
        if dataset.get('pipeline') is None:
            return None
        steps = _plain(dataset['pipeline'])
        name = 'train_pipeline' if part == 'train' else 'test_pipeline'
        if name in base and same(_plain(base[name]), steps):
            return f'_base_.{name}', steps
        return f'{path}.pipeline', steps


def first_leaf(dataset: Any) -> dict[str, Any]:
    """Return the first dataset in wrappers and lists; ``{}`` if there is none."""
    while True:
        if isinstance(dataset, (list, tuple)) and dataset:
            dataset = dataset[0]
        elif isinstance(dataset, dict) and (
            'dataset' in dataset or 'datasets' in dataset
        ):
            dataset = dataset.get('dataset', dataset.get('datasets'))
        else:
            return as_dict(dataset)


def _plain(steps: Any) -> list[Any]:
    """Leave out what says nothing, so that two pipelines can be compared."""
    return [
        {k: v for k, v in dict(step).items() if k not in ('backend_args', '_scope_')}
        for step in steps
    ]
