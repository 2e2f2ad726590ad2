"""Translates the datasets of an old config and the pipelines that they use."""

from __future__ import annotations

from typing import Any

from ..expressions import Unread
from ..findings import Findings
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
    *('test_mode', 'filter_empty_gt', 'classes', 'palette', 'file_client_args'),
    *('samples_per_gpu', 'separate_eval'),
)
_REASONS = {
    'classes': (
        'the old integration took the classes from the lake; to select or reorder them '
        'write metainfo=dict(classes=…)'
    ),
    'filter_empty_gt': (
        'the old integration kept images without boxes; to leave them out write '
        'filter_cfg=dict(filter_empty_gt=True)'
    ),
}
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
    """The datasets of the new config, and their pipelines.

    Args:
        base: The new base, as a dict.
        findings: Gets what was translated.
    """

    def __init__(self, base: dict[str, Any], findings: Findings) -> None:
        self._base = base
        self._findings = findings
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
            if old.get('type') not in _WRAPPERS and not isinstance(old, list):
                return {'dataset': self.over_base(part, old, inner)}
        new = self._dataset(f'data.{part}', part, old, base)
        return {'_delete_': True, **new} if base else new

    def _dataset(
        self,
        key: str,
        part: str,
        old: Any,
        base: dict[str, Any],
        packs: bool = True,
    ) -> Any:
        findings = self._findings
        if isinstance(old, (list, tuple)):
            old = dict(type='ConcatDataset', datasets=list(old))
        kind = old.get('type') if isinstance(old, dict) else None
        if kind == 'ConcatDataset':
            datasets = [
                self._dataset(f'{key}[{number}]', part, each, base, packs)
                for number, each in enumerate(old.get('datasets', ()))
            ]
            return dict(type=kind, datasets=datasets)
        if kind in _WRAPPERS:
            mixes = kind == 'MultiImageMixDataset'  # which packs the samples itself
            below, inner = f'{key}.dataset', old.get('dataset', {})
            inner = self._dataset(below, part, inner, base, packs and not mixes)
            new = dict(type=kind, dataset=inner)
            for name, value in findings.readable_keys(key, old).items():
                if name in _WRAPPERS[kind]:
                    new[name] = value
                elif name not in ('type', 'dataset', 'pipeline'):
                    findings.leave(f'{key}.{name}', f'{kind} does not have it')
            if isinstance(old.get('pipeline'), (list, tuple)):
                here = f'{key}.pipeline'
                new['pipeline'] = self._pipeline(
                    here, part, old['pipeline'], base, loads=False
                )
            return new
        if not isinstance(old, dict):
            raise ValueError(f'{key} must be a dict that can be read, got {shown(old)}')
        return self._leaf(key, part, old, base, packs)

    def _leaf(
        self,
        key: str,
        part: str,
        old: dict[str, Any],
        base: dict[str, Any],
        packs: bool,
    ) -> dict[str, Any]:
        findings = self._findings
        new: dict[str, Any] = dict(type='DeepLakeDataset', deeplake_path='')
        path = old.get('deeplake_path')
        if path and findings.readable(f'{key}.deeplake_path', path):
            new['deeplake_path'] = path
            findings.carry(f'{key}.deeplake_path', 'deeplake_path')
        elif not path:
            findings.attend(
                f'{key}.deeplake_path',
                'is missing; write the path of the lake, which the old training script '
                f'passed as ds_{part}=…',
            )
        if not new['deeplake_path']:
            new['deeplake_path'] = Noted('', 'Write the path of the lake.')
        credentials = translate_credentials(
            f'{key}.deeplake_credentials', old.get('deeplake_credentials'), findings
        )
        if credentials is not None:
            new['deeplake_credentials'] = credentials
        for name, text in _SELECTIONS.items():
            if old.get(name) and findings.readable(f'{key}.{name}', old[name]):
                new[name] = old[name]
                findings.carry(f'{key}.{name}', name)
                findings.attend(f'{key}.{name}', text)
        tensors = findings.readable_keys(
            f'{key}.deeplake_tensors', old.get('deeplake_tensors') or {}
        )
        if tensors:
            new['deeplake_tensors'] = tensors
            findings.carry(f'{key}.deeplake_tensors', 'deeplake_tensors')
        if part != 'train':
            new['test_mode'] = True
        new['pipeline'] = self._pipeline(
            f'{key}.pipeline', part, old.get('pipeline'), base, packs=packs
        )
        handled = (*_SELECTIONS, 'deeplake_path', 'deeplake_credentials', 'pipeline')
        for name in old:
            if name in (*handled, 'deeplake_tensors', 'deeplake_dataloader', '_delete_'):
                continue
            if name in _OF_FILES:
                reason = 'images and annotations come from the lake'
            else:
                reason = 'DeepLakeDataset does not have it'
            findings.leave(f'{key}.{name}', _REASONS.get(name, reason))
        return new

    def _pipeline(
        self,
        key: str,
        part: str,
        old: Any,
        base: dict[str, Any],
        loads: bool = True,
        packs: bool = True,
    ) -> Any:
        for_test = part != 'train'
        inherited = _base_pipeline(self._base, part)
        if isinstance(old, Unread) and not old.name:
            self._findings.readable(key, old)
        if not isinstance(old, (list, tuple)):  # as in the base
            if inherited is None:
                raise ValueError(
                    f'{key} must be a list of transforms, as neither the old config nor '
                    'the new base has a pipeline; add --base with a config that has one'
                )
            return inherited
        for pipeline, test, expression in self._known:
            if pipeline == old and test == for_test:
                return Raw(expression)
        masks = self.train_pipeline is not None and self.train_pipeline.has_masks
        new = translate_pipeline(
            key, list(old), for_test, masks, self._findings, loads=loads, packs=packs
        )
        if not for_test and self.train_pipeline is None:
            self.train_pipeline = new
        name = 'test_pipeline' if for_test else 'train_pipeline'
        name += f'_{len(self.pipelines)}' if name in self.pipelines else ''
        expression, steps = name, new.steps
        leaf = first_leaf(base).get('pipeline')
        whole = not any(isinstance(step, Remark) for step in steps)
        if whole and leaf is not None and same(_plain(steps), _plain(leaf)):
            expression = inherited.text
        else:
            self.pipelines[name] = steps
        self._known.append((old, for_test, expression))
        self._findings.carry(key, expression)
        return Raw(expression)


def _base_pipeline(base: dict[str, Any], part: str) -> Any:
    """Return the expression for the pipeline of the new base; None if it has none."""
    path = f'_base_.{part}_dataloader.dataset'
    dataset = as_dict(as_dict(base.get(f'{part}_dataloader')).get('dataset'))
    while isinstance(dataset.get('dataset'), dict):
        path, dataset = f'{path}.dataset', dataset['dataset']
    pipeline = dataset.get('pipeline')
    if pipeline is None:
        return None
    name = 'train_pipeline' if part == 'train' else 'test_pipeline'
    if name in base and same(_plain(base[name]), _plain(pipeline)):
        return Raw(f'_base_.{name}')
    return Raw(f'{path}.pipeline')


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
            return dataset if isinstance(dataset, dict) else {}


def _plain(steps: Any) -> list[Any]:
    """Leave out what says nothing, so that two pipelines can be compared."""
    return [
        {k: v for k, v in dict(step).items() if k not in ('backend_args', '_scope_')}
        for step in steps
    ]


def as_dict(value: Any) -> dict[str, Any]:
    """Return a dict as it is, ``{}`` for anything else."""
    return value if isinstance(value, dict) else {}


def shown(value: Any) -> str:
    """Write a value of an old config into a message."""
    return value.shown if isinstance(value, Unread) else repr(value)
