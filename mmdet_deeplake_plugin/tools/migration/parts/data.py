"""Translates ``data`` into the three loaders."""

from __future__ import annotations

from typing import Any

from ..expressions import Unread
from ..findings import Findings
from ..text import Noted, Raw
from .datasets import Datasets, as_dict, first_leaf, shown
from .model import override, same
from .pipelines import Pipeline

# Keys of PyTorch's loader, which MMEngine passes on.
_OF_LOADER = (
    *('batch_size', 'num_workers', 'drop_last', 'pin_memory'),
    *('persistent_workers', 'prefetch_factor'),
)
_HANDLED = (
    *('train', 'val', 'test', 'samples_per_gpu', 'workers_per_gpu'),
    *('train_dataloader', 'val_dataloader', 'test_dataloader', '_delete_'),
    *('persistent_workers',),
)


class DataTranslation:
    """The new loaders, and the pipelines that they use.

    Args:
        values: Top-level values of the old config.
        base: The new base, as a dict.
        findings: Gets what was translated.

    Raises:
        ValueError: If ``data`` or ``data.train`` is missing or cannot be read.
    """

    def __init__(
        self, values: dict[str, Any], base: dict[str, Any], findings: Findings
    ) -> None:
        self._base = base
        self._findings = findings
        self._datasets = Datasets(base, findings)
        self._loader_type = values.get('deeplake_dataloader_type')
        data = _required_dict(values, 'data', '')
        self._data = data
        # Name -> value at the top level of the new config.
        self.sections: dict[str, Any] = {}
        train = _required(data, 'train', 'data.')
        loaders = {'train_dataloader': self._loader('train', train)}
        self.has_val = data.get('val') is not None
        loaders['val_dataloader'] = (
            self._loader('val', data['val']) if self.has_val else None
        )
        test = data.get('test')
        own = isinstance(test, dict) and test.get('deeplake_path')
        if own and not (self.has_val and test == data['val']):
            loaders['test_dataloader'] = self._loader('test', test)
        else:
            if test is not None and not own:
                findings.leave('data.test', 'has no lake of its own, so val is tested')
            loaders['test_dataloader'] = Raw('val_dataloader') if self.has_val else None
        self.has_test = loaders['test_dataloader'] is not None
        if not self.has_val:
            loaders['val_dataloader'] = Noted(
                None, 'The old config has no data.val: nothing is validated.'
            )
        self.sections |= self._datasets.pipelines | loaders
        self.train_pipeline: Pipeline | None = self._datasets.train_pipeline
        for name in data:
            if name not in _HANDLED:
                findings.leave(f'data.{name}', 'the key has no counterpart')

    def _loader(self, part: str, old: Any) -> Any:
        key = f'data.{part}'
        base = as_dict(self._base.get(f'{part}_dataloader'))
        given = self._given(part, old)
        shuffle = given.pop('shuffle', part == 'train')
        sampler: dict[str, Any] = dict(type='DeepLakeLoader', shuffle=bool(shuffle))
        if part != 'train':
            if shuffle:
                self._findings.leave(
                    f'{key}.deeplake_dataloader.shuffle',
                    'the order does not matter for scores',
                )
            sampler |= dict(shuffle=False, round_up=False)
        kind = self._loader_type
        if isinstance(kind, str) and kind.lower() in ('c++', 'python'):
            sampler['loader_type'] = kind.lower()
            self._findings.carry('deeplake_dataloader_type', 'loader_type of the sampler')
        elif kind not in (None, 'auto'):
            self._findings.leave(
                'deeplake_dataloader_type',
                f"must be 'c++', 'python' or 'auto', got {shown(kind)}",
            )
        new = {name: value for name, value in given.items() if name in _OF_LOADER}
        for name in given.keys() - new.keys():
            self._findings.leave(
                f'{key}.deeplake_dataloader.{name}', 'DeepLakeLoader does not have it'
            )
        if new.get('num_workers') == 0 and base.get('persistent_workers', True):
            new['persistent_workers'] = False
        if not base:  # a base without data
            new = {'batch_size': 1, 'num_workers': 2, **new}
        new = {name: v for name, v in new.items() if not same(v, base.get(name, ...))}
        if part == 'train':
            new['collate_fn'] = dict(type='deeplake_collate')
        new['sampler'] = override(sampler, base.get('sampler'), exact=True)
        if base.get('batch_sampler'):
            new['batch_sampler'] = Noted(
                None, 'Deep Lake did not put images of one orientation together.'
            )
        new['dataset'] = self._datasets.over_base(part, old, as_dict(base.get('dataset')))
        self._findings.carry(key, f'{part}_dataloader')
        return new

    def _given(self, part: str, old: Any) -> dict[str, Any]:
        """Collect the keys of the loader from the four places that may have them."""
        data, findings = self._data, self._findings
        new: dict[str, Any] = {}
        names = {'samples_per_gpu': 'batch_size', 'workers_per_gpu': 'num_workers'}
        places: list[tuple[str, dict[str, Any]]] = [('data', {})]
        for name in (*names, 'persistent_workers'):
            if name in data and not (name == 'samples_per_gpu' and part != 'train'):
                places[0][1][name] = data[name]
        leaf = first_leaf(old)
        places.append((f'data.{part}_dataloader', data.get(f'{part}_dataloader') or {}))
        places.append(
            (f'data.{part}.deeplake_dataloader', leaf.get('deeplake_dataloader') or {})
        )
        for key, place in places:
            for name, value in findings.readable_keys(key, place).items():
                new[names.get(name, name)] = value
                if key != f'data.{part}_dataloader':
                    findings.carry(f'{key}.{name}', f'{part}_dataloader')
        return new


def _required(values: dict[str, Any], name: str, prefix: str) -> Any:
    value = values.get(name)
    if value is None or isinstance(value, Unread):
        found = f'computed ({value.shown})' if isinstance(value, Unread) else 'missing'
        raise ValueError(
            f'{prefix}{name} must be in the old config or in a base that is there, but '
            f'is {found}; write {prefix}{name} = dict(…) into a copy of the config'
        )
    return value


def _required_dict(values: dict[str, Any], name: str, prefix: str) -> dict[str, Any]:
    value = _required(values, name, prefix)
    if not isinstance(value, dict):
        raise ValueError(f'{prefix}{name} must be a dict, got {shown(value)}')
    return value
