"""Translates ``data`` into the three loaders."""

from __future__ import annotations

from typing import Any

from ..expressions import Unread, as_dict, shown
from ..migration import Migration
from ..text import Noted, Raw
from .datasets import Datasets, first_leaf
from .model import override, same
from .pipelines import Pipeline

# Keys of PyTorch's loader, which MMEngine passes on.
_OF_LOADER = (
    *('batch_size', 'num_workers', 'drop_last', 'pin_memory'),
    *('persistent_workers', 'prefetch_factor'),
)
_NEW_NAMES = {'samples_per_gpu': 'batch_size', 'workers_per_gpu': 'num_workers'}
_SHARED = (*_NEW_NAMES, 'persistent_workers')
_HANDLED = (
    *('train', 'val', 'test', '_delete_', *_SHARED),
    *('train_dataloader', 'val_dataloader', 'test_dataloader'),
)


def translate_data(migration: Migration) -> tuple[dict[str, Any], Pipeline | None]:
    """Translate ``data``.

    Returns:
        The new loaders with the pipelines that they use; and the training pipeline, if
        the old config has one.

    Raises:
        ValueError: If ``data`` or ``data.train`` is missing or cannot be read.
    """
    data = _required(migration.old, 'data', '')
    if not isinstance(data, dict):
        raise ValueError(f'data must be a dict, got {shown(data)}')
    train = _required(data, 'train', 'data.')
    datasets = Datasets(migration)
    loaders: dict[str, Any] = {
        'train_dataloader': _loader(migration, datasets, 'train', train),
        'val_dataloader': Noted(
            None, 'The old config has no data.val: nothing is validated.'
        ),
        'test_dataloader': Raw('val_dataloader') if migration.has_val else None,
    }
    if migration.has_val:
        loaders['val_dataloader'] = _loader(migration, datasets, 'val', data['val'])
    test = data.get('test')
    if migration.own_test is not None:
        loaders['test_dataloader'] = _loader(migration, datasets, 'test', test)
    elif test is not None and not as_dict(test).get('deeplake_path'):
        migration.leave('data.test', 'has no lake of its own, so val is tested')
    for name in data:
        if name not in _HANDLED:
            migration.leave(f'data.{name}', 'the key has no counterpart')
    return {**datasets.pipelines, **loaders}, datasets.train_pipeline


def _loader(
    migration: Migration, datasets: Datasets, part: str, old: Any
) -> dict[str, Any]:
    key = f'data.{part}'
    base = as_dict(migration.base.get(f'{part}_dataloader'))
    given = _given(migration, part, old)
    shuffle = given.pop('shuffle', part == 'train')
    sampler: dict[str, Any] = dict(type='DeepLakeLoader', shuffle=bool(shuffle))
    if part != 'train':
        if shuffle:
            migration.leave(
                f'{key}.deeplake_dataloader.shuffle',
                'the order does not matter for scores',
            )
        sampler |= dict(shuffle=False, round_up=False)
    kind = migration.old.get('deeplake_dataloader_type')
    if isinstance(kind, str) and kind.lower() in ('c++', 'python'):
        sampler['loader_type'] = kind.lower()
        migration.carry('deeplake_dataloader_type', 'loader_type of the sampler')
    elif kind not in (None, 'auto'):
        migration.leave(
            'deeplake_dataloader_type',
            f"must be 'c++', 'python' or 'auto', got {shown(kind)}",
        )
    new = {name: value for name, value in given.items() if name in _OF_LOADER}
    for name in given:
        if name not in new:
            migration.leave(
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
    new['dataset'] = datasets.over_base(part, old, as_dict(base.get('dataset')))
    migration.carry(key, f'{part}_dataloader')
    return new


def _given(migration: Migration, part: str, old: Any) -> dict[str, Any]:
    """Collect the keys of the loader from the three places that may have them."""
    data = migration.old['data']
    shared = [name for name in _SHARED if part == 'train' or name != 'samples_per_gpu']
    own = f'data.{part}_dataloader'
    places = {
        'data': {name: data[name] for name in shared if name in data},
        own: data.get(f'{part}_dataloader') or {},
        f'data.{part}.deeplake_dataloader': first_leaf(old).get('deeplake_dataloader')
        or {},
    }
    new: dict[str, Any] = {}
    for key, place in places.items():
        for name, value in migration.readable_keys(key, place).items():
            new[_NEW_NAMES.get(name, name)] = value
            if key != own:
                migration.carry(f'{key}.{name}', f'{part}_dataloader')
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
