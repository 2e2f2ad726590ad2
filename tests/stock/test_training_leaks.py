"""Where a secret ends up in a training from object storage by the stock tools."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.leaks import files_below, leaks
from helpers.object_store import Key, ObjectStore
from mmengine.fileio import load
from stock_tools import HERE, StockTools

KEY = Key('AKIA0STOCK0LEAKS0', 'kQ7/zzUtn+FSTOCK=X9', 'IQoJb3/JpZ2lu+X2VjE==')
SHORT = [
    'train_cfg.max_epochs=1',
    'train_cfg.val_interval=1',
    'custom_hooks.1.switch_epoch=0',
    'train_dataloader.dataset.indices=8',
    'val_dataloader.dataset.indices=4',
    'test_dataloader.dataset.indices=4',
    'train_dataloader.batch_size=4',
]
# What MMEngine writes the config to, below a work directory.
WRITTEN_BY_MMENGINE = {
    r'\d+_\d+/\d+_\d+\.log',
    r'\d+_\d+/vis_data/config\.py',
    r'with_creds\.py',
    r'epoch_1\.pth',
}


@pytest.fixture(scope='module')
def store(
    lake: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ObjectStore]:
    """A store with the lakes of BCCD."""
    with ObjectStore.start(tmp_path_factory.mktemp('store'), key=KEY) as running:
        for name in ('bccd_train', 'bccd_val'):
            running.upload(lake(name), name)
        yield running


@pytest.fixture()
def folders(tmp_path) -> Iterator[dict[str, Path]]:
    """Work directory, temporary folder and home of a run."""
    found = {name: tmp_path / name for name in ('work', 'home')}
    for folder in found.values():
        folder.mkdir()
    # A short path: workers make sockets in it, whose paths have 107 characters at most.
    with tempfile.TemporaryDirectory(prefix='run-') as folder:
        yield {**found, 'tmp': Path(folder)}


@pytest.fixture()
def run_in(
    run_tool: StockTools, store: ObjectStore, folders: dict[str, Path]
) -> Callable[..., str]:
    """Runs a stock tool on the lakes in the store, with a home of its own."""

    def run(tool: str, config: Path, *arguments: object, **variables: str) -> str:
        return run_tool(
            tool,
            config,
            *arguments,
            *('--work-dir', folders['work']),
            options=SHORT,
            BCCD_TRAIN_LAKE=store.url('bccd_train'),
            BCCD_VAL_LAKE=store.url('bccd_val'),
            TMPDIR=str(folders['tmp']),
            HOME=str(folders['home']),
            **variables,
        )

    return run


def write_config(folder: Path, creds: Any) -> Path:
    """The config of the tests, with ``deeplake_credentials`` in each dataset."""
    config = folder / 'with_creds.py'
    text = f'_base_ = {str(HERE / "on_lake.py")!r}\ncreds = dict(creds={creds!r})\n'
    for name in ('train', 'val', 'test'):
        text += f'{name}_dataloader = dict(dataset=dict(deeplake_credentials=creds))\n'
    config.write_text(text)
    return config


def searched(folders: dict[str, Path], output: str) -> list[tuple[str, bytes]]:
    """Every file of a run, what checkpoints and predictions hold, and the output."""
    contents = [*files_below(*folders.values()), ('output', output.encode())]
    for file in folders['work'].rglob('*.pth'):
        held = torch.load(file, map_location='cpu', weights_only=False)
        contents.append((str(file), '\n'.join(texts(held)).encode()))
    for file in folders['work'].rglob('*.pkl'):
        contents.append((str(file), '\n'.join(texts(load(file))).encode()))
    return contents


def texts(value: Any) -> Iterator[str]:
    """All texts in a nest of objects."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from texts(key)
            yield from texts(part)
    elif isinstance(value, (list, tuple, set)):
        for part in value:
            yield from texts(part)
    elif hasattr(value, '__dict__') and not isinstance(value, type):
        yield repr(value)
        yield from texts(vars(value))
    elif not isinstance(value, torch.Tensor):
        yield str(value)


def test_with_references_a_secret_is_nowhere(run_in, store, folders, tmp_path):
    """Training, test with --out, and a refused training: logs, configs, checkpoints,
    predictions, pictures, temporary files, home and output."""
    given = tmp_path / 'creds.json'
    given.write_text(json.dumps(store.creds))
    config = write_config(tmp_path, f'file:{given}')
    output = run_in('train.py', config)
    checkpoint = folders['work'] / 'epoch_1.pth'
    results = folders['work'] / 'results.pkl'
    output += run_in('test.py', config, checkpoint, '--out', results)
    store.accept_keys([])
    try:
        with pytest.raises(pytest.fail.Exception) as failed:
            run_in('train.py', config)
    finally:
        store.accept_keys([KEY])
    assert 'PermissionError: ' in str(failed.value)
    assert f"access denied with Credentials(token='', creds='file:{given}')" in str(
        failed.value
    )
    assert 'ended with 1:' in str(failed.value)  # and not by a crash
    contents = searched(folders, output + str(failed.value))
    assert len(contents) > 10 and checkpoint.exists() and results.exists()
    assert leaks(contents, KEY.creds.values()) == set()
    # The search reads what it should: the reference is where the config is.
    assert f'file:{given}'.encode() in dict(contents)[str(checkpoint)]


def test_a_literal_secret_is_only_where_mmengine_writes_the_config(
    run_in, store, folders, tmp_path
):
    """Log and output, the copy of the config, vis_data and checkpoints; and warned of."""
    output = run_in('train.py', write_config(tmp_path, store.creds))
    assert 'deeplake_credentials contains a literal secret' in output
    found = leaks(searched(folders, output), KEY.creds.values())
    assert 'output' in found
    places = {str(Path(name).relative_to(folders['work'])) for name in found - {'output'}}
    kinds = {
        kind: [place for place in places if re.fullmatch(kind, place)]
        for kind in WRITTEN_BY_MMENGINE
    }
    assert all(kinds.values()), places
    assert len(places) == len(WRITTEN_BY_MMENGINE), places
    # In the output only as a part of the config that MMEngine prints.
    lines = [line for line in output.splitlines() if KEY.secret in line]
    assert lines and all(
        line.strip().startswith("aws_secret_access_key='") for line in lines
    )
